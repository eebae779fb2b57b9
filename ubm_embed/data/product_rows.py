"""Rows of products in one shape: ids by one rule, texts without entities, categories as one text.

What is changed on the way is counted, so that a person can be told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from ubm_embed.data.arrays import BoolArray, IntArray
from ubm_embed.data.ids import clean_ids, is_no_id, is_odd_id
from ubm_embed.data.mappings.json_text import joined_lists
from ubm_embed.data.session import Product
from ubm_embed.data.tables.attributes import ATTRIBUTES
from ubm_embed.data.tables.columns import as_text, conform
from ubm_embed.data.tables.in_words import value_in_words
from ubm_embed.data.texts import clean_texts
from ubm_embed.errors import InvalidData
from ubm_embed.wording import counted

PRODUCT_SCHEMA: dict[str, pl.DataType] = {
    "product_id": pl.String(),
    "title": pl.String(),
    "category": pl.String(),
    "attributes": ATTRIBUTES,
}
# Which of some products, in the types of their columns, have texts that were cleaned before: [K].
AreClean = Callable[[pl.DataFrame], BoolArray]

_LEVELS = " > "
_CLEANED = {
    "title": ("title", "titles"),
    "category": ("category", "categories"),
    "attributes": ("attribute value", "attribute values"),
}


@dataclass
class CatalogueChanges:
    """What reading a catalogue changed or left out, counted while it is read.

    Attributes:
        left_out: why files are not read, by their paths.
        ids: ids that were written differently.
        first_id: the first of them, before and after.
        prices: prices that are not written as numbers, by column.
        first_prices: the first of each, as it is written and as it is read.
        texts: texts with entities, control characters or blanks around them, by column.
        lost: values that became empty because they do not fit what the mapping says, by column.
        unread: columns with values that do not have the type of the others, in words, each with the first of them.
        missing: titles and categories that stand for none, by column.
        first_missing: the first of each.
        dropped: rows that the mapping leaves out, by reason.
        nearly: columns of text in which most values are of another type, each with a value that is not.
    """

    left_out: dict[str, str] = field(default_factory=dict)
    ids: int = 0
    first_id: tuple[str, str] | None = None
    prices: Counter[str] = field(default_factory=Counter)
    first_prices: dict[str, tuple[str, float]] = field(default_factory=dict)
    texts: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    unread: dict[str, str] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)
    first_missing: dict[str, str] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    nearly: dict[str, str] = field(default_factory=dict)

    def add_prices(self, name: str, count: int, first: tuple[str, float]) -> None:
        """Count prices of a column, of which `first` is the first."""
        self.prices[name] += count
        self.first_prices.setdefault(name, first)

    def __iter__(self) -> Iterator[str]:
        """In words, one line each."""
        for file, why in self.left_out.items():
            yield f"left out {Path(file).name} ({why})"
        if self.first_id:
            yield f"changed {counted(self.ids, 'id')}: {self.first_id[0]!r} is {self.first_id[1]!r}"
        for name, count in self.prices.items():
            written, read = self.first_prices[name]
            yield f"changed {counted(count, 'value')} of {name}: {written!r} is {read:g}"
        for name, count in self.texts.items():
            yield f"changed {counted(count, *_CLEANED[name])}: HTML entities, control characters, blanks at the ends"
        for name, count in self.lost.items():
            yield f"lost {counted(count, 'value')} of {name}: not of the mapping's type"
        yield from self.unread.values()
        for name, count in self.missing.items():
            yield f"lost {counted(count, *_CLEANED[name])}: {self.first_missing[name]!r} stands for no value"
        for reason, count in self.dropped.items():
            yield f"left out {counted(count, 'row')}: {reason}"
        yield from self.nearly.values()


def product_rows(frame: pl.DataFrame, file: str | Path, changes: CatalogueChanges) -> pl.DataFrame:
    """A file's rows with `PRODUCT_SCHEMA`'s columns first and in its types, their texts as the file has them.

    Raises:
        InvalidData: no rows, a missing column, one of a type that does not fit, or a row without an id; its number is
            that of the row in `frame`, from 1.
    """
    if "category" in frame.columns:
        frame = frame.with_columns(_as_category(frame["category"]))
    products = conform(frame, PRODUCT_SCHEMA, optional={"category", "attributes"}, file=file)
    return products.with_columns(_cleaned_ids(products["product_id"], file, changes))


def none_is_clean(products: pl.DataFrame) -> BoolArray:
    """None of the products: an `AreClean` that knows nothing."""
    return np.zeros(products.height, bool)


def with_clean_texts(products: pl.DataFrame, changes: CatalogueChanges) -> pl.DataFrame:
    """Rows of products with their texts as a shop's pages show them."""
    return products.with_columns(
        *(_cleaned_texts(products[name], changes) for name in ("title", "category")),
        _cleaned_attributes(products["attributes"], changes),
    )


def with_rows(products: pl.DataFrame, at: IntArray, rows: pl.DataFrame) -> pl.DataFrame:
    """The products with other rows at these positions."""
    order = np.arange(products.height)
    order[at] = products.height + np.arange(at.size)
    return pl.concat([products, rows])[order]


def _as_category(values: pl.Series) -> pl.Series:
    """A list of levels as one text, `Shoes > Men`."""
    if values.dtype == pl.String:
        return joined_lists(values, _LEVELS)
    if isinstance(values.dtype, pl.List) and not values.dtype.inner.is_nested():
        text = as_text(pl.element(), pl.List(values.dtype.inner).inner)  # type: ignore[arg-type]
        return values.list.eval(text).list.join(_LEVELS, ignore_nulls=True)
    return values


def _cleaned_ids(ids: pl.Series, file: str | Path, changes: CatalogueChanges) -> pl.Series:
    frame = ids.to_frame()
    if not ids.has_nulls() and not frame.select(is_odd_id(pl.col(ids.name)).any()).item():
        return ids
    cleaned = frame.select(clean_ids(pl.col(ids.name))).to_series()
    if cleaned.has_nulls():
        row = cleaned.is_null().arg_max()
        assert row is not None
        raise InvalidData(f"expected an id, got {value_in_words(ids[row])}", file=file, row=row + 1, field=ids.name)
    changed = (ids != cleaned).arg_true()
    if changed.len():
        changes.ids += changed.len()
        changes.first_id = changes.first_id or (ids[changed[0]], cleaned[changed[0]])
    return cleaned


def _cleaned_texts(texts: pl.Series, changes: CatalogueChanges) -> pl.Series:
    cleaned = clean_texts(texts)
    _count(texts, cleaned, texts.name, changes)
    name = texts.name
    absent = cleaned.filter(cleaned.to_frame().select(is_no_id(pl.col(name))).to_series())
    if absent.is_empty():
        return cleaned
    changes.missing[name] += absent.len()
    changes.first_missing.setdefault(name, absent[0])
    return cleaned.to_frame().select(pl.when(~is_no_id(pl.col(name))).then(pl.col(name)).alias(name)).to_series()


def _cleaned_attributes(attributes: pl.Series, changes: CatalogueChanges) -> pl.Series:
    pairs = attributes.list.explode(keep_nulls=False, empty_as_null=False)
    names, values = pairs.struct.field("name"), pairs.struct.field("value")
    clean = pl.DataFrame({"name": clean_texts(names), "value": clean_texts(values)})
    odd = _count(names, clean["name"], None, changes) + _count(values, clean["value"], attributes.name, changes)
    if not odd:
        return attributes
    rows = attributes.list.len().fill_null(0)
    numbers = pl.int_range(attributes.len(), eager=True).repeat_by(rows)
    numbers = numbers.explode(keep_nulls=False, empty_as_null=False)
    lists = (
        clean.select(pl.struct("name", "value").alias("pair"))
        .with_columns(numbers.alias("row"))
        .filter(pl.col("pair").struct.field("value").is_not_null())
        .group_by("row", maintain_order=True)
        .agg("pair")
    )
    every = pl.DataFrame({"row": pl.int_range(attributes.len(), eager=True), "given": attributes})
    joined = every.join(lists, on="row", how="left", maintain_order="left")
    empty = pl.when(pl.col("given").is_not_null()).then(pl.lit([], ATTRIBUTES))
    return joined.select(pl.coalesce("pair", empty).cast(ATTRIBUTES).alias(attributes.name)).to_series()


def _count(before: pl.Series, after: pl.Series, name: str | None, changes: CatalogueChanges) -> int:
    """How many texts differ; an empty one and none are the same. They are counted as those of `name`."""
    count = int((before.fill_null("") != after.fill_null("")).sum())
    if count and name:
        changes.texts[name] += count
    return count


def has_text() -> pl.Expr:
    """Whether a row of products has any text for the model to read."""

    def filled(column: str) -> pl.Expr:
        return pl.col(column).fill_null("").str.strip_chars() != ""

    values = pl.col("attributes").list.eval(pl.element().struct.field("value").fill_null("").str.strip_chars() != "")
    return filled("title") | filled("category") | values.list.any().fill_null(False)


def iter_products(frame: pl.DataFrame) -> Iterator[Product]:
    """The rows of a products frame as `Product`s."""
    for row in frame.select(*PRODUCT_SCHEMA).iter_rows():
        product_id, title, category, attributes = row
        pairs = tuple((pair["name"] or "", pair["value"] or "") for pair in attributes or ())
        yield Product(title or "", category, pairs, product_id)
