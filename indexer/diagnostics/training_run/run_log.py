"""What a training run has logged, read line by line: its size does not matter."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from indexer.diagnostics.training_run.curve import Curve
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.folder import RECORD_FILE
from ubm_embed.progress import Progress, silent
from ubm_embed.training.metrics_file import FAILED, METRICS_FILE, SETTINGS_FILE, StepCounter, read_metrics

# Lines between two reports of progress.
_REPORTED = 10_000
_COUNTS = ("stage", "refit", "step", "steps")


@dataclass
class StageLog:
    """One stage of pre-training, or all of a fine-tuning but its refit, or the refit.

    Attributes:
        number: 1 or 2; None for fine-tuning.
        refit: it is a fine-tuning's second training, with the validation part.
        curves: by name, over the steps of the whole run.
        first: the number of its first step in the whole run.
        steps: the number of steps that it took.
        planned: the number of steps that it takes to its end, as far as is known.
        clipped: steps whose gradient was clipped; None if the norm that gradients are clipped to is unknown.
    """

    number: int | None
    refit: bool = False
    curves: dict[str, Curve] = field(default_factory=dict)
    first: int = 0
    steps: int = 0
    planned: int = 0
    clipped: int | None = None

    @property
    def title(self) -> str:
        """What to call it among the others."""
        if self.number is not None:
            return f"stage {self.number}"
        return "the refit" if self.refit else "fine-tuning"

    @property
    def is_contrastive(self) -> bool:
        """Whether its loss pulls positive pairs together, in contrast to that of a head."""
        return self.curve("alignment") is not None

    def curve(self, name: str) -> Curve | None:
        """A curve that has a finite value; None if there is none by this name."""
        curve = self.curves.get(name)
        return curve if curve is not None and curve.count else None

    @property
    def losses(self) -> dict[str, Curve]:
        """The losses of its steps whose chance level is known, else the sum of all losses."""
        finite = {name: curve for name, curve in self.curves.items() if curve.count}
        named = {name: curve for name, curve in finite.items() if f"{name}_chance" in finite}
        return named or {name: curve for name, curve in finite.items() if name == "loss"}

    def chance(self, loss: str) -> float | None:
        """The loss of a model that cannot tell the candidates apart, over the last tenth; None if it is unknown."""
        curve = self.curve(f"{loss}_chance")
        return curve.part(0.9, 1.0).mean if curve else None

    def add(self, record: Mapping[str, Any], step: int, max_norm: float | None) -> None:
        """Add a line, whose step is number `step` of the whole run."""
        for name, value in record.items():
            if name not in _COUNTS and name != FAILED:
                self.curves.setdefault(name, Curve()).add(step, _float(value))
        if "loss" not in record:
            return  # the line of a validation
        self.steps, self.planned = int(record["step"]), int(record.get("steps", 0))
        if max_norm is not None:
            self.clipped = (self.clipped or 0) + (_float(record.get("gradient_norm", 0.0)) > max_norm)


@dataclass
class RunLog:
    """A run.

    Attributes:
        settings: those that it was started with; empty if they are not recorded.
        finished: whether its model is written.
        failed: why it ended before its last step, if it did.
    """

    settings: dict[str, Any]
    finished: bool
    stages: list[StageLog] = field(default_factory=list)
    failed: str | None = None

    @classmethod
    def read(cls, folder: Path, progress: Progress = silent) -> Self:
        """Read an unfinished run (`OUT.training`), or the model folder of a finished one.

        Raises:
            NotFound: the folder has no metrics.
            InvalidData: the metrics or settings are damaged, or no step was logged.
        """
        file = folder / METRICS_FILE
        if not file.is_file():
            raise NotFound(f"no {METRICS_FILE} at {folder}: give a model folder, or OUT.training of an unfinished run")
        unfinished = (folder / SETTINGS_FILE).is_file()
        run = cls(_settings(folder, unfinished), not unfinished)
        for row, (step, record) in enumerate(_numbered(file), start=1):
            run._add(record, step)
            if row % _REPORTED == 0:
                progress("reading metrics", row, row)
        if run.failed is None and not any(stage.steps for stage in run.stages):
            raise InvalidData("no step of training is logged yet", file=file)
        run.stages = [stage for stage in run.stages if stage.steps]
        return run

    def _add(self, record: Mapping[str, Any], step: int) -> None:
        number, refit = record.get("stage"), bool(record.get("refit"))
        if not self.stages or (self.stages[-1].number, self.stages[-1].refit) != (number, refit):
            self.stages.append(StageLog(number, refit, first=step))
        self.failed = record.get(FAILED, self.failed)
        limit = self.settings.get("max_gradient_norm")
        self.stages[-1].add(record, step, limit if isinstance(limit, int | float) else None)


def _numbered(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    counter = StepCounter()
    for record in read_metrics(file):
        yield counter.count(record), record


def _settings(folder: Path, unfinished: bool) -> dict[str, Any]:
    """The settings of an unfinished run, or of the last training in the record of a model folder."""
    file = folder / (SETTINGS_FILE if unfinished else RECORD_FILE)
    if not file.is_file():
        return {}
    try:
        document = dict(json.loads(file.read_text("utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidData(f"not a JSON object: {error}", file=file) from None
    found = document if unfinished else document.get("finetuning", document.get("pretraining", {}))
    return found if isinstance(found, dict) else {}


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return math.inf
