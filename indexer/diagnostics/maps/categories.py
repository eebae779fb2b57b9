"""Categories as the groups of a picture."""

from __future__ import annotations

from collections.abc import Sequence

_SEPARATOR = " > "
# Of more groups than colours most would be grey.
_FEW = 8


def groups_of(categories: Sequence[str | None]) -> list[str | None]:
    """Each category, or the first level of each where there are many: "Shoes" for "Shoes > Running"."""
    if len({*categories} - {None}) <= _FEW:
        return [*categories]
    return [None if category is None else category.split(_SEPARATOR)[0] for category in categories]
