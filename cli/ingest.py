"""`ubm-embed ingest`: from an event log to a corpus folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import progress, say
from ubm_embed.data.logs.event_kind import EventKind

if TYPE_CHECKING:
    from ubm_embed.data.logs.ingestion import IngestReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ingest")(ingest)


def ingest(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="Logs: files, folders of files, or corpus folders.")
    ],
    kind: Annotated[
        EventKind,
        typer.Option(
            "--from", help="native: the columns of a corpus; ga4: BigQuery export; segment: e-commerce events."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The corpus folder to write.")],
    catalogue: Annotated[
        Path | None,
        typer.Option("--catalogue", metavar="FILE", help="Products; their values win over those in events."),
    ] = None,
    session_gap: Annotated[
        float,
        typer.Option("--session-gap", metavar="MINUTES", min=0.01, help="The pause that ends a session without an id."),
    ] = 30,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Also write the counts as JSON.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is at DIR.")] = False,
) -> None:
    """Turn an event log into a corpus: products and sessions to learn from.

    Reads Parquet, CSV, JSON and JSON Lines; the text formats may be gzipped. Dropped events are counted by reason.
    """
    from ubm_embed.data.logs.ingestion import ingest as write_corpus

    with progress() as report_progress:
        counts = write_corpus(
            sources,
            kind=kind,
            out=out,
            catalogue=catalogue,
            session_gap_minutes=session_gap,
            overwrite=overwrite,
            progress=report_progress,
        )
    if report is not None:
        _write_report(counts, report)
    say(_summary(counts, out))


def _write_report(counts: IngestReport, file: Path) -> None:
    from ubm_embed.outputs import output_file

    with output_file(file) as aside:
        aside.write_text(json.dumps(counts.to_dict(), ensure_ascii=False, indent=2) + "\n", "utf-8")


def _summary(counts: IngestReport, out: Path) -> str:
    actions = ", ".join(f"{count:,} {action}" for action, count in counts.actions.items())
    lines = [
        f"{out}: {counts.sessions:,} sessions ({counts.single_interaction_sessions:,} of one interaction), "
        f"{counts.products:,} products",
        f"kept {counts.interactions:,} of {counts.events:,} events: {actions}",
        *(f"dropped {count:,}: {reason}" for reason, count in counts.dropped.items()),
    ]
    if counts.products_without_text:
        lines.append(f"left out {counts.products_without_text:,} products without text")
    return "\n".join(lines)
