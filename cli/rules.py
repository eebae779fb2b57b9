"""Options that say what an answer has to be, beside that it fits; the same for every command that answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from indexer.search.ranking import Rules

Where = Annotated[
    str | None,
    typer.Option("--where", metavar="SQL", help="Match only these, such as \"price < 50 AND category LIKE 'Shoes%'\"."),
]
Diversity = Annotated[
    float, typer.Option("--diversity", min=0, max=1, help="0: the best; towards 1: matches that are less alike.")
]
MostPer = Annotated[
    list[str] | None,
    typer.Option("--max-per", metavar="COLUMN=N", help="At most N matches with one value of a column; repeatable."),
]
Exclude = Annotated[
    Path | None, typer.Option("--exclude", metavar="FILE", help="Ids that never match: a product_id column, any table.")
]
Boost = Annotated[
    Path | None, typer.Option("--boost", metavar="FILE", help="Columns product_id and boost, added to the score.")
]


def rules_of(
    where: str | None,
    diversity: float,
    most_per: list[str] | None,
    exclude: Path | None,
    boost: Path | None,
    *,
    include_seen: bool = False,
) -> Rules:
    """What was asked for.

    Raises:
        NotFound: a file is missing.
        InvalidData: a file is not what was expected.
    """
    from indexer.search.ranking import Rules
    from indexer.search.rule_files import read_boosts, read_excluded

    return Rules(
        where=where,
        exclude_seen=not include_seen,
        exclude=frozenset() if exclude is None else read_excluded(exclude),
        boost={} if boost is None else read_boosts(boost),
        diversity=diversity,
        most_per=dict(map(_most, most_per or [])),
    )


def _most(pair: str) -> tuple[str, int]:
    column, _, number = pair.rpartition("=")
    if not column or not number.isdecimal() or int(number) < 1:
        raise typer.BadParameter(f"--max-per expects COLUMN=N with N at least 1, got {pair!r}")
    return column, int(number)
