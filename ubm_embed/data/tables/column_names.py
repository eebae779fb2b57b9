"""The names of a table's columns, from the texts of its header."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ubm_embed.errors import InvalidData


def column_names(header: Sequence[str | None], file: Path) -> tuple[str, ...]:
    """The texts of a header, and `column_N` for the N-th where it is empty.

    Raises:
        InvalidData: a name occurs twice.
    """
    names = [name or f"column_{number}" for number, name in enumerate(header, start=1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InvalidData(f"the header names {', '.join(map(repr, twice))} more than once", file=file)
    return tuple(names)
