"""The products of a corpus: a catalogue's rows in one shape, whatever file they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.column_types import ColumnTypes, changed_price, column_types, first_lost, first_misfit
from ubm_embed.data.mappings.column import ColumnType
from ubm_embed.data.mappings.mapped_catalogue import (
    changed_prices,
    dropped_rows,
    lost_values,
    mapped_catalogue,
    only_latest,
)
from ubm_embed.data.mappings.mapping import LATEST, Mapping
from ubm_embed.data.product_rows import (
    PRODUCT_SCHEMA,
    AreClean,
    CatalogueChanges,
    has_text,
    iter_products,
    none_is_clean,
    product_rows,
    with_clean_texts,
    with_rows,
)
from ubm_embed.data.tables.in_words import value_in_words
from ubm_embed.data.tables.table_files import collect_tables, find_files, scan_table, table_files, table_kind
from ubm_embed.errors import InvalidData
from ubm_embed.wording import counted

__all__ = [
    "PRODUCT_SCHEMA",
    "CatalogueChanges",
    "CatalogueFile",
    "has_text",
    "iter_products",
    "product_batches",
    "read_catalogue",
    "read_products",
]

# No file has columns with these names.
_ROW, _FILE = "\0row", "\0file"


def read_products(file: str | Path, mapping: Mapping | None = None) -> pl.DataFrame:
    """Products of any file that `scan_table` reads, with `PRODUCT_SCHEMA`'s columns first and in its types.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, a missing column, no rows, a missing or repeated id, a product without text.
    """
    catalogue = CatalogueFile(Path(file), mapping)
    frame = catalogue.read()
    catalogue.require_text(frame)
    return frame


def read_catalogue(file: str | Path, mapping: Mapping | None = None) -> pl.DataFrame:
    """As `read_products`, but a product may lack text.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, a missing column, no rows, a missing or repeated id.
    """
    return CatalogueFile(Path(file), mapping).read()


def product_batches(file: str | Path, rows: int = 20_000, mapping: Mapping | None = None) -> Iterator[pl.DataFrame]:
    """As `read_products`, about `rows` at a time, in memory that does not grow with the file.

    Repeated ids are not detected, which would take all of them. Columns have the same types in every batch.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, a missing column, no rows, a missing id, a product without text.
    """
    return CatalogueFile(Path(file), mapping).batches(rows)


@dataclass
class CatalogueFile:
    """A shop's file of products, or a folder of such files. Each reading of it is the same.

    Attributes:
        path: the file or folder.
        mapping: which of its columns are what; None if they have our names.
        chosen: the files to read, if not all of them.
        changes: what the last reading changed.
    """

    path: Path
    mapping: Mapping | None = None
    chosen: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        self.changes = CatalogueChanges()

    def read(self) -> pl.DataFrame:
        """All products, whose ids are found to be unique; one may lack text.

        Raises:
            NotFound, InvalidData: as `read_catalogue`.
        """
        self._begin()
        (frame,) = collect_tables([self._frame], self.files)
        products = with_clean_texts(self._products(frame, 0), self.changes)
        self.require_ids_once(products["product_id"])
        return products

    def first_rows(self, rows: int) -> pl.DataFrame:
        """The first products with the columns that the file has, without those that it lacks; one may lack text.

        Columns beside those of `PRODUCT_SCHEMA` are as the file has them, those of a text file as text. Ids are found
        to be unique.

        Raises:
            NotFound, InvalidData: as `read_catalogue`.
        """
        self._begin_reading()
        (frame,) = collect_tables([self._frame.head(rows)], self.files)
        names = [name for name in frame.columns if self._gives(name)]
        if "product_id" in names and "title" not in names:
            frame = frame.with_columns(title=pl.lit(None, pl.String))
        products = with_clean_texts(self._rows(frame, 0), self.changes).select(names)
        self.require_ids_once(products["product_id"])
        return products

    def batches(self, rows: int = 20_000, are_clean: AreClean = none_is_clean) -> Iterator[pl.DataFrame]:
        """All products, about `rows` at a time; each has a text. Those that `are_clean` knows are not cleaned.

        Raises:
            NotFound, InvalidData: as `product_batches`.
        """
        self._begin()
        done = 0
        for batch in self._raw_batches(rows):
            if batch.is_empty():
                continue
            yield self._clean(self._products(batch, done), are_clean, done)
            done += batch.height
        if not done:
            raise InvalidData("no rows; expected at least one", file=self.path)

    @cached_property
    def files(self) -> list[Path]:
        """The files that are read, in order.

        Raises:
            NotFound: no such file.
            InvalidData: a folder without files of products, or a file that the mapping does not name.
        """
        files = list(self.chosen) or table_files(self.path)
        if self.mapping is None:
            return files
        mapped = [file for file in files if self.mapping.catalogue_of(file)]
        if not mapped:
            patterns = ", ".join(pattern for part in self.mapping.catalogue for pattern in part.files)
            raise InvalidData(
                f"the mapping reads no products of it; expected {patterns or '[catalogue]'}", file=self.path
            )
        return mapped

    def first_misfit(self, column: str, kind: ColumnType) -> str | None:
        """The first value of a column of text that is not of a type, in words; None if there is none."""
        if column not in self._texts:
            return None
        return self._in_words(first_misfit(self._frame, column, kind, self.files))

    def require_text(self, products: pl.DataFrame, positions: IntArray | None = None) -> None:
        """Raise `InvalidData` for the first product that has no text; their positions among all are given, if some."""
        row = products.select((~has_text()).arg_true().first()).item()
        if row is not None:
            file, number = self.locate(row if positions is None else int(positions[row]))
            text = "a title, a category or an attribute value: a product without text has no vector"
            raise InvalidData(
                f"expected {text}, got {value_in_words(products['title'][row])}", file=file, row=number, field="title"
            )

    def require_ids_once(self, product_ids: pl.Series) -> None:
        """Raise `InvalidData` for the first of all products with the id of an earlier one."""
        if product_ids.n_unique() < product_ids.len():
            row = (~product_ids.is_first_distinct()).arg_max()
            assert row is not None
            file, number = self.locate(row)
            problem = f"expected a unique id, got {product_ids[row]!r}"
            raise InvalidData(problem, file=file, row=number, field="product_id")

    def locate(self, position: int) -> tuple[Path, int]:
        """The file of a product and its 1-based row there, by the position among all products from 0."""
        marked = self._scan(_ROW).select(_ROW, _FILE).slice(position, 1)
        (frame,) = collect_tables([marked], self.files)
        row, file = frame.row(0)
        return self.files[file], row

    def _in_words(self, value: tuple[int, str] | None) -> str | None:
        if value is None:
            return None
        file, row = self.locate(value[0])
        return f"{file.name}, row {row}: {value[1]!r}"

    def _gives(self, column: str) -> bool:
        """Whether a column is one of the file's, and not one that a mapping adds without a value."""
        if self.mapping is None or column not in PRODUCT_SCHEMA:
            return True
        parts = filter(None, map(self.mapping.catalogue_of, self.files))
        return any(name.partition(".")[0] == column for part in parts for name in part.our_columns())

    def _begin_reading(self) -> None:
        self.changes = CatalogueChanges()
        if not self.chosen:
            self.changes.left_out.update(find_files([self.path], mixed=True).left_out)
        if self.mapping is not None:
            for file in self.files:
                part = self.mapping.catalogue_of(file)
                assert part is not None, "only such files are read"
                self.changes.lost.update(lost_values(file, part))
                self.changes.dropped.update(dropped_rows(file, part))
                for name, changed in changed_prices(file, part).items():
                    self.changes.add_prices(name, *changed)

    def _begin(self) -> None:
        self._begin_reading()
        for name, count in self._types.lost.items():
            kind = self._types.types[name]
            first = self._in_words(first_lost(self._frame, name, kind, self.files))
            self.changes.unread[name] = f"lost {counted(count, 'value')} of {name}, not of type {kind}: {first}"
        for name, kind in self._types.nearly.items():
            self.changes.nearly[name] = f"{name} is text and no {kind}: {self.first_misfit(name, kind)}"

    def _products(self, frame: pl.DataFrame, before: int) -> pl.DataFrame:
        for name in self._types.prices:
            if changed := changed_price(frame[name]):
                self.changes.add_prices(name, *changed)
        return self._rows(frame, before).with_columns(self._types.casts)

    def _clean(self, products: pl.DataFrame, are_clean: AreClean, before: int) -> pl.DataFrame:
        """Products with clean texts; none lacks one."""
        unclean = np.flatnonzero(~are_clean(products))
        if not unclean.size:
            return products
        given = products[unclean]
        cleaned = with_clean_texts(given, self.changes)
        self.require_text(cleaned, before + unclean)
        return products if cleaned.equals(given) else with_rows(products, unclean, cleaned)

    def _rows(self, frame: pl.DataFrame, before: int) -> pl.DataFrame:
        try:
            return product_rows(frame, self.path, self.changes)
        except InvalidData as error:
            if error.row is None:
                raise
            file, row = self.locate(before + error.row - 1)
            raise InvalidData(error.problem, file=file, row=row, field=error.field) from None

    def _raw_batches(self, rows: int) -> Iterator[pl.DataFrame]:
        try:
            yield from self._frame.collect_batches(chunk_size=rows, maintain_order=True)
        except (pl.exceptions.PolarsError, OSError):
            collect_tables([self._frame.select(pl.all().count())], self.files)  # which explains what is wrong
            raise

    @cached_property
    def _frame(self) -> pl.LazyFrame:
        return self._scan().drop(_FILE)

    def _scan(self, row: str | None = None) -> pl.LazyFrame:
        frames = []
        for number, file in enumerate(self.files):
            part = self.mapping and self.mapping.catalogue_of(file)
            frame = mapped_catalogue(file, part, row=row) if part else scan_table(file, row=row)
            frames.append(frame.with_columns(pl.lit(number).alias(_FILE)))
        frame = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")
        return only_latest(frame) if LATEST in frame.collect_schema() else frame

    @cached_property
    def _texts(self) -> list[str]:
        """The further columns whose type is not known before their values are: all of a text file, unless declared."""
        if table_kind(self.files[0]) == "Parquet":
            return []
        parts = self.mapping.catalogue if self.mapping else ()
        declared = {name for part in parts for name, column in part.columns.items() if column.type}
        schema = self._frame.collect_schema()
        return [
            name for name, dtype in schema.items() if dtype == pl.String and name not in {*PRODUCT_SCHEMA, *declared}
        ]

    @cached_property
    def _types(self) -> ColumnTypes:
        return column_types(self._frame, self._texts, self.files)
