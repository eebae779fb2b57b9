"""Models that say what a session will come to: the options that name them, and how they are opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ubm_embed.data.tasks.examples import Task
    from ubm_embed.inference.predictor import Predictor

PurchaseIntention = Annotated[
    Path | None,
    typer.Option(
        "--purchase-intention",
        metavar="DIR",
        help="A model of `finetune pip`: answers come with the probability of a purchase.",
    ),
]
RemainingLength = Annotated[
    Path | None,
    typer.Option(
        "--remaining-length",
        metavar="DIR",
        help="A model of `finetune rlp`: answers come with the number of interactions still to come.",
    ),
]


def predictors_of(purchase_intention: Path | None, remaining_length: Path | None) -> list[Predictor]:
    """A predictor for each model folder given.

    Raises:
        NotFound: a file of a model is missing.
        InvalidData: names the folder: not a model, or one that was not fine-tuned for what it is asked.
    """
    from ubm_embed.data.tasks.examples import Task

    named = ((Task.PIP, purchase_intention), (Task.RLP, remaining_length))
    return [_predictor(task, folder) for task, folder in named if folder is not None]


def _predictor(task: Task, folder: Path) -> Predictor:
    from ubm_embed.inference.predictor import Predictor
    from ubm_embed.model.checkpoint import Checkpoint, require_task

    checkpoint = Checkpoint.from_pretrained(folder)
    require_task(checkpoint, task)
    return Predictor.of(checkpoint)
