"""A version's products under a revision.

Letters: M products of the base, N positions appended.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.catalogue.column_codes import codes_beside, codes_of
from indexer.catalogue.mapped_catalogue import PRODUCT_COLUMNS, MappedCatalogue, product_of, shown_columns
from indexer.catalogue.single_flight_cache import SingleFlightCache
from indexer.index.selection import Selection
from indexer.revisions.layer import NOWHERE, Layer
from indexer.revisions.overlay import Overlay
from ubm_embed.data.arrays import IntArray
from ubm_embed.data.ids import clean_id
from ubm_embed.data.session import Product

_CODES_BYTES = _SELECTIONS_BYTES = 2**26


class RevisedCatalogue:
    """A `Catalogue` of a base and an overlay of it. Positions are the overlay's, M + N of them.

    What is asked of a dead position has no meaning: start from `visible`.
    """

    def __init__(self, base: MappedCatalogue, overlay: Overlay) -> None:
        self.base = base
        self.overlay = overlay
        self._selections = SingleFlightCache[str, Selection](_SELECTIONS_BYTES, lambda selection: selection.nbytes)
        self._codes = SingleFlightCache[str, NDArray[np.int32]](_CODES_BYTES, lambda codes: codes.nbytes)

    def __len__(self) -> int:
        return len(self.overlay)

    @property
    def columns(self) -> Sequence[str]:
        """As `Catalogue`."""
        return self.base.columns

    @property
    def visible(self) -> Selection | None:
        """As `Catalogue`."""
        return self.overlay.visible

    def revised(self, product_id: str) -> Hashable | None:
        """As `Catalogue`."""
        states = self._state(product_id), self._state(clean_id(product_id) or "")
        return None if states == (None, None) else states

    def _state(self, product_id: str) -> Hashable | None:
        known = self.overlay.find(product_id)
        if known is None or known.position == known.base_position != NOWHERE:
            return None
        return known.position, known.text_hash

    def revised_rows(self, positions: Iterable[int]) -> Set[int]:
        """As `Catalogue`."""
        return self._places(positions)[0].keys()

    def find(self, product_ids: Iterable[str]) -> Mapping[str, int]:
        """As `Catalogue`."""
        found, others = dict[str, int](), list[str]()
        for name in product_ids:
            known = self.overlay.find(name)
            if known is None:
                others.append(name)
            elif known.position != NOWHERE:
                found[name] = known.position
        return {**found, **self.base.find(others)}

    def products(self, positions: Iterable[int]) -> dict[int, Product]:
        """As `Catalogue`."""
        places, rest = self._places(positions)
        mine = {position: product_of(layer.values(PRODUCT_COLUMNS, row)) for position, (layer, row) in places.items()}
        return {**mine, **self.base.products(rest)}

    def rows(self, positions: Iterable[int]) -> dict[int, dict[str, Any]]:
        """As `Catalogue`."""
        places, rest = self._places(positions)
        mine = {position: layer.values(self._shown, row) for position, (layer, row) in places.items()}
        return {**mine, **self.base.rows(rest)}

    def values(self, column: str, positions: IntArray) -> Sequence[Any]:
        """As `Catalogue`."""
        wanted = positions.tolist()
        places, rest = self._places(wanted)
        found = {position: layer.value(column, row) for position, (layer, row) in places.items()}
        found.update(zip(rest, self.base.values(column, np.array(rest, np.int64)), strict=True))
        return [found[position] for position in wanted]

    def codes(self, column: str) -> NDArray[np.int32]:
        """As `Catalogue`. The codes of the columns that were used last are kept."""
        return self._codes.get(column, lambda: self._make_codes(column))

    def _make_codes(self, column: str) -> NDArray[np.int32]:
        values = [layer.columns[column] for layer in self.overlay.layers]
        revised = pa.chunked_array(values, self.base.schema.field(column).type)
        known = self.base.encoded(column)
        if known.values is None:
            chunks = [*self.base.table([column])[column].chunks, *revised.chunks]
            base, added = np.split(codes_of(pa.chunked_array(chunks, revised.type)), [len(self.base)])
        else:
            base, added = known.codes, codes_beside(known, revised)
        positions = np.concatenate([layer.positions for layer in self.overlay.layers])
        codes = np.concatenate([base, np.full(self.overlay.appended_count, -1, np.int32)])
        codes[positions[positions != NOWHERE]] = added[positions != NOWHERE]
        return codes

    def where(self, condition: str) -> Selection:
        """As `Catalogue`. The selections of the conditions that were used last are kept."""
        return self._selections.get(condition, lambda: self._evaluate(condition))

    def _evaluate(self, condition: str) -> Selection:
        mask = np.zeros(len(self), bool)
        mask[: len(self.base)] = self.base.where(condition).mask
        for layer in self.overlay.layers:
            there = layer.positions != NOWHERE
            if there.any():
                mask[layer.positions[there]] = layer.where(condition)[there]
        if self.visible is not None:
            mask &= self.visible.mask
        return Selection(mask)

    @cached_property
    def popular(self) -> NDArray[np.int64]:
        """As `Catalogue`."""
        now = self.overlay.current(self.base.popular)
        popular: NDArray[np.int64] = now[now != NOWHERE]
        return popular

    def require_unchanged(self) -> None:
        """As `Catalogue`."""
        self.base.require_unchanged()

    def close(self) -> None:
        """As `Catalogue`."""
        self.base.close()

    def _places(self, positions: Iterable[int]) -> tuple[dict[int, tuple[Layer, int]], list[int]]:
        """The layer and row of each position that the overlay has, and the positions that the base has."""
        wanted = np.fromiter(dict.fromkeys(positions), np.int64)
        places = dict[int, tuple[Layer, int]]()
        for layer in self.overlay.layers:  # of two rows at a position the later one counts
            rows = layer.rows_at(wanted)
            hits = np.flatnonzero(rows != NOWHERE)
            places.update((int(wanted[hit]), (layer, int(rows[hit]))) for hit in hits)
        return places, [position for position in wanted.tolist() if position not in places]

    @cached_property
    def _shown(self) -> list[str]:
        return shown_columns(self.columns)
