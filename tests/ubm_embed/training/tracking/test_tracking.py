"""What a run logs reaches TensorBoard and MLflow, once for each step; what fails there does not end training."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ubm_embed.errors import NotFound
from ubm_embed.training.run import TrainingRun
from ubm_embed.training.tracking import background
from ubm_embed.training.tracking.background import BackgroundTracker
from ubm_embed.training.tracking.tracker import RunStatus, Tracker, TrackerName
from ubm_embed.training.tracking.tracking import open_trackers, tracked

SETTINGS = {"learning_rate": 1e-3, "max_steps": None, "losses": ["a", "b"]}
# Two steps of stage 1 and three of stage 2: as TensorBoard keeps values, in float32, they are exact.
LINES = [
    {"stage": stage, "step": step, "steps": steps, "loss": 8.0 / step, "num_masked": stage}
    for stage, steps in ((1, 2), (2, 3))
    for step in range(1, steps + 1)
]
LOSSES = {"stage_1/loss": {1: 8.0, 2: 4.0}, "stage_2/loss": {3: 8.0, 4: 4.0, 5: 8.0 / 3}}


class Recorder:
    """A tracker that keeps what it gets, and fails at a step if told to."""

    name = TrackerName.MLFLOW

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at = fails_at
        self.calls: list[Any] = []

    def start(self, settings: Mapping[str, Any], step: int, run_id: str | None) -> str:
        self.calls.append(("start", step, run_id))
        return "the run"

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if step == self.fails_at:
            raise OSError("the server is gone")
        self.calls.append((step, dict(metrics)))

    def finish(self, status: RunStatus) -> None:
        self.calls.append(status)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "model"


@pytest.fixture
def run(out: Path) -> TrainingRun:
    return TrainingRun.open(out, SETTINGS)


def log(run: TrainingRun, trackers: list[Tracker], lines: list[dict[str, Any]] = LINES, **options: Any) -> None:
    with tracked(run, trackers, SETTINGS, **options):
        for line in lines:
            run.log(line)


def cut_and_resume(run: TrainingRun, trackers: Callable[[], list[Tracker]]) -> None:
    """Log all lines, where the process is cut off after the fourth, and goes on from the second."""
    with tracked(run, trackers(), SETTINGS):
        for line in LINES[:2]:
            run.log(line)
        run.save({})
        for line in LINES[2:4]:
            run.log(line)
    again = TrainingRun(run.folder)
    with tracked(again, trackers(), SETTINGS):
        again.load()
        for line in LINES[2:]:
            again.log(line)


class TestTensorBoard:
    @pytest.fixture
    def trackers(self, out: Path) -> Callable[[], list[Tracker]]:
        return lambda: open_trackers([TrackerName.TENSORBOARD], out)

    @pytest.fixture
    def events(self, out: Path) -> Callable[[], EventAccumulator]:
        """Reads the one run back."""

        def read() -> EventAccumulator:
            (folder,) = out.with_name("model.tensorboard").iterdir()
            events = EventAccumulator(str(folder))
            events.Reload()
            return events

        return read

    def losses(self, events: EventAccumulator) -> dict[str, dict[int, float]]:
        return {name: {event.step: event.value for event in events.Scalars(name)} for name in LOSSES}

    def test_has_each_figure_at_its_step_and_the_settings(self, run, trackers, events) -> None:
        log(run, trackers())
        found = events()
        for name, expected in LOSSES.items():
            assert self.losses(found)[name] == pytest.approx(expected)
        assert set(found.Tags()["scalars"]) == {*LOSSES, "stage_1/num_masked", "stage_2/num_masked"}
        assert b'"learning_rate": 0.001' in found.Tensors("settings/text_summary")[0].tensor_proto.string_val[0]

    def test_a_resumed_run_goes_on_in_the_same_place_without_repeated_steps(self, run, trackers, events) -> None:
        cut_and_resume(run, trackers)
        assert [event.step for event in events().Scalars("stage_2/loss")] == [3, 4, 5]
        assert [event.step for event in events().Scalars("stage_1/loss")] == [1, 2]

    def test_a_new_run_is_one_of_its_own(self, out, trackers) -> None:
        for _ in range(2):
            log(TrainingRun.open(out, SETTINGS, restart=True), trackers())
        assert len(list(out.with_name("model.tensorboard").iterdir())) == 2


class TestMLflow:
    @pytest.fixture(autouse=True)
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A store in a folder: no server, and no telemetry."""
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
        monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "shop")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    @pytest.fixture
    def trackers(self, out: Path) -> Callable[[], list[Tracker]]:
        return lambda: open_trackers([TrackerName.MLFLOW], out)

    def runs(self) -> list[Any]:
        import mlflow

        client = mlflow.MlflowClient()
        return list(client.search_runs([client.get_experiment_by_name("shop").experiment_id]))

    def steps(self, run_id: str, name: str) -> dict[int, float]:
        import mlflow

        return {metric.step: metric.value for metric in mlflow.MlflowClient().get_metric_history(run_id, name)}

    def test_has_each_figure_at_its_step_and_the_settings(self, run, trackers) -> None:
        log(run, trackers())
        (found,) = self.runs()
        assert (found.info.run_name, found.info.status) == ("model", "FINISHED")
        assert found.data.params == {name: str(value) for name, value in SETTINGS.items()}
        for name, expected in LOSSES.items():
            assert self.steps(found.info.run_id, name) == expected

    def test_a_resumed_training_continues_its_run(self, run, trackers) -> None:
        cut_and_resume(run, trackers)
        (found,) = self.runs()
        assert found.info.status == "FINISHED"
        assert self.steps(found.info.run_id, "stage_2/loss") == LOSSES["stage_2/loss"]

    @pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
    def test_says_how_a_run_ended(self, run, trackers, error, status) -> None:
        def train() -> None:
            with tracked(run, trackers(), SETTINGS):
                run.log(LINES[0])
                raise error

        with pytest.raises(error):
            train()
        assert [found.info.status for found in self.runs()] == [status]

    def test_training_goes_on_without_its_server(self, run, trackers, monkeypatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        notices: list[str] = []
        log(run, trackers(), notice=notices.append)
        assert len(notices) == 1
        assert notices[0].startswith("going on without mlflow, which failed: ")
        assert len(run.metrics.read_text().splitlines()) == len(LINES)

    def test_a_store_that_it_cannot_read_is_told_before_training(self, trackers, monkeypatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://x")
        with pytest.raises(NotFound, match="set MLFLOW_TRACKING_URI to the address of your MLflow server"):
            trackers()


@pytest.mark.parametrize("name", TrackerName)
def test_a_missing_library_is_told_with_the_line_to_type(name, out, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, str(name), None)
    with pytest.raises(NotFound, match=rf"type: pip install 'ubm-embed\[{name}\]'"):
        open_trackers([name], out)


def test_one_tracker_may_fail_while_the_other_goes_on(run) -> None:
    broken, whole = Recorder(fails_at=2), Recorder()
    notices: list[str] = []
    log(run, [broken, whole], notice=notices.append)
    assert notices == [
        "going on without mlflow, which failed: OSError: the server is gone; all figures are in metrics.jsonl"
    ]
    assert [call[0] for call in whole.calls[:-1]] == ["start", 1, 2, 3, 4, 5]
    assert whole.calls[-1] is RunStatus.FINISHED
    assert broken.calls[-1] == (1, {"stage_1/loss": 8.0, "stage_1/num_masked": 1.0})


def test_validations_of_fine_tuning_have_the_step_that_they_follow(run) -> None:
    tracker = Recorder()
    log(run, [tracker], [{"step": 0, "validation_loss": 2.0}, {"step": 1, "steps": 2, "loss": 3.0}])
    assert tracker.calls[1:-1] == [(0, {"validation_loss": 2.0}), (1, {"loss": 3.0})]


def test_a_training_that_ends_before_its_first_step_starts_no_tracker(run) -> None:
    tracker = Recorder()
    log(run, [tracker], [])
    assert tracker.calls == []


def test_damaged_ids_of_runs_begin_a_new_one(run) -> None:
    (run.folder / "trackers.json").write_text("[1")
    tracker = Recorder()
    log(run, [tracker])
    assert tracker.calls[0] == ("start", 1, None)


class TestATrackerThatHangs:
    @pytest.fixture
    def hanging(self) -> Iterator[Recorder]:
        released, recorder = threading.Event(), Recorder()
        recorder.log = lambda step, metrics: released.wait()  # type: ignore[method-assign,assignment,return-value]
        yield recorder
        released.set()

    def test_does_not_hold_up_training(self, hanging, monkeypatch) -> None:
        monkeypatch.setattr(background, "MAX_WAITING", 3)
        tracker = BackgroundTracker(hanging)
        tracker.start({}, 1, None, lambda run_id: None)
        for step in range(10):
            tracker.log(step, {})
        assert tracker.failure == "3 steps wait for it"

    def test_holds_up_its_end_for_a_while_only(self, hanging) -> None:
        tracker = BackgroundTracker(hanging)
        tracker.start({}, 1, None, lambda run_id: None)
        tracker.log(1, {})
        said: list[str] = []
        tracker.finish(RunStatus.FINISHED, seconds=0.01, notice=said.append)
        assert said == ["waiting up to 0.01 s for mlflow to take what is left"]
        assert tracker.failure == "it did not finish within 0.01 s"
