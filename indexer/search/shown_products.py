"""What a match shows of its product, remembered for the products that match most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from indexer.catalogue.catalogue import Catalogue
from ubm_embed.inference.shared_cache import SharedCache

_OWN_COLUMNS = ("product_id", "title", "category")


class ShownProduct(NamedTuple):
    """A product as a match shows it.

    Attributes:
        fields: the shop's further columns, as they are in the table.
    """

    product_id: str
    title: str | None
    category: str | None
    fields: Mapping[str, Any]


class _Entry(NamedTuple):
    """A product, and its values, so that their size is counted where this is remembered."""

    product: ShownProduct
    values: tuple[Any, ...]


class ShownProducts:
    """The products of a version as matches show them. Several threads may ask.

    Args:
        cache_bytes: limit of what is remembered.
    """

    def __init__(self, catalogue: Catalogue, cache_bytes: int = 32 << 20) -> None:
        self._catalogue = catalogue
        self._cache: SharedCache[int, _Entry] = SharedCache(cache_bytes)

    def at(self, positions: Sequence[int]) -> list[ShownProduct]:
        """The products at these positions; do not change their fields.

        Raises:
            InvalidData: a file of the version is damaged.
        """
        return [entry.product for entry in self._cache.get(positions, self._read)]

    def _read(self, positions: list[int]) -> list[_Entry]:
        rows = self._catalogue.rows(positions)
        return [_entry(rows[position]) for position in positions]


def _entry(row: dict[str, Any]) -> _Entry:
    fields = {name: value for name, value in row.items() if name not in _OWN_COLUMNS}
    product = ShownProduct(row["product_id"], row["title"], row["category"], fields)
    return _Entry(product, tuple(row.values()))
