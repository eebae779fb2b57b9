"""TensorBoard: a folder of event files for each run, which `tensorboard --logdir` shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ubm_embed.inference.runtimes.optional_library import load_library
from ubm_embed.training.tracking.tracker import RunStatus, TrackerName


class TensorBoard:
    """Writes to `folder`, a subfolder a run.

    Raises:
        NotFound: TensorBoard is not installed.
    """

    name = TrackerName.TENSORBOARD

    def __init__(self, folder: Path) -> None:
        load_library("tensorboard", extra="tensorboard")
        self.folder = folder
        self._writer: Any = None

    def start(self, settings: Mapping[str, Any], step: int, run_id: str | None) -> str:
        """Open a new event file, which hides what earlier ones of the run have from `step` on."""
        from torch.utils.tensorboard import SummaryWriter

        run_id = run_id or f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S.%f}"
        self._writer = SummaryWriter(self.folder / run_id, purge_step=step)
        self._writer.add_text("settings", f"```json\n{json.dumps(settings, indent=2)}\n```", step)
        return run_id

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write a scalar for each figure."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def finish(self, status: RunStatus) -> None:
        """Close the event file."""
        self._writer.close()
