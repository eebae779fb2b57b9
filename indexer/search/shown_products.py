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

    Rows of a revision are in memory, and are not remembered.

    Args:
        cache_bytes: limit of what is remembered.
    """

    def __init__(self, catalogue: Catalogue, cache_bytes: int = 32 << 20) -> None:
        self._catalogue = catalogue
        self._cache: SharedCache[int, _Entry] = SharedCache(cache_bytes)

    def over(self, catalogue: Catalogue) -> ShownProducts:
        """The same over another revision of the version's products; they share what is remembered."""
        other = ShownProducts(catalogue, cache_bytes=0)
        other._cache = self._cache
        return other

    def at(self, positions: Sequence[int]) -> list[ShownProduct]:
        """The products at these positions; do not change their fields.

        Raises:
            InvalidData: a file of the version is damaged.
        """
        revised = self._catalogue.revised_rows(positions)
        if not revised:
            return [entry.product for entry in self._cache.get(positions, self._read)]
        others = [position for position in positions if position not in revised]
        entries = dict(zip(others, self._cache.get(others, self._read), strict=True))
        entries |= zip(revised, self._read(list(revised)), strict=True)
        return [entries[position].product for position in positions]

    def _read(self, positions: list[int]) -> list[_Entry]:
        rows = self._catalogue.rows(positions)
        return [_entry(rows[position]) for position in positions]


def _entry(row: dict[str, Any]) -> _Entry:
    fields = {name: value for name, value in row.items() if name not in _OWN_COLUMNS}
    product = ShownProduct(row["product_id"], row["title"], row["category"], fields)
    return _Entry(product, tuple(row.values()))
