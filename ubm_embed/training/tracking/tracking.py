"""Trackers of a training run: each line of its metrics goes to them as well.

Steps are numbered through over both stages of pre-training, whose figures are named `stage_1/loss` and `stage_2/loss`.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ubm_embed.outputs import output_file
from ubm_embed.progress import Notice, unsaid
from ubm_embed.training.metrics_file import FAILED, METRICS_FILE, StepCounter, read_metrics
from ubm_embed.training.run import TrainingRun
from ubm_embed.training.tracking.background import BackgroundTracker
from ubm_embed.training.tracking.mlflow import MLflow
from ubm_embed.training.tracking.tensorboard import TensorBoard
from ubm_embed.training.tracking.tracker import RunStatus, Tracker, TrackerName

# In the run's folder: the id that each tracker gave the run, which a resumed training continues.
_IDS_FILE = "trackers.json"
_COUNTS = ("stage", "step", "steps", FAILED)


def open_trackers(names: Sequence[TrackerName], out: Path) -> list[Tracker]:
    """The trackers of a training that writes to `out`: TensorBoard writes to `OUT.tensorboard`.

    Raises:
        NotFound: a library is missing, or has no place to track to.
    """
    return [_open(name, out.resolve()) for name in dict.fromkeys(names)]


def _open(name: TrackerName, out: Path) -> Tracker:
    if name is TrackerName.MLFLOW:
        return MLflow(out.name)
    return TensorBoard(out.with_name(f"{out.name}.tensorboard"))


@contextlib.contextmanager
def tracked(
    run: TrainingRun, trackers: Sequence[Tracker], settings: Mapping[str, Any], notice: Notice = unsaid
) -> Iterator[None]:
    """Send what the run logs inside the block to trackers. One that fails is given up, with a notice."""
    if not trackers:
        yield
        return
    tracking = Tracking(run, trackers, settings, notice)
    run.observers.append(tracking.log)
    status = RunStatus.FAILED
    try:
        yield
        status = RunStatus.FINISHED
    except KeyboardInterrupt:
        status = RunStatus.KILLED
        raise
    finally:
        run.observers.remove(tracking.log)
        tracking.finish(status)


class Tracking:
    """Passes lines on to trackers. Use `tracked`."""

    def __init__(
        self, run: TrainingRun, trackers: Sequence[Tracker], settings: Mapping[str, Any], notice: Notice
    ) -> None:
        self.run, self.settings, self.notice = run, settings, notice
        self._trackers = [BackgroundTracker(tracker) for tracker in trackers]
        self._counter: StepCounter | None = None
        self._ids = _read_ids(run.folder / _IDS_FILE)
        self._lock = threading.Lock()

    def log(self, record: Mapping[str, Any]) -> None:
        """Log a line that was just written to the metrics."""
        step = self._begin() if self._counter is None else self._counter.count(record)
        prefix = f"stage_{record['stage']}/" if "stage" in record else ""
        metrics = {f"{prefix}{name}": float(value) for name, value in record.items() if name not in _COUNTS}
        for tracker in self._trackers:
            tracker.log(step, metrics)
        self._drop_failed()

    def finish(self, status: RunStatus) -> None:
        """End the trackers that are left."""
        for tracker in self._trackers if self._counter is not None else ():
            tracker.finish(status, notice=self.notice)
        self._drop_failed()

    def _begin(self) -> int:
        """Start the trackers at the first line, and return its step: a resumed run has lines of earlier steps."""
        self._counter = StepCounter()
        for record in read_metrics(self.run.metrics):
            self._counter.count(record)
        for tracker in self._trackers:
            name = tracker.tracker.name
            run_id = self._ids.get(name)
            tracker.start(self.settings, self._counter.step, run_id, partial(self._keep, name))
        return self._counter.step

    def _keep(self, name: TrackerName, run_id: str) -> None:
        """Keep the id of a run, in a tracker's thread; unless training is over already and its folder gone."""
        with self._lock:
            self._ids[name] = run_id
            if self.run.folder.is_dir():
                with output_file(self.run.folder / _IDS_FILE) as partial:
                    partial.write_text(json.dumps(self._ids) + "\n", "utf-8")

    def _drop_failed(self) -> None:
        for tracker in [tracker for tracker in self._trackers if tracker.failure is not None]:
            self._trackers.remove(tracker)
            name = tracker.tracker.name
            self.notice(f"going on without {name}, which failed: {tracker.failure}; all figures are in {METRICS_FILE}")


def _read_ids(file: Path) -> dict[str, str]:
    """The ids by tracker; none if the file is damaged: a new run is then tracked, and training goes on."""
    try:
        return {str(name): str(run_id) for name, run_id in json.loads(file.read_text("utf-8")).items()}
    except (FileNotFoundError, ValueError, AttributeError):
        return {}
