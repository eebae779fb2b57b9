"""An unfinished training run on disk: its last state, its metrics, and what it was started with.

It stands beside the model it will become, as `OUT.training`, and goes when that is written.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch

from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.outputs import output_file

METRICS_FILE = "metrics.jsonl"
_STATE_FILE = "state.pt"
_SETTINGS_FILE = "settings.json"


class TrainingRun:
    """The folder of an unfinished run. Use `start` or `resume`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics = folder / METRICS_FILE

    @classmethod
    def require_none(cls, out: Path, *, overwrite: bool) -> None:
        """Say so before any work where `start` would be refused.

        Raises:
            Conflict: an unfinished run is there, and `overwrite` is false.
        """
        folder = _beside(out)
        if folder.exists() and not overwrite:
            raise Conflict(f"an unfinished run is at {folder}; go on with --resume, or pass --overwrite")

    @classmethod
    def start(cls, out: Path, settings: Mapping[str, Any], *, overwrite: bool) -> Self:
        """A new run.

        Raises:
            Conflict: an unfinished one is there, and `overwrite` is false.
        """
        cls.require_none(out, overwrite=overwrite)
        run = cls(_beside(out))
        shutil.rmtree(run.folder, ignore_errors=True)
        run.folder.mkdir(parents=True)
        run.metrics.touch()
        with output_file(run.folder / _SETTINGS_FILE) as aside:  # last: a folder with settings can be resumed
            aside.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
        return run

    @classmethod
    def resume(cls, out: Path, settings: Mapping[str, Any]) -> Self:
        """The run that was cut off.

        Raises:
            NotFound: there is none.
            Conflict: it was started with other settings, data or weights; names the first difference.
            InvalidData: its settings are damaged.
        """
        run = cls(_beside(out))
        file = run.folder / _SETTINGS_FILE
        if not file.is_file():
            raise NotFound(f"no unfinished run at {run.folder}: nothing to resume")
        try:
            before = dict(json.loads(file.read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise InvalidData(f"not the settings of a run: {error}", file=file) from None
        for name, value in json.loads(json.dumps(settings)).items():
            if before.get(name) != value:
                raise Conflict(f"cannot resume {run.folder}: {name} was {before.get(name)!r}, now it is {value!r}")
        return run

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep this state, and the metrics up to here."""
        with open(self.metrics, "rb") as stream:
            os.fsync(stream.fileno())  # a power cut must not leave a state that counts on metrics never written
        with output_file(self.folder / _STATE_FILE) as aside:
            torch.save({**state, "metrics_bytes": self.metrics.stat().st_size}, aside)

    def load(self) -> dict[str, Any] | None:
        """The last state, or None where none was kept yet; drops metrics that were logged after it.

        Raises:
            InvalidData: the file is not whole.
        """
        file = self.folder / _STATE_FILE
        if not file.is_file():
            self.metrics.write_bytes(b"")
            return None
        try:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            logged = int(state["metrics_bytes"])
        except Exception as error:  # torch raises many kinds
            raise InvalidData(f"not a training state: {error}", file=file) from None
        os.truncate(self.metrics, logged)
        return state

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to the metrics."""
        with open(self.metrics, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def discard(self) -> None:
        """The model is written; the run is over."""
        shutil.rmtree(self.folder)


def _beside(out: Path) -> Path:
    out = out.resolve()  # "." has no name of its own
    return out.with_name(out.name + ".training")
