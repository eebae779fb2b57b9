"""Whether a feed ends within the last field of its last row, which no count of fields tells: the live version does."""

from __future__ import annotations

from typing import Any

from indexer.refresh.plan import Plan
from indexer.refresh.settled_files import cut_short
from ubm_embed.data.products import CatalogueFile
from ubm_embed.data.tables.table_files import scan_table, table_kind
from ubm_embed.errors import InvalidData


def require_last_field(plan: Plan) -> None:
    """Raise `InvalidData` if the last product differs from the live version as if its last field had been cut.

    Only a CSV file without a final newline is looked at, and of several files the last.
    """
    source, changes = plan.scan.source, plan.changes
    catalogue, row, matched = source.file, source.last_row, plan.scan.matched
    if plan.rows is None or matched is None or changes.positions[row] < 0 or not changes.row_differs[row]:
        return
    file = catalogue.files[-1]
    if table_kind(file) != "CSV" or not cut_short([file]):
        return
    now = source.last
    names = [name for name in now if name in plan.live_schema]
    live = plan.rows.row(matched, row, names)
    different = [name for name in names if now[name] != live[name]]
    if len(different) != 1 or not _may_be_last(catalogue, different[0]):
        return
    name = different[0]
    given, whole = _text(now[name]), _text(live[name])
    if whole.startswith(given):
        raise InvalidData(
            f"seems cut short: the last row ends in {given!r} where the live version has {whole!r}, and the file has "
            "no final newline; end it with a newline if it is whole",
            file=file,
            row=source.locate(row)[1],
            field=name,
        )


def _may_be_last(catalogue: CatalogueFile, name: str) -> bool:
    """Whether a column is the last of the file; a mapping may make any column of it."""
    return catalogue.mapping is not None or scan_table(catalogue.files[-1]).collect_schema().names()[-1] == name


def _text(value: Any) -> str:
    """A value as a feed has it: a whole number without a fraction, a missing value as nothing."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)
