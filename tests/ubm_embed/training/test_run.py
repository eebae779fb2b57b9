"""An unfinished run on disk: what it keeps, and which run it refuses to go on with."""

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.training.metrics_file import METRICS_FILE
from ubm_embed.training.run import TrainingRun

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = {"learning_rate": 0.1, "stages": (1, 2), "corpus": "8 texts"}
STATE = {"stage": 1, "step": 2, "model": {"weight": torch.arange(3.0)}, "optimizer": {"state": {}}}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "model"


@pytest.fixture
def run(out):
    return TrainingRun.open(out, SETTINGS)


def test_stands_beside_the_model_and_goes_when_it_is_over(run, out, tmp_path):
    assert run.folder == tmp_path / "model.training"
    assert not out.exists()
    run.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_model_in_the_folder_at_hand_has_its_run_beside_that_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert TrainingRun.open(Path("."), SETTINGS).folder == tmp_path / "here.training"


class TestStart:
    @pytest.mark.usefixtures("run")
    def test_an_unfinished_run_is_kept(self, out):
        problem = r"unfinished run is at .*model\.training: continue it with --resume, or discard it with --restart"
        with pytest.raises(Conflict, match=problem):
            TrainingRun.open(out, SETTINGS)
        assert TrainingRun.open(out, SETTINGS, resume=True).metrics.is_file()

    def test_restart_discards_it(self, run, out):
        run.log({"step": 1})
        run.save(STATE)
        again = TrainingRun.open(out, SETTINGS, restart=True)
        assert again.load() is None
        assert again.metrics.read_text() == ""

    def test_a_restart_needs_no_unfinished_run(self, out):
        assert TrainingRun.open(out, SETTINGS, restart=True).load() is None

    def test_a_folder_that_is_no_run_can_only_be_discarded(self, out):
        folder = out.with_name("model.training")
        folder.mkdir()
        with pytest.raises(Conflict, match=r"model\.training: discard it with --restart"):
            TrainingRun.open(out, SETTINGS)
        assert TrainingRun.open(out, SETTINGS, restart=True).folder == folder

    def test_resume_and_restart_exclude_each_other(self, out):
        with pytest.raises(ValueError, match="choose one of them"):
            TrainingRun.open(out, SETTINGS, resume=True, restart=True)


class TestLock:
    def test_a_second_run_is_a_conflict_until_the_first_ends(self, out):
        problem = r"another run is writing to .*model\.training\.lock is locked"
        for _ in range(2):
            with TrainingRun.lock(out), pytest.raises(Conflict, match=problem) as error, TrainingRun.lock(out):
                pytest.fail("two runs held the lock")
            assert error.value.exit_code == 5
        assert list(out.parent.iterdir()) == []

    def test_a_failure_releases_it(self, out):
        with pytest.raises(KeyError), TrainingRun.lock(out):
            raise KeyError
        with TrainingRun.lock(out):
            pass

    def test_a_process_that_is_killed_releases_it(self, out):
        script = (
            "import os, signal, sys; from pathlib import Path; from ubm_embed.training.run import TrainingRun\n"
            "with TrainingRun.lock(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
        )
        assert (
            subprocess.run([sys.executable, "-c", script, str(out)], cwd=ROOT, check=False).returncode
            == -signal.SIGKILL
        )
        assert out.with_name("model.training.lock").is_file(), "it was held"
        with TrainingRun.lock(out):
            pass

    def test_other_paths_have_other_locks(self, out):
        with TrainingRun.lock(out), TrainingRun.lock(out.with_name("other")):
            pass


class TestResume:
    def test_nothing_to_resume(self, out):
        with pytest.raises(NotFound, match=r"no unfinished run at .*model\.training: start one without --resume"):
            TrainingRun.open(out, SETTINGS, resume=True)

    @pytest.mark.usefixtures("run")
    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"learning_rate": 0.2}, "learning_rate was 0.1, now it is 0.2"),
            ({"stages": (1,)}, r"stages was \[1, 2\], now it is \[1\]"),
            ({"corpus": "9 texts"}, "corpus was '8 texts', now it is '9 texts'"),
            ({"unheard": 1}, "unheard was None, now it is 1"),
        ],
    )
    def test_other_settings_are_refused_by_name(self, out, change, problem):
        with pytest.raises(Conflict, match=problem):
            TrainingRun.open(out, SETTINGS | change, resume=True)

    @pytest.mark.parametrize("text", ["", "{", "[1]", "\ud83d"])
    def test_damaged_settings_are_named(self, run, out, text):
        file = run.folder / "settings.json"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(InvalidData, match="not the settings of a run") as caught:
            TrainingRun.open(out, SETTINGS, resume=True)
        assert caught.value.file == file


class TestState:
    def test_comes_back_and_takes_later_metrics_with_it(self, run, out):
        run.log({"step": 1})
        run.log({"step": 2})
        run.save(STATE)
        run.log({"step": 3})
        again = TrainingRun.open(out, SETTINGS, resume=True)
        state = again.load()
        assert (state["stage"], state["step"]) == (1, 2)
        assert torch.equal(state["model"]["weight"], STATE["model"]["weight"])
        again.log({"step": 33})
        lines = (again.folder / METRICS_FILE).read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [1, 2, 33]

    def test_a_disk_without_room_for_it_is_reported_as_one(self, run):
        run.save(STATE)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # as a full disk does, it cuts a write short
        try:
            with pytest.raises(OSError, match="File too large") as caught:
                run.save(STATE | {"model": {"weight": torch.arange(30_000.0)}})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert caught.value.filename == str(run.folder / "state.pt")
        assert torch.equal(run.load()["model"]["weight"], STATE["model"]["weight"])

    def test_without_one_the_metrics_start_over(self, run):
        run.log({"step": 1})
        assert run.load() is None
        assert run.metrics.read_text() == ""

    def test_the_last_one_counts(self, run):
        run.save(STATE)
        run.save(STATE | {"step": 4})
        assert run.load()["step"] == 4

    @pytest.mark.parametrize("content", [b"", b"no state", None])
    def test_a_damaged_one_is_named(self, run, content):
        run.save(STATE)
        file = run.folder / "state.pt"
        file.write_bytes(file.read_bytes()[:-100] if content is None else content)
        with pytest.raises(InvalidData, match="not a training state") as caught:
            run.load()
        assert caught.value.file == file

    def test_one_of_something_else_is_named(self, run):
        torch.save([1, 2], run.folder / "state.pt")
        with pytest.raises(InvalidData, match="not a training state"):
            run.load()

    def test_nothing_in_it_is_executed(self, run, tmp_path):
        torch.save({"metrics_bytes": Trap(tmp_path / "sprung")}, run.folder / "state.pt")
        with pytest.raises(InvalidData, match="not a training state"):
            run.load()
        assert not (tmp_path / "sprung").exists()


class Trap:
    """Unpickled, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))
