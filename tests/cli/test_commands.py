"""The commands in processes of their own: from a log to answers, and the exit code of each kind of bad input."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cli.main import run
from ubm_embed.data.sample_shop import write_sample_shop

TINY = ("--layers", "1", "--width", "16", "--session-layers", "1", "--item-batch", "32", "--session-batch", "16")


@dataclass(frozen=True)
class Shell:
    """Runs ubm-embed in a process of its own."""

    folder: Path

    def __call__(
        self, *arguments: str | Path, stdin: str | None = None, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(arguments),
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            check=False,
        )


def command(arguments: Sequence[str | Path]) -> list[str]:
    return [sys.executable, "-m", "cli", *map(str, arguments)]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with a corpus, a model and a store, made by the commands themselves."""
    folder = tmp_path_factory.mktemp("shop")
    write_sample_shop(folder / "log", products=120, sessions=300, seed=1)
    run = Shell(folder)
    for arguments in (
        ("ingest", "log", "--from", "native", "--out", "corpus", "--report", "report.json"),
        ("pretrain", "--corpus", "corpus", "--out", "model", "--max-steps", "3", *TINY),
        (
            *("build-index", "--model", "model", "--products", "corpus/products.parquet"),
            *("--interactions", "corpus/interactions.parquet", "--store", "store"),
        ),
    ):
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
    return run


@pytest.fixture
def here(
    shell: Shell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ubm-embed in this process, as `shell` does in one of its own, where loading the libraries takes seconds."""
    monkeypatch.chdir(shell.folder)
    monkeypatch.setenv("COLUMNS", "400")

    def run_here(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        code = run(list(map(str, arguments)))
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run_here


@pytest.fixture(scope="module")
def session(shell: Shell) -> dict[str, object]:
    """A session of the shop: a search, and two products viewed."""
    products = pl.read_parquet(shell.folder / "corpus/products.parquet")["product_id"].head(2).to_list()
    views = [{"action": "view", "product_id": product} for product in products]
    return {"session_id": "s1", "interactions": [{"action": "search", "query": "blue shoes"}, *views]}


def test_a_log_becomes_answers(shell: Shell, session: dict[str, object]) -> None:
    done = shell("query", "--session", "-", "--store", "store", "-k", "5", stdin=json.dumps(session))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["session_id"] == "s1"
    assert answer["fallback"] is None
    assert [match["rank"] for match in answer["matches"]] == [1, 2, 3, 4, 5]
    seen = {entry.get("product_id") for entry in session["interactions"]}  # type: ignore[attr-defined]
    assert not seen & {match["product_id"] for match in answer["matches"]}
    assert answer["model_id"] == json.loads((shell.folder / "model/training.json").read_text())["model_id"]


def test_json_lines_in_give_json_lines_out(shell: Shell, session: dict[str, object]) -> None:
    lines = "\n".join(json.dumps({**session, "session_id": name}) for name in "abc")
    done = shell("query", "--session", "-", "--store", "store", stdin=lines)
    assert [json.loads(line)["session_id"] for line in done.stdout.splitlines()] == ["a", "b", "c"]


def test_a_product_is_found_by_its_own_title(shell: Shell) -> None:
    product = pl.read_parquet(shell.folder / "corpus/products.parquet").row(3, named=True)
    file = shell.folder / "product.json"
    file.write_text(json.dumps({key: product[key] for key in ("title", "category", "attributes")}))
    done = shell("lookup", "--file", file, "--store", "store", "-k", "1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["matches"][0]["product_id"] == product["product_id"]


def test_evaluate_takes_the_sessions_held_out(shell: Shell) -> None:
    done = shell("evaluate", "nip", "--model", "model", "--corpus", "corpus")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    counting = ["co-occurrence", "recent co-occurrence", "directional counting", "VMIS-kNN", "POP"]
    assert [row["row"] for row in result["rows"]] == ["UBM", "UBM without counts", *counting]
    assert 5 <= result["examples"] <= 15, "half of a tenth of 300"
    assert result["leaks"]["pretraining_respects_split"] is True


# A command line whose process is killed as soon as it has saved a state.
KILLED = """
import os, signal
from cli.main import main
from ubm_embed.training.run import TrainingRun

save = TrainingRun.save

def save_and_die(run, state):
    save(run, state)
    os.kill(os.getpid(), signal.SIGKILL)

TrainingRun.save = save_and_die
main()
"""


PRETRAIN = ("pretrain", "--max-steps", "6", "--checkpoint-steps", "2", *TINY)


@pytest.fixture(scope="module")
def killed_state(shell: Shell) -> Path:
    """The state of a run that was killed after its second step."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *PRETRAIN, "--corpus", "corpus", "--out", "killed"],
        cwd=shell.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (shell.folder / "killed").exists()
    return shell.folder / "killed.training"


class TestAKilledRun:
    @pytest.fixture
    def killed(self, killed_state: Path, tmp_path: Path) -> Path:
        """The `--out` of a killed run."""
        shutil.copytree(killed_state, tmp_path / "model.training")
        return tmp_path / "model"

    def test_resumes_to_the_same_model(self, shell: Shell, killed: Path) -> None:
        outs = {killed: ("--resume",), killed.with_name("undisturbed"): ()}
        for out, option in outs.items():
            done = shell(*PRETRAIN, "--corpus", "corpus", "--out", out, *option)
            assert done.returncode == 0, done.stderr
        ids = [json.loads((out / "training.json").read_text())["model_id"] for out in outs]
        assert ids[0] == ids[1]
        assert not killed.with_name("model.training").exists()

    @pytest.mark.parametrize(
        ("options", "code", "message"),
        [
            ((), 5, "--restart"),
            (("--overwrite",), 5, "--restart"),
            (("--resume", "--restart"), 2, "give one of them"),
        ],
    )
    def test_keeps_its_state_unless_it_is_restarted(
        self, ubm: Callable[..., Any], shell: Shell, killed: Path, options: tuple[str, ...], code: int, message: str
    ) -> None:
        state = killed.with_name("model.training") / "state.pt"
        before = state.read_bytes()
        done = ubm(*PRETRAIN, "--corpus", shell.folder / "corpus", "--out", killed, *options)
        assert done.code == code
        assert message in done.err
        assert state.read_bytes() == before

    def test_is_discarded_by_restart(self, ubm: Callable[..., Any], shell: Shell, killed: Path) -> None:
        arguments = ("--corpus", shell.folder / "corpus", "--out", killed, "--restart", "--seed", "1")
        done = ubm(*PRETRAIN, *arguments)
        assert done.code == 0, done.err
        assert json.loads((killed / "training.json").read_text())["pretraining"]["seed"] == 1


def write(shell: Shell, name: str, text: str) -> str:
    (shell.folder / name).write_text(text)
    return name


CORPUS_FAULTS = {
    "unknown action": ({"action": ["wish"]}, "row 1", "action"),
    "no such product": ({"product_id": ["nobody"]}, "row 1", "product_id"),
    "missing column": ({"action": None}, "missing column", "action"),
}


@pytest.mark.parametrize("fault", CORPUS_FAULTS)
def test_a_faulty_corpus_is_named(shell: Shell, here: Callable[..., Any], tmp_path: Path, fault: str) -> None:
    change, where, field = CORPUS_FAULTS[fault]
    interactions = pl.read_parquet(shell.folder / "corpus/interactions.parquet").filter(pl.col("action") == "view")
    for column, value in change.items():
        interactions = (
            interactions.drop(column) if value is None else interactions.with_columns(pl.lit(value[0]).alias(column))
        )
    products = pl.read_parquet(shell.folder / "corpus/products.parquet")
    (tmp_path / "corpus").mkdir()
    products.write_parquet(tmp_path / "corpus/products.parquet")
    interactions.write_parquet(tmp_path / "corpus/interactions.parquet")
    done = here("pretrain", "--corpus", tmp_path / "corpus", "--out", tmp_path / "model")
    assert done.returncode == 3
    assert "interactions.parquet" in done.stderr
    assert where in done.stderr
    assert field in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model").exists()


def test_a_corpus_of_one_session_cannot_be_learned_from(shell: Shell, here: Callable[..., Any], tmp_path: Path) -> None:
    interactions = pl.read_parquet(shell.folder / "corpus/interactions.parquet")
    one = interactions.filter(pl.col("session_id") == interactions["session_id"][0])
    (tmp_path / "corpus").mkdir()
    pl.read_parquet(shell.folder / "corpus/products.parquet").write_parquet(tmp_path / "corpus/products.parquet")
    one.write_parquet(tmp_path / "corpus/interactions.parquet")
    done = here("pretrain", "--corpus", tmp_path / "corpus", "--out", tmp_path / "model", "--holdout", "0")
    assert done.returncode == 3
    assert "at least 2" in done.stderr


def test_bad_sessions_are_named_by_line_and_field(shell: Shell, here: Callable[..., Any]) -> None:
    good = '{"interactions": [{"action": "search", "query": "x"}]}'
    bad = write(shell, "bad.jsonl", good + "\n" + '{"interactions": [{"action": "wish", "product_id": "p"}]}\n')
    done = here("query", "--session", bad, "--store", "store")
    assert done.returncode == 3
    assert "bad.jsonl, row 2, field 'interactions[0].action'" in done.stderr
    assert len(done.stdout.splitlines()) == 1  # the answer to the session before it


@pytest.mark.parametrize(("text", "message"), [("", "empty"), ("{", "not JSON"), ("[1]", "expected a session object")])
def test_malformed_session_files(here: Callable[..., Any], text: str, message: str) -> None:
    done = here("query", "--session", "-", "--store", "store", stdin=text)
    assert done.returncode == 3
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_files_are_not_found(here: Callable[..., Any]) -> None:
    assert here("query", "--session", "nowhere.json", "--store", "store").returncode == 4
    assert here("lookup", "--title", "x", "--store", "nowhere").returncode == 4
    assert here("pretrain", "--corpus", "nowhere", "--out", "m").returncode == 4


def test_outputs_are_kept_without_overwrite(shell: Shell, here: Callable[..., Any]) -> None:
    before = (shell.folder / "model/model.safetensors").read_bytes()
    done = here("pretrain", "--corpus", "corpus", "--out", "model")
    assert done.returncode == 5
    assert "--overwrite" in done.stderr
    assert (shell.folder / "model/model.safetensors").read_bytes() == before


def test_a_truncated_checkpoint_is_named(shell: Shell, tmp_path: Path) -> None:
    model = Path(shutil.copytree(shell.folder / "model", tmp_path / "model"))
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    done = shell("build-index", "--model", model, "--products", "corpus/products.parquet", "--store", "other")
    assert done.returncode == 3
    assert "model.safetensors" in done.stderr


def test_wrong_usage(here: Callable[..., Any]) -> None:
    for arguments in (["query"], ["nonsense"], ["pretrain", "--stage", "3"], ["query", "--nope"]):
        done = here(*arguments)
        assert done.returncode == 2, arguments
        assert "Traceback" not in done.stderr
    zero = here("pretrain", "--corpus", "corpus", "--out", "m", "--learning-rate", "0")
    assert zero.returncode == 2
    assert "--learning-rate must be above 0, got 0.0" in zero.stderr


def test_a_broken_log_leaves_nothing(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("session_id,action,product_id\ns,view,1\ns,view,2,3\ns,buy,2\n")
    done = shell("ingest", tmp_path / "log.csv", "--from", "native", "--out", tmp_path / "corpus")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'log.csv'}, row 2: ")
    assert [file.name for file in tmp_path.iterdir()] == ["log.csv"]


def test_a_catalogue_that_breaks_conditions_is_refused_in_one_line(shell: Shell, tmp_path: Path) -> None:
    pl.read_parquet(shell.folder / "corpus/products.parquet").drop("price").write_parquet(tmp_path / "half.parquet")
    done = shell("refresh", "--products", tmp_path / "half.parquet", "--store", "store")
    message = "gate 'schema': the column price is gone; to publish anyway: --allow schema; nothing was published"
    assert (done.returncode, done.stdout, done.stderr) == (6, "", f"error: {message}\n")


def test_options_come_from_the_environment(shell: Shell, session: dict[str, object]) -> None:
    stdin = json.dumps(session)
    done = shell("query", "--session", "-", stdin=stdin, environment={"UBM_EMBED_STORE": "store", "UBM_EMBED_K": "2"})
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["matches"]) == 2


def test_a_file_system_that_is_full_leaves_nothing_half_written(shell: Shell) -> None:
    """A limit on the size of files stands in for a full disk: the system refuses to write on."""
    # By a shell, not by a function after the fork: this process may have loaded what must not be forked.
    limited = ("bash", "-c", 'trap "" XFSZ; ulimit -f 4; exec "$@"', "bash")
    done = subprocess.run(
        [*limited, *command(("ingest", "log", "--from", "native", "--out", "full"))],
        cwd=shell.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    out = shell.folder / "full"
    assert done.stderr.endswith(f"File too large: {out}; nothing was written to {out}\n")
    assert not (shell.folder / "full").exists()
    assert not list(shell.folder.glob(".full.*"))


COMMANDS = ("demo", "ingest", "pretrain", "finetune", "evaluate", "build-index", "query", "lookup")


@pytest.mark.parametrize("arguments", [["--help"], ["pretrain", "--help"], ["finetune", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        f"import sys\nfrom cli.main import run\ncode = run({arguments})\n"
        "heavy = {'torch', 'transformers', 'polars', 'lancedb', 'faiss', 'numpy'} & sys.modules.keys()\n"
        "sys.exit(f'loaded {heavy}' if heavy or code else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if arguments == ["--help"]:
        assert all(name in done.stdout for name in COMMANDS)


def test_version() -> None:
    done = subprocess.run(command(["--version"]), capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("ubm-embed ")
