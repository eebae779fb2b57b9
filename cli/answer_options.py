"""Options of the commands that answer from a store: rules about the answer, and models that predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from indexer.search.ranking import Rules
    from ubm_embed.inference.predictor import Predictor

Where = Annotated[
    str | None,
    typer.Option(
        "--where", metavar="SQL", help="Condition on products, such as \"price < 50 AND category LIKE 'Shoes%'\"."
    ),
]
Diversity = Annotated[
    float,
    typer.Option(
        "--diversity", min=0, max=1, help="0 takes the best matches; the nearer to 1, the less similar they are."
    ),
]
MaxPer = Annotated[
    list[str] | None,
    typer.Option("--max-per", metavar="COLUMN=N", help="At most N matches with one value of a column; repeatable."),
]
Exclude = Annotated[
    Path | None,
    typer.Option("--exclude", metavar="FILE", help="Table with a product_id column: these products never match."),
]
Boost = Annotated[
    Path | None,
    typer.Option(
        "--boost", metavar="FILE", help="Table with columns product_id and boost; the boost is added to the score."
    ),
]
NoCounts = Annotated[
    bool,
    typer.Option("--no-counts", help="Score without what shoppers did next, which a version counts from interactions."),
]
NoWords = Annotated[
    bool,
    typer.Option("--no-words", help="Score without the words that products share with a search or a product's text."),
]
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


_MAX_DIGITS = 18  # a longer number is a mistake


def read_rules(
    where: str | None,
    diversity: float,
    max_per: list[str] | None,
    exclude: Path | None,
    boost: Path | None,
    *,
    include_seen: bool = False,
) -> Rules:
    """The rules that the options describe, with what their files hold.

    Raises:
        NotFound: a file is missing.
        InvalidData: a file is not what was expected.
    """
    from indexer.search.ranking import Rules

    return Rules(
        where=where,
        exclude_seen=not include_seen,
        exclude=frozenset() if exclude is None else _read_excluded(exclude),
        boost={} if boost is None else _read_boosts(boost),
        diversity=diversity,
        max_per=dict(map(_column_limit, max_per or [])),
    )


# What reads tables takes as long to load as all else that a query needs.
def _read_excluded(file: Path) -> frozenset[str]:
    from indexer.search.rule_files import read_excluded

    return read_excluded(file)


def _read_boosts(file: Path) -> dict[str, float]:
    from indexer.search.rule_files import read_boosts

    return read_boosts(file)


def _column_limit(pair: str) -> tuple[str, int]:
    column, _, number = pair.rpartition("=")
    if not column or not number.isdecimal() or len(number) > _MAX_DIGITS or int(number) < 1:
        raise typer.BadParameter(f"--max-per expects COLUMN=N with N at least 1, got {pair!r}")
    return column, int(number)


def load_predictors(purchase_intention: Path | None, remaining_length: Path | None) -> list[Predictor]:
    """A predictor for each model folder given.

    Raises:
        NotFound: a file of a model is missing.
        InvalidData: names the folder: it holds no model, or one that was fine-tuned for another task.
    """
    from ubm_embed.data.tasks.task import Task
    from ubm_embed.inference.predictor import Predictor

    folders = ((Task.PIP, purchase_intention), (Task.RLP, remaining_length))
    return [Predictor.from_pretrained(folder, task=task) for task, folder in folders if folder is not None]
