"""What a tracker does. Its failures are no failures of the training that it follows."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Protocol


class TrackerName(enum.StrEnum):
    """The trackers that there are."""

    TENSORBOARD = "tensorboard"
    MLFLOW = "mlflow"


class RunStatus(enum.StrEnum):
    """How a run ended, in the words of MLflow."""

    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class Tracker(Protocol):
    """Follows one training. One thread calls it; what it raises ends tracking, and nothing else.

    Attributes:
        name: in messages.
    """

    name: TrackerName

    def start(self, settings: Mapping[str, Any], step: int, run_id: str | None) -> str:
        """Begin, before step `step` is logged; returns the id of the run.

        Args:
            run_id: of the run to continue, where a training is resumed: what was logged from `step` on comes again.
        """

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the figures of a step."""

    def finish(self, status: RunStatus) -> None:
        """Send what is left, and end."""
