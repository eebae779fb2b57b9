"""An unfinished training run on disk: its last state, its metrics, and the settings it was started with.

It stands beside the model it will become, as `OUT.training`, and is removed once that model is written. While it is
being worked on, `OUT.training.lock` is locked.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from filelock import FileLock, Timeout

from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.outputs import output_file
from ubm_embed.training.metrics_file import METRICS_FILE, SETTINGS_FILE
from ubm_embed.training.processes import ALONE, Processes

# What to do about a step whose numbers are not finite, in the words of the command line.
REMEDY = "lower --learning-rate and start over with --restart"
_STATE_FILE = "state.pt"


class TrainingRun:
    """The folder of an unfinished run. Use `open`.

    Attributes:
        observers: are called with each line of the metrics, once it is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics = folder / METRICS_FILE
        self.observers: list[Callable[[Mapping[str, Any]], None]] = []

    @staticmethod
    @contextlib.contextmanager
    def lock(out: Path, processes: Processes = ALONE) -> Iterator[None]:
        """Keep other runs from writing to `out` while the block runs; the processes of one run share the lock.

        Raises:
            Conflict: another run holds it.
        """
        path = _beside(out, ".training.lock")
        lock = FileLock(path)

        def acquire() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                problem = f"another run is writing to {out} ({path} is locked): wait for it, or choose another --out"
                raise Conflict(problem) from None

        processes.on_rank_zero(acquire)
        try:
            yield
        finally:
            if lock.is_locked:
                path.unlink(missing_ok=True)  # while it is held, so that another process opens a new file
                lock.release()

    @classmethod
    def check(cls, out: Path, *, resume: bool, restart: bool) -> None:
        """Raise what `open` would raise for these options, before any work.

        Raises:
            ValueError: both options are set.
            NotFound: `resume`, and no run is unfinished.
            Conflict: a run is unfinished, and neither option says what to do with it.
        """
        if resume and restart:
            raise ValueError("resume continues an unfinished run and restart discards it: choose one of them")
        folder = _beside(out, ".training")
        if resume and not (folder / SETTINGS_FILE).is_file():
            raise NotFound(f"no unfinished run at {folder}: start one without --resume")
        if folder.exists() and not resume and not restart:
            resumable = "continue it with --resume, or " if (folder / SETTINGS_FILE).is_file() else ""
            raise Conflict(f"an unfinished run is at {folder}: {resumable}discard it with --restart")

    @classmethod
    def open(cls, out: Path, settings: Mapping[str, Any], *, resume: bool = False, restart: bool = False) -> Self:
        """A new run, or with `resume` the one that was cut off; `restart` discards an unfinished one.

        Raises:
            ValueError, NotFound, Conflict: as `check`.
            Conflict: the run to resume has other settings, data or weights; names the first difference.
            InvalidData: its settings are damaged.
        """
        cls.check(out, resume=resume, restart=restart)
        run = cls(_beside(out, ".training"))
        if resume:
            run._require(settings)
        else:
            run._create(settings)
        return run

    def _create(self, settings: Mapping[str, Any]) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        self.metrics.touch()
        with output_file(self.folder / SETTINGS_FILE) as partial:  # last: a folder with settings can be resumed
            partial.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")

    def _require(self, settings: Mapping[str, Any]) -> None:
        file = self.folder / SETTINGS_FILE
        try:
            before = dict(json.loads(file.read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise InvalidData(f"not the settings of a run: {error}", file=file) from None
        for name, value in json.loads(json.dumps(settings)).items():
            if before.get(name) != value:
                raise Conflict(
                    f"cannot resume {self.folder}: {name} was {before.get(name)!r}, now it is {value!r}; use the same "
                    "settings, or start over with --restart"
                )

    def save(self, state: Mapping[str, Any]) -> None:
        """Save this state; metrics logged so far belong to it."""
        with open(self.metrics, "rb") as stream:
            os.fsync(stream.fileno())  # after a power cut a state must not count metrics that were never written
        # To a stream: given a path, PyTorch reports a full disk as the position that it did not reach.
        with output_file(self.folder / _STATE_FILE) as partial, partial.open("wb") as stream:
            torch.save({**state, "metrics_bytes": self.metrics.stat().st_size}, stream)

    def load(self) -> dict[str, Any] | None:
        """The last saved state, or None where none was saved yet; drops metrics that were logged after it.

        Raises:
            InvalidData: the file is damaged.
        """
        file = self.folder / _STATE_FILE
        if not file.is_file():
            self.metrics.write_bytes(b"")
            return None
        try:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            logged = int(state["metrics_bytes"])
        except Exception as error:  # torch raises many types
            raise InvalidData(f"not a training state: {error}", file=file) from None
        os.truncate(self.metrics, logged)
        return state

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to the metrics."""
        with open(self.metrics, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
        for observer in self.observers:
            observer(record)

    def discard(self) -> None:
        """Remove the run: its model is written."""
        shutil.rmtree(self.folder)


def _beside(out: Path, suffix: str) -> Path:
    out = out.resolve()  # "." has no name of its own
    return out.with_name(out.name + suffix)
