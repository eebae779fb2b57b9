"""What a revision makes of a version's products: which position each has, and which positions are dead.

The products of the version, the base, have the positions 0 to M - 1. A product with another text, or a new one, gets
the next position at the end, and the position that it had is dead: nothing may find it. One whose text is the base's
keeps the base's position, with other columns.

Letters: M products of the base, N positions appended, K rows, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.index.selection import Selection
from indexer.revisions.layer import NOWHERE, Layer, with_popularity
from indexer.revisions.segment import ROW_DELETED, ROW_REVISION, array_of, last_rows, rows_after, segment_schema
from indexer.revisions.vector_chunks import VectorChunks
from indexer.store.table_schema import TEXT_HASH, VECTOR
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray
from ubm_embed.data.arrow_arrays import matrix, present, taken
from ubm_embed.errors import InvalidData

# Rows that are copied for each change; when there are more, they are merged into the run, which may be large.
_MAX_TAIL = 1024
# Dead appended positions that are kept; more are dropped once they outnumber the others.
_MIN_GARBAGE = 1024


class RevisedProduct(NamedTuple):
    """A product that a revision speaks of.

    Attributes:
        layer: that has its row.
        row: in the layer.
        position: -1 if the product is deleted.
        base_position: of the same id in the base, -1 for a new one.
    """

    layer: Layer
    row: int
    position: int
    base_position: int

    @property
    def text_hash(self) -> bytes | None:
        """Of its text; None if it is deleted."""
        return self.layer.value(TEXT_HASH, self.row)  # type: ignore[no-any-return]

    def value(self, column: str) -> Any:
        """A value of its row, as Python has it."""
        return self.layer.value(column, self.row)


class Overlay:
    """The products of a version under a revision. It never changes; a later revision makes a new one.

    Attributes:
        base: the version as it was published.
        number: of the revision; 0 without one.
    """

    def __init__(
        self, base: MappedCatalogue, number: int, run: Layer, tail: Layer, vectors: VectorChunks, generation: object
    ) -> None:
        self.base = base
        self.number = number
        self._run, self._tail = run, tail
        self._vectors = vectors
        self._generation = generation

    @classmethod
    def of_base(cls, base: MappedCatalogue, dimension: int, patch: pa.Table | None = None) -> Overlay:
        """The overlay of no revision.

        Args:
            dimension: D.
            patch: rows of a version that shares the files of the base (see `segment.read_patch`).

        Raises:
            InvalidData: the patch has products that the base lacks.
        """
        nobody = _no_rows(base, dimension)
        empty = cls(base, 0, nobody, nobody, VectorChunks(dimension), object())
        return empty if patch is None else empty._with_rows(patch)

    @cached_property
    def whole(self) -> Layer:
        """All rows, one a product."""
        return self._run.followed_by(self._tail)

    @property
    def layers(self) -> tuple[Layer, Layer]:
        """The rows, the earlier first: a product in both has the later's row."""
        return self._run, self._tail

    @property
    def rows(self) -> int:
        """Products that it speaks of, the deleted ones among them."""
        return int(self._positions[0].size)

    @property
    def base_count(self) -> int:
        """M."""
        return len(self.base)

    @property
    def appended_count(self) -> int:
        """N."""
        return len(self._vectors)

    def __len__(self) -> int:
        """M + N."""
        return self.base_count + self.appended_count

    def advanced(self, rows: pa.Table, number: int | None = None) -> Overlay:
        """The overlay of a later revision.

        Args:
            rows: of segments, in order of application: [K]. Those that are known already are skipped.
            number: of the later revision; None for that of the newest row.

        Raises:
            InvalidData: a row has the text of a product that the base lacks.
        """
        newer = rows_after(rows, self.number)
        if not newer.num_rows:
            return self._at(self.number if number is None else number)
        newest = int(array_of(newer, ROW_REVISION).max())
        return self._with_rows(newer)._at(newest if number is None else number)

    def find(self, product_id: str) -> RevisedProduct | None:
        """A product that the revision speaks of; None if the base's row is as it was published."""
        for layer in (self._tail, self._run):
            row = layer.index.get(product_id)
            if row is not None:
                return RevisedProduct(layer, row, int(layer.positions[row]), int(layer.base_positions[row]))
        return None

    def vectors(self, positions: IntArray) -> FloatArray:
        """Vectors at appended positions: [K] -> [K, D]."""
        return self._vectors.take(np.asarray(positions, np.int64) - self.base_count)

    def continues(self, other: Overlay) -> bool:
        """Whether every position of an earlier overlay stands for the same vector in this one."""
        return self._generation is other._generation and self.appended_count >= other.appended_count

    def appended_vectors_since(self, other: Overlay | None) -> FloatArray:
        """Vectors of the positions that an earlier overlay, which this one continues, lacks; all for None: [K, D]."""
        return self._vectors.since(other.appended_count if other else 0)

    @cached_property
    def visible(self) -> Selection | None:
        """The positions that have a product: [M + N]; None if all do."""
        positions, _ = self._positions
        mask = np.ones(len(self), bool)
        mask[self.base_count :] = False
        mask[positions[positions >= self.base_count]] = True
        mask[self.dead_of_base] = False
        return None if mask.all() else Selection(mask)

    @cached_property
    def appended_bases(self) -> NDArray[np.int64]:
        """Where the base has the product at each appended position, -1 for a new product, or for none: [N]."""
        positions, before = self._positions
        bases = np.full(self.appended_count, NOWHERE)
        appended = positions >= self.base_count
        bases[positions[appended] - self.base_count] = before[appended]
        return bases

    @cached_property
    def dead_of_base(self) -> NDArray[np.int64]:
        """Positions of the base that have no product any more."""
        positions, before = self._positions
        dead: NDArray[np.int64] = before[(before != NOWHERE) & (before != positions)]
        return dead

    def current(self, base_positions: IntArray) -> NDArray[np.int64]:
        """Where the products are now that the base has at these positions, -1 for those that are deleted: [K]."""
        positions, before = self._positions
        if not before.size:
            return np.asarray(base_positions, np.int64)
        order = np.argsort(before)
        ranks = order[np.minimum(np.searchsorted(before, base_positions, sorter=order), before.size - 1)]
        return np.where(before[ranks] == base_positions, positions[ranks], base_positions)

    @cached_property
    def _positions(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each product that the revision speaks of is, and where it is in the base; -1 for nowhere."""
        replaced = self._run.rows_of(self._tail.index)
        both = [(np.delete(self._run.positions, replaced), np.delete(self._run.base_positions, replaced))]
        both.append((self._tail.positions, self._tail.base_positions))
        positions, before = zip(*both, strict=True)
        return np.concatenate(positions), np.concatenate(before)

    def _at(self, number: int) -> Overlay:
        if number == self.number:
            return self
        return Overlay(self.base, number, self._run, self._tail, self._vectors, self._generation)

    def _with_rows(self, rows: pa.Table) -> Overlay:
        added, vectors = self._placed(last_rows(rows))
        run, tail = self._run, self._tail.followed_by(added)
        if len(tail) > _MAX_TAIL:
            run, tail = run.followed_by(tail), tail.take(np.empty(0, np.int64))
        extended = self._vectors.extended(vectors)
        return Overlay(self.base, self.number, run, tail, extended, self._generation)._without_garbage()

    def _placed(self, rows: pa.Table) -> tuple[Layer, FloatArray]:
        """Rows with the positions of their products, and the vectors that these append."""
        names = rows["product_id"].to_pylist()
        before = self.base.find_all(rows["product_id"].combine_chunks())
        deleted = array_of(rows, ROW_DELETED)
        with_text = np.flatnonzero(_has_vector(rows) & ~deleted)
        positions = np.where(deleted, NOWHERE, before)
        positions[with_text], appended = self._with_texts(names, rows[TEXT_HASH], with_text)
        if (lost := (positions == NOWHERE) & ~deleted).any():
            problem = f"no product {names[lost.argmax()]!r} in the version, of which a revision has the columns only"
            raise InvalidData(problem, file=self.base.file, field="product_id")
        counts = self._popularity(before)
        vectors = _vectors(rows, appended, self._vectors.dimension)
        stored = rows.drop_columns([VECTOR]) if VECTOR in rows.column_names else rows
        return Layer(with_popularity(stored, self.base.schema, counts), positions, before), vectors

    def _with_texts(
        self, names: Sequence[str], text_hashes: pa.ChunkedArray, rows: IntArray
    ) -> tuple[NDArray[np.int64], IntArray]:
        """Positions of the products that have a text of their own, and the rows of those that are appended."""
        known = [self._appended_position(names[row], text_hashes[row]) for row in rows.tolist()]
        positions = np.array(known, np.int64)
        is_new = positions == NOWHERE
        positions[is_new] = len(self) + np.arange(np.count_nonzero(is_new))
        return positions, rows[is_new]

    def _appended_position(self, name: str, text_hash: pa.Scalar) -> int:
        """Where a product with this text is already; -1 for nowhere."""
        known = self.find(name)
        if known is None or known.position < self.base_count or known.text_hash != text_hash.as_py():
            return NOWHERE
        return known.position

    def _popularity(self, base_positions: IntArray) -> NDArray[np.int64]:
        """The popularity of the products at these positions of the base; 0 for new ones."""
        counts, known = np.zeros(len(base_positions), np.int64), base_positions != NOWHERE
        counts[known] = self.base.popularity(base_positions[known])
        return counts

    def _without_garbage(self) -> Overlay:
        """The same products without most dead positions, if there are too many: the others then have new ones."""
        positions, _ = self._positions
        alive = np.sort(positions[positions >= self.base_count])
        if self.appended_count - alive.size <= max(_MIN_GARBAGE, alive.size):
            return self
        run = self.whole
        appended = run.positions >= self.base_count
        moved = run.positions.copy()
        moved[appended] = self.base_count + np.searchsorted(alive, run.positions[appended])
        vectors = VectorChunks(self._vectors.dimension).extended(self.vectors(alive))
        run = Layer(run.rows, moved, run.base_positions)
        return Overlay(self.base, self.number, run, run.take(np.empty(0, np.int64)), vectors, object())


def _no_rows(base: MappedCatalogue, dimension: int) -> Layer:
    rows = pa.Table.from_batches([], segment_schema(base.schema, dimension)).drop_columns([VECTOR])
    nothing = np.empty(0, np.int64)
    return Layer(with_popularity(rows, base.schema, nothing), nothing, nothing)


def _has_vector(rows: pa.Table) -> BoolArray:
    if VECTOR not in rows.column_names:
        return np.zeros(rows.num_rows, bool)
    return present(rows[VECTOR].combine_chunks())


def _vectors(rows: pa.Table, at: IntArray, dimension: int) -> FloatArray:
    """Vectors in these rows: [K, D]."""
    return (
        matrix(taken(rows.select([VECTOR]), at)[VECTOR], dimension) if at.size else np.empty((0, dimension), np.float32)
    )
