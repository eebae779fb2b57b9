"""How the columns of a catalogue differ from those of the live version, and whether conditions still mean the same.

A condition such as `price < 50 AND in_stock` needs a number and a boolean. If one of them is gone or became text, every
query with it fails, so such a change must be meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from indexer.refresh.catalogue_scan import CatalogueScan
from indexer.refresh.cut_feed import require_last_field
from indexer.refresh.gates import Gate, GateResult
from indexer.refresh.plan import Plan
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import ADDED_COLUMNS
from indexer.versions.version import ColumnSummary, StoreVersion
from ubm_embed.data.column_types import is_price
from ubm_embed.data.mappings.column import ColumnType
from ubm_embed.data.tables.in_words import type_in_words
from ubm_embed.progress import Notice

# By how much the share of products without a value may move before it is worth a word.
_MAX_MOVE = 0.2


@dataclass(frozen=True)
class SchemaChange:
    """One difference.

    Attributes:
        message: in words.
        breaks: whether conditions on the column no longer work.
    """

    message: str
    breaks: bool = False


def compare_catalogues(
    store: EmbeddingStore, plan: Plan, max_lost: float, notice: Notice, *, may_fail: bool
) -> list[GateResult]:
    """The gates `schema` and `rows`, which need nothing encoded; none without a live version.

    Args:
        notice: is told the differences of the columns.
        may_fail: whether the gate `schema` may fail. If not, what breaks conditions is an error, and no notice as well.

    Raises:
        InvalidData: the catalogue seems to be cut short, as `require_last_field` finds.
    """
    if plan.base is None:
        return []
    require_last_field(plan)
    changes = schema_changes(store, plan.base, plan.live_schema, plan.scan)
    for change in changes:
        if may_fail or not change.breaks:
            notice(change.message)
    return [schema_gate(changes), plan.rows_gate(max_lost)]


def schema_changes(
    store: EmbeddingStore, base: StoreVersion, live: Mapping[str, pl.DataType], scan: CatalogueScan
) -> list[SchemaChange]:
    """The differences between the columns of the live version and those of a catalogue, that break conditions first.

    Args:
        live: the live version's columns and their types.
    """
    return sorted(_changes(store, base, live, scan), key=lambda change: not change.breaks)


def schema_gate(changes: list[SchemaChange]) -> GateResult:
    """The gate `schema`: no difference may break conditions."""
    breaking = [change.message for change in changes if change.breaks]
    message = "; ".join(breaking) or "no column that conditions may name is gone or has become text"
    return GateResult(Gate.SCHEMA, len(breaking), 0, True, message)


def column_summaries(scan: CatalogueScan) -> dict[str, ColumnSummary]:
    """The manifest's entry for each column."""
    return {name: ColumnSummary(type=str(dtype), empty=scan.empty[name]) for name, dtype in scan.schema.items()}


def _changes(
    store: EmbeddingStore, base: StoreVersion, live: Mapping[str, pl.DataType], scan: CatalogueScan
) -> Iterator[SchemaChange]:
    shops = {name: dtype for name, dtype in live.items() if name not in ADDED_COLUMNS}
    for name, dtype in shops.items():
        if name not in scan.schema:
            had_values = _empty_before(store, base, name) < 1
            yield SchemaChange(f"the column {name} is gone", breaks=had_values)
        elif scan.empty.get(name, 0) == 1 and _empty_before(store, base, name) < 1:
            yield SchemaChange(f"the column {name} has no values any more", breaks=True)
        elif dtype != scan.schema[name]:
            yield _of_another_type(name, dtype, scan)
        elif (change := _moved(name, base, scan)) is not None:
            yield change
    for name, dtype in scan.schema.items():
        if name not in shops:
            yield SchemaChange(f"the column {name} ({_kind(dtype)}) is new")


def _of_another_type(name: str, before: pl.DataType, scan: CatalogueScan) -> SchemaChange:
    """Text that became numbers can still be compared with text; nothing else can be compared with another type."""
    now = scan.schema[name]
    breaks = before != pl.String and _kind(before) != _kind(now)
    if _kind(before) == _kind(now):
        words = (type_in_words(before), type_in_words(now))
        was, became = words if words[0] != words[1] else (str(before), str(now))
        return SchemaChange(f"the column {name} was {was} and is {became}")
    message = f"the column {name} was {_kind(before)} and is {_kind(now)}"
    value = scan.first_misfit(name, _expected(name, before)) if breaks else None
    return SchemaChange(f"{message} ({value})" if value else message, breaks)


def _expected(name: str, before: pl.DataType) -> ColumnType:
    if before == pl.Boolean:
        return ColumnType.BOOLEAN
    return ColumnType.PRICE if is_price(name) else ColumnType.NUMBER


def _kind(dtype: pl.DataType) -> str:
    """A type in the words of somebody who writes conditions."""
    if dtype.is_numeric():
        return "a number"
    return "a boolean" if dtype == pl.Boolean else type_in_words(dtype)


def _moved(name: str, base: StoreVersion, scan: CatalogueScan) -> SchemaChange | None:
    before = base.columns.get(name)
    now = scan.empty.get(name, 0)
    if before is None or abs(now - before.empty) <= _MAX_MOVE:
        return None
    return SchemaChange(f"the column {name} is empty in {now:.0%} of the products, before in {before.empty:.0%}")


def _empty_before(store: EmbeddingStore, base: StoreVersion, name: str) -> float:
    """Share of the live version's products without a value; older software did not write it down."""
    if name in base.columns:
        return base.columns[name].empty
    values = store.table.read(base.table_version, [name])[name]
    return values.null_count() / max(values.len(), 1)
