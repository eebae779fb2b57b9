"""What `upsert` and `delete` have in common: limits, and how their report is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import Format, say, warn, write_document, write_table
from ubm_embed.wording import counted

if TYPE_CHECKING:
    from indexer.updates.limits import UpdateLimits
    from indexer.updates.report import UpdateReport

UpdateConfig = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML: limits of a revision, in its section \\[updates]."),
]
_COUNTS = ("new", "changed", "updated", "unchanged", "deleted", "encoded")
_MAX_LISTED = 20


def read_limits(config: Path | None) -> UpdateLimits:
    """The limits of a file, or the defaults."""
    from indexer.updates.limits import UpdateLimits

    return UpdateLimits() if config is None else UpdateLimits.read(config)


def write_report(report: UpdateReport, store: str, output_format: Format) -> None:
    """Say what an update did, and write its report to stdout."""
    say(f"{store}: {_headline(report)}")
    if report.unknown:
        listed = ", ".join(map(repr, report.unknown[:_MAX_LISTED]))
        more = ", ..." if len(report.unknown) > _MAX_LISTED else ""
        warn(f"{counted(len(report.unknown), 'id')} not in the store: {listed}{more}")
    document = report.to_dict()
    if output_format is Format.TABLE:
        write_table(["products", "number"], [(name, f"{document[name]:,}") for name in _COUNTS])
    else:
        write_document(document, output_format)


def _headline(report: UpdateReport) -> str:
    label = f"{report.version}.{report.revision}" if report.revision else str(report.version)
    if not report.published:
        return f"nothing changed; version {label} stays live"
    document: dict[str, Any] = report.to_dict()
    counts = ", ".join(f"{document[name]:,} {name}" for name in _COUNTS if document[name])
    return f"version {label} is live; {counts} in {report.seconds:.2f} s"
