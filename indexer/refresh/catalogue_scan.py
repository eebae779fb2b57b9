"""The shop's catalogue as a refresh reads it: batch by batch, and what it keeps of a product is some hashes.

Letters: M products of the catalogue, K of a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.catalogue.id_hashes import id_hashes
from indexer.refresh.folded_catalogue import FoldedCatalogue, NewerProducts
from indexer.refresh.live_rows import LiveRows, Matched
from indexer.refresh.matched_batch import MatchedBatch
from indexer.refresh.product_hashes import row_hashes, text_hashes
from indexer.refresh.row_signatures import Signatures, row_signatures
from indexer.refresh.row_spool import RowSpool
from indexer.refresh.settled_files import Stamps, cut_short, require_settled, require_unchanged
from indexer.store.table_schema import ROW_HASH, TEXT_HASH, require_storable
from indexer.versions.software import software
from ubm_embed.data.arrays import BoolArray, IntArray
from ubm_embed.data.mappings.column import ColumnType
from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.data.product_rows import none_is_clean
from ubm_embed.data.products import CatalogueFile
from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.progress import Notice

_BATCH_ROWS = 20_000


@dataclass(frozen=True)
class CatalogueScan:
    """A catalogue that was read once.

    Attributes:
        source: how it is read, from `file`.
        schema: the shop's columns and their types.
        id_hashes: of the ids: [M].
        row_hashes: of all columns but the id: [M].
        text_hashes: of what the model reads, 16 bytes each: [M].
        matched: its products among the live ones; None if it was compared with none.
        spool: the rows that the table of the live version does not have; None to read them from the file once more.
        spooled: which products these are: [M].
        batch_rows: products read at a time.
        stamps: the state that its files were in.
        empty: share of the products without a value, by column.
        notices: what a person should know about it, in words.
    """

    source: FoldedCatalogue
    schema: pl.Schema
    id_hashes: NDArray[np.uint64]
    row_hashes: NDArray[np.uint64]
    text_hashes: NDArray[Any]
    matched: Matched | None = None
    spool: RowSpool | None = None
    spooled: BoolArray = field(default_factory=lambda: np.empty(0, bool))
    batch_rows: int = _BATCH_ROWS
    stamps: Stamps = ()
    empty: dict[str, float] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        file: str | Path,
        mapping: Mapping | None = None,
        live: LiveRows | None = None,
        newer: NewerProducts | None = None,
        *,
        batch_rows: int = _BATCH_ROWS,
    ) -> CatalogueScan:
        """Check a catalogue file, hash its products and match them with the live ones.

        Args:
            live: the live products; None to compare with none, so that every text is hashed.
            newer: products of a revision that count in place of the file's.

        Raises:
            NotFound: no such file.
            InvalidData: as `product_batches`; or an id occurs twice; or the table cannot hold one of the columns.
            Conflict: the file is still being written.
        """
        source = FoldedCatalogue(CatalogueFile(Path(file), mapping), newer)
        before = require_settled(source.files)
        reading = _Reading(source, live)
        try:
            for batch in source.batches(batch_rows, reading.are_clean):
                reading.add(batch)
            reading.require_ids_once(batch_rows)
        except InvalidData:
            require_unchanged(source.files, before)  # if it changed meanwhile, that is why
            raise
        require_unchanged(source.files, before)
        return reading.scan(batch_rows, before)

    @property
    def file(self) -> Path:
        """Its path."""
        return self.source.path

    def __len__(self) -> int:
        return int(self.id_hashes.size)

    @property
    def signatures(self) -> Signatures:
        """One number for each product: [M]."""
        return row_signatures(self.id_hashes, self.text_hashes, self.row_hashes)

    def matched_with(self, live: LiveRows) -> CatalogueScan:
        """The same catalogue, read once more and matched with the live products."""
        return CatalogueScan.read(self.file, self.source.file.mapping, live, batch_rows=self.batch_rows)

    def rows(self, marked: BoolArray) -> Iterator[tuple[IntArray, pl.DataFrame]]:
        """The products that are marked, [M], with both hashes, and their indices, some thousands at a time.

        Raises:
            Conflict: the file changed since it was read; not every change is seen.
        """
        batches = self._all_rows() if self.spool is None or (marked & ~self.spooled).any() else self._spooled_rows()
        for indices, batch in batches:
            chosen = marked[indices]
            texts = self.text_hashes[indices[chosen]].tolist()
            rows = batch.filter(pl.Series(chosen))
            hashes = pl.Series(ROW_HASH, self.row_hashes[indices[chosen]])
            yield indices[chosen], rows.with_columns(pl.Series(TEXT_HASH, texts, pl.Binary), hashes)

    def give_notice(self, notice: Notice) -> None:
        """Say every one of `notices`."""
        for message in self.notices:
            notice(message)

    def first_misfit(self, column: str, kind: ColumnType) -> str | None:
        """As `CatalogueFile.first_misfit`."""
        return self.source.first_misfit(column, kind)

    def _spooled_rows(self) -> Iterator[tuple[IntArray, pl.DataFrame]]:
        assert self.spool is not None, "there is one"
        require_unchanged(self.source.files, self.stamps)
        indices, done = np.flatnonzero(self.spooled), 0
        for batch in self.spool.batches():
            yield indices[done : done + batch.height], batch
            done += batch.height

    def _all_rows(self) -> Iterator[tuple[IntArray, pl.DataFrame]]:
        changed, done = Conflict(f"{self.file} changed while it was read; run it again once the file is complete"), 0
        try:
            for batch in self.source.batches(self.batch_rows):
                here = np.arange(done, done + batch.height)
                done += batch.height
                if done > len(self) or not self._has(here, batch):
                    raise changed
                yield here, batch
        except InvalidData:
            require_unchanged(self.source.files if self.stamps else (), self.stamps)
            raise
        if done != len(self):
            raise changed

    def _has(self, indices: IntArray, batch: pl.DataFrame) -> bool:
        """Whether these are the products that were read before."""
        same_ids = np.array_equal(id_hashes(batch["product_id"].to_list()), self.id_hashes[indices])
        return same_ids and np.array_equal(row_hashes(batch), self.row_hashes[indices])


class _Reading:
    """What is known of a catalogue while it is read."""

    def __init__(self, source: FoldedCatalogue, live: LiveRows | None) -> None:
        self.source, self.live = source, live
        self.schema, self.empty, self.rows = pl.Schema(), Counter[str](), 0
        self.ids, self.hashes, self.texts = list[Any](), list[Any](), list[Any]()
        self.matched, self.spooled = list[Matched](), list[Any]()
        self.spool = RowSpool() if live else None
        self.ahead: MatchedBatch | None = None  # the last one that was not cleaned yet

    def are_clean(self, products: pl.DataFrame) -> BoolArray:
        """An `AreClean`: what is live was cleaned, if it was by the same rules."""
        if self.live is None or self.live.version.software != software():
            return none_is_clean(products)
        self.ahead = MatchedBatch.of(products, self.live)
        return self.ahead.known

    def add(self, products: pl.DataFrame) -> None:
        if not self.rows:
            self.schema = products.schema
            require_storable(products, self.source.path)
        if self.live is None:
            self.ids.append(id_hashes(products["product_id"].to_list()))
            self.hashes.append(row_hashes(products))
            self.texts.append(text_hashes(products))
        else:
            self._match(products, self._batch_of(products, self.live), self.live)
        self.empty.update(_empty_values(products))
        self.rows += products.height

    def _batch_of(self, products: pl.DataFrame, live: LiveRows) -> MatchedBatch:
        if self.ahead is not None and self.ahead.product_ids.equals(products["product_id"]):
            return self.ahead.cleaned(products)
        return MatchedBatch.of(products, live)  # a revision has others in place of some

    def _match(self, products: pl.DataFrame, batch: MatchedBatch, live: LiveRows) -> None:
        texts, known = live.known_texts(batch.matched, batch.row_hashes)
        # Of all other products the text is hashed, which takes most of the time.
        if not known.all():
            texts[~known] = text_hashes(products.filter(pl.Series(~known)))
        differs = ~live.in_table(batch.matched, batch.row_hashes)
        self.ids.append(batch.id_hashes)
        self.hashes.append(batch.row_hashes)
        self.matched.append(batch.matched)
        self.texts.append(texts)
        self.spooled.append(differs)
        if self.spool is not None and not self.spool.add(products.filter(pl.Series(differs))):
            self.spool = None

    def require_ids_once(self, batch_rows: int) -> None:
        """Raise `InvalidData` for the first product with the id of an earlier one."""
        ordered = np.sort(np.concatenate(self.ids))
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if not twice.size:
            return
        seen, done = set[str](), 0
        for batch in self.source.batches(batch_rows):
            ids = batch["product_id"].to_list()
            for row in np.flatnonzero(np.isin(id_hashes(ids), twice)).tolist():
                if ids[row] in seen:
                    file, number = self.source.locate(done + row)
                    problem = f"expected a unique id, got {ids[row]!r}"
                    raise InvalidData(problem, file=file, row=number, field="product_id")
                seen.add(ids[row])
            done += batch.height

    def scan(self, batch_rows: int, stamps: Stamps) -> CatalogueScan:
        shares = {name: self.empty[name] / self.rows for name in self.schema}
        return CatalogueScan(
            self.source,
            self.schema,
            _joined(self.ids),
            _joined(self.hashes),
            _joined(self.texts),
            Matched.joined(self.matched) if self.live else None,
            self.spool,
            _joined(self.spooled) if self.live else np.empty(0, bool),
            batch_rows,
            stamps,
            shares,
            (*self.source.changes, *self._cut_short()),
        )

    def _cut_short(self) -> Iterator[str]:
        for file in cut_short(self.source.files):
            last = f"; its last product is {self.source.last['product_id']!r}" if file == self.source.files[-1] else ""
            yield f"{file.name} does not end in a newline and may have been cut short{last}"


def _joined(parts: list[Any]) -> Any:
    """Arrays as one; the list is emptied, so that only one of them is in memory twice at any time."""
    joined = np.concatenate(parts)
    parts.clear()
    return joined


def _empty_values(products: pl.DataFrame) -> dict[str, int]:
    """How many values are null, blank or an empty list, by column."""

    def is_empty(name: str, dtype: pl.DataType) -> pl.Expr:
        if dtype == pl.String:
            return pl.col(name).str.strip_chars().replace("", None).is_null()
        return pl.col(name).list.len().fill_null(0) == 0 if isinstance(dtype, pl.List) else pl.col(name).is_null()

    counts = products.select(is_empty(name, dtype).sum().alias(name) for name, dtype in products.schema.items())
    return counts.row(0, named=True)
