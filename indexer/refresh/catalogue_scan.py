"""The shop's two files as a refresh reads them: the catalogue, and optionally the interactions of shoppers.

The catalogue is never held in memory as a whole; only what tells a changed product from an unchanged one is.

Letters: M products of the catalogue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import polars as pl

from indexer.refresh.settled_files import Stamps, cut_short, require_settled, require_unchanged
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH, require_storable
from ubm_embed.data.corpus import read_interactions
from ubm_embed.data.mappings.column import ColumnType
from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.data.products import CatalogueFile
from ubm_embed.data.removals import taken_back
from ubm_embed.data.tables.json_files import open_text
from ubm_embed.data.tables.table_files import collect_tables, scan_table, table_files, table_kind
from ubm_embed.errors import InvalidData
from ubm_embed.progress import Notice

_HASH_BYTES = 16
_BATCH_ROWS = 20_000
# Alignment is measured on a sample of 1,000 pairs, so a long log's pairs need not all be kept.
_PAIRS = 10_000
_BLANK = 1 << 16


@dataclass(frozen=True)
class CatalogueScan:
    """A catalogue file that was read once.

    Attributes:
        file: its path.
        schema: the shop's columns and their types.
        rows: product_id, text_hash and row_hash of each product: [M], about 60 bytes each.
        batch_rows: products read at a time.
        source: how it is read; None as `CatalogueFile` reads it.
        stamps: the state that its files were in.
        empty: share of the products without a value, by column.
        notices: what a person should know about it, in words.
        last: values of the last product, by column.
    """

    file: Path
    schema: pl.Schema
    rows: pl.DataFrame
    batch_rows: int = _BATCH_ROWS
    source: CatalogueFile | None = None
    stamps: Stamps = ()
    empty: dict[str, float] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    last: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, file: str | Path, mapping: Mapping | None = None, *, batch_rows: int = _BATCH_ROWS) -> CatalogueScan:
        """Check a catalogue file and hash its products.

        Raises:
            NotFound: no such file.
            InvalidData: as `product_batches`; or an id occurs twice; or the table cannot hold one of the columns.
            Conflict: the file is still being written.
        """
        catalogue = CatalogueFile(Path(file), mapping)
        before = require_settled(catalogue.files)
        parts: list[pl.DataFrame] = []
        schema, empty = pl.Schema(), Counter[str]()
        last: dict[str, Any] = {}
        try:
            for batch in catalogue.batches(batch_rows):
                schema = batch.schema
                if not parts:
                    require_storable(batch, file)
                parts.append(with_hashes(batch).select("product_id", TEXT_HASH, ROW_HASH))
                empty.update(_empty_values(batch))
                last = batch.row(-1, named=True)
        except InvalidData:
            require_unchanged(catalogue.files, before)  # if it changed meanwhile, that is why
            raise
        require_unchanged(catalogue.files, before)
        rows = pl.concat(parts)
        catalogue.require_ids_once(rows["product_id"])
        shares = {name: empty[name] / rows.height for name in schema}
        notices = (*catalogue.changes, *_cut_short(catalogue, rows["product_id"]))
        return cls(Path(file), schema, rows, batch_rows, catalogue, before, shares, notices, last)

    def __len__(self) -> int:
        return self.rows.height

    def batches(self) -> Iterator[pl.DataFrame]:
        """Read the products again, with both hashes, `batch_rows` at a time.

        Raises:
            Conflict: the file changed since it was read; not every change is seen.
        """
        source = self.source or CatalogueFile(self.file)
        try:
            for batch in source.batches(self.batch_rows):
                yield with_hashes(batch)
        except InvalidData:
            require_unchanged(source.files if self.stamps else (), self.stamps)
            raise

    def give_notice(self, notice: Notice) -> None:
        """Say every one of `notices`."""
        for message in self.notices:
            notice(message)

    def first_misfit(self, column: str, kind: ColumnType) -> str | None:
        """As `CatalogueFile.first_misfit`."""
        return (self.source or CatalogueFile(self.file)).first_misfit(column, kind)


def _empty_values(products: pl.DataFrame) -> dict[str, int]:
    """How many values are null, blank or an empty list, by column."""

    def is_empty(name: str, dtype: pl.DataType) -> pl.Expr:
        if dtype == pl.String:
            return pl.col(name).str.strip_chars().replace("", None).is_null()
        return pl.col(name).list.len().fill_null(0) == 0 if isinstance(dtype, pl.List) else pl.col(name).is_null()

    counts = products.select(is_empty(name, dtype).sum().alias(name) for name, dtype in products.schema.items())
    return counts.row(0, named=True)


def _cut_short(catalogue: CatalogueFile, product_ids: pl.Series) -> Iterator[str]:
    for file in cut_short(catalogue.files):
        last = f"; its last product is {product_ids[-1]!r}" if file == catalogue.files[-1] else ""
        yield f"{file.name} does not end in a newline and may have been cut short{last}"


def with_hashes(products: pl.DataFrame) -> pl.DataFrame:
    """Products with `text_hash`, a hash of what the model reads, and `row_hash`, a hash of all their columns."""
    texts = products.select(_text()).to_series()
    digests = [blake2b(text.encode("utf-8"), digest_size=_HASH_BYTES).digest() for text in texts]
    # Another version of polars may hash rows differently: each is then written once more, but nothing is encoded.
    names = sorted(name for name in products.columns if name != "product_id")  # independent of the file's column order
    rows = products.select(names).hash_rows(seed=0)
    return products.with_columns(pl.Series(TEXT_HASH, digests, pl.Binary), rows.alias(ROW_HASH))


def _text() -> pl.Expr:
    """Title, category and attributes as one string; each part follows its length, so no two products share one."""
    pair = pl.element().struct
    attribute = pl.concat_str(_with_length(pair.field("name")), _with_length(pair.field("value")))
    attributes = pl.col("attributes").list.eval(attribute).list.join("").fill_null("")
    return pl.concat_str(_with_length(pl.col("title")), _with_length(pl.col("category")), attributes)


def _with_length(part: pl.Expr) -> pl.Expr:
    part = part.fill_null("")
    return pl.concat_str(part.str.len_bytes().cast(pl.String), pl.lit(":"), part)


@dataclass(frozen=True)
class InteractionCounts:
    """Counts over a file of interactions.

    Attributes:
        popularity: product_id and popularity, its number of interactions; what was taken back out of the cart does not
            count, and pairs with nothing.
        pairs: a sample of ids of products that follow one another in a session, as two columns.
    """

    popularity: pl.DataFrame
    pairs: pl.DataFrame

    @classmethod
    def empty(cls) -> InteractionCounts:
        """The counts of no interactions."""
        pairs = pl.DataFrame(schema={"product_id": pl.String, "following": pl.String})
        return cls(pl.DataFrame(schema={"product_id": pl.String, POPULARITY: pl.UInt32}), pairs)

    @classmethod
    def read(cls, interactions: str | Path, *, min_pairs: int = _PAIRS) -> InteractionCounts:
        """Count the interactions of a file.

        Args:
            min_pairs: pairs are taken evenly from the whole file, so that at least this many stay if there are more.

        Raises:
            NotFound, InvalidData: as `read_interactions`.
        """
        read = read_interactions(interactions)
        rows = read.filter(~taken_back(read) & pl.col("product_id").is_not_null())
        following = pl.col("product_id").shift(-1).over("session_id")
        pairs = rows.select("product_id", following=following).filter(pl.col("product_id") != pl.col("following"))
        popularity = rows.group_by("product_id").len(POPULARITY)
        return cls(popularity, pairs.gather_every(max(1, pairs.height // min_pairs)))


def read_counts(interactions: str | Path | None, notice: Notice) -> InteractionCounts | None:
    """The counts of a file of interactions; None without one, or if it has none, which is said.

    Raises:
        NotFound, InvalidData: as `read_interactions`.
    """
    if interactions is None:
        return None
    if _has_no_rows(Path(interactions)):
        notice(f"{interactions} has no interactions; popularity is as without --interactions")
        return None
    return InteractionCounts.read(interactions)


def _has_no_rows(path: Path) -> bool:
    files = table_files(path)
    if all(map(_is_blank, files)):
        return True
    (first,) = collect_tables([scan_table(path).head(1)], files)
    return first.is_empty()


def _is_blank(file: Path) -> bool:
    """Whether a file of text has nothing, or an empty JSON array."""
    if table_kind(file) == "Parquet":
        return False
    if file.stat().st_size == 0:
        return True
    with open_text(file) as stream:
        start = stream.read(_BLANK)
    return len(start) < _BLANK and start.strip().removeprefix("\ufeff").strip() in ("", "[]")
