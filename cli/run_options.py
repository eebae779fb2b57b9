"""The options of a training run: what becomes of an unfinished one, and of a model that is already there."""

from __future__ import annotations

from typing import Annotated

import typer

from ubm_embed.training.tracking.tracker import TrackerName

RUN = "Run"

Resume = Annotated[bool, typer.Option("--resume", help="Continue the unfinished run at --out.", rich_help_panel=RUN)]
Restart = Annotated[
    bool,
    typer.Option("--restart", help="Start over: discard the state of an unfinished run at --out.", rich_help_panel=RUN),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace the model at --out; an unfinished run's state stays.", rich_help_panel=RUN
    ),
]
Track = Annotated[
    list[TrackerName] | None,
    typer.Option(
        "--track",
        help="Log to TensorBoard, in OUT.tensorboard, or to MLflow, at MLFLOW_TRACKING_URI, as well; may be repeated.",
        rich_help_panel=RUN,
    ),
]


def require_one(*, resume: bool, restart: bool) -> None:
    """Raise a usage error where a run is both continued and started over."""
    if resume and restart:
        raise typer.BadParameter("--resume continues the unfinished run and --restart discards it: give one of them")
