"""`ubm-embed refresh`: a store brought up to date with a catalogue, every night."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import (
    Format,
    choose_format,
    progress,
    say,
    warn,
    write_document,
    write_table,
)
from cli.process import set_up_process
from cli.store_options import (
    Allow,
    CatalogueMap,
    Config,
    Device,
    Engine,
    EngineName,
    Index,
    LatencyMs,
    MemoryGb,
    NoCounts,
    Recall,
    Runtime,
    Store,
    counted,
    encoding_device,
    encoding_runtime,
    execution_engine,
    index_errors,
    index_request,
    input_files,
    read_mapping,
    read_settings,
)

if TYPE_CHECKING:
    from indexer.refresh.report import RefreshReport


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"expected a time such as 2026-01-31T04:00:00+00:00, got {text!r}") from None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("refresh")(refresh)


def refresh(
    products: Annotated[
        Path,
        typer.Option("--products", metavar="FILE", help="The catalogue: Parquet, CSV, JSON, XML or Excel; - is stdin."),
    ],
    store: Store,
    mapping: CatalogueMap = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="DIR", help="A new model, which encodes everything again.")
    ] = None,
    interactions: Annotated[
        Path | None,
        typer.Option(
            "--interactions",
            metavar="FILE",
            help="Interactions to count popularity from, and what shoppers did next; without them both stay as they "
            "are.",
        ),
    ] = None,
    no_counts: NoCounts = False,
    feed_time: Annotated[
        datetime | None,
        typer.Option(
            "--feed-time",
            metavar="TIME",
            parser=_time,
            help="When the catalogue was exported, as 2026-01-31T04:00:00+00:00; UTC without an offset. What was "
            "upserted or deleted later is kept. Default: when the newest of its files was written; of stdin, now.",
        ),
    ] = None,
    index: Index = None,
    recall: Recall = None,
    latency_ms: LatencyMs = None,
    memory_gb: MemoryGb = None,
    config: Config = None,
    allow: Allow = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what would happen.")] = False,
    engine: Engine = EngineName.LOCAL,
    device: Device = "auto",
    runtime: Runtime = None,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: a table on a terminal, else JSON.")
    ] = None,
) -> None:
    """Bring a store up to date with a catalogue: encode products that are new or whose text changed, and no others.

    The store answers as before until the new version is complete and has passed its gates. A gate that fails exits
    with 6 and publishes nothing. A refresh that was interrupted resumes when it is started again.
    """
    settings = read_settings(config, index_request(index, recall, latency_ms, memory_gb))
    device, runtime_name = encoding_device(engine, device), encoding_runtime(engine, runtime)
    from indexer.refresh.refresh import refresh as refresh_store

    set_up_process()
    with (
        index_errors(config, settings, index),
        input_files(products, interactions) as (products, interactions),
        progress() as report_progress,
    ):
        report = refresh_store(
            products=products,
            store=store,
            model=model,
            interactions=interactions,
            feed_time=feed_time,
            settings=settings,
            allow=allow or (),
            dry_run=dry_run,
            engine=execution_engine(engine, settings),
            device=device,
            runtime=runtime_name,
            mapping=read_mapping(mapping),
            counts=not no_counts,
            progress=report_progress,
            notice=warn,
        )
    say(_headline(report, store, dry_run=dry_run))
    if report.prune_error:
        warn(f"old versions could not be removed: {report.prune_error}; ubm-embed versions prune --store {store}")
    for name, gate in report.gates.items() if dry_run else ():
        if not gate["passed"] and name not in (allow or ()):
            warn(f"gate '{name}' would fail: {gate['value']:g}, with a limit of {gate['limit']:g}")
    _write(report, choose_format(output_format))


def _headline(report: RefreshReport, store: str, *, dry_run: bool) -> str:
    change = report.index
    index = f", with the index {_describe(change['to'])} in place of {_describe(change['from'])}" if change else ""
    if dry_run:
        reason = f" ({report.reason}, so every row is written)" if report.reason and report.written else ""
        would = f"would encode {report.encoded:,} products and write {report.written:,}{reason}{index}"
        return f"{store}: {would}; nothing was changed{_revisions(report)}"
    if report.published is None:
        return f"{store}: nothing changed; version {report.base} stays live"
    seconds = sum(report.seconds.values())
    shared = f", sharing the files of {report.shares_files_of}" if report.shares_files_of else ""
    resumed = f" ({report.resumed:,} of them by an interrupted refresh)" if report.resumed else ""
    return (
        f"{store}: version {report.published.version} is live after {report.base}{index}{shared}; "
        f"{report.encoded:,} products encoded{resumed}, {report.written:,} written, "
        f"{report.changes.removed:,} removed in {seconds:.1f} s{counted(report.published)}{_revisions(report)}"
    )


def _revisions(report: RefreshReport) -> str:
    """What became of products that were upserted or deleted; empty if none were."""
    counts = report.revisions
    if counts is None:
        return ""
    parts = []
    if counts.folded:
        parts.append(f"{counts.kept:,} newer than the catalogue, {counts.replaced:,} as in the catalogue")
    if counts.carried:
        parts.append(f"{counts.carried:,} while this ran")
    return f"; products upserted or deleted: {', '.join(parts)}"


def _describe(index: Mapping[str, Any]) -> str:
    """An index in a few words: `flat (auto)`, `hnsw (recall 0.9)`."""
    name, *details = dict.fromkeys(
        str(value) if key in ("kind", "index") else f"{key} {value:g}" for key, value in index.items()
    )
    return f"{name} ({', '.join(details)})" if details else name


def _write(report: RefreshReport, output_format: Format) -> None:
    document = report.to_dict()
    if output_format is not Format.TABLE:
        write_document(document, output_format)
        return
    counts = ("new", "changed", "updated", "unchanged", "removed", "written", "encoded")
    write_table(["products", "number"], [(name, f"{document[name]:,}") for name in counts])
    if document["gates"]:
        failed = "would fail" if report.published is None else "allowed"
        rows = [
            (name, gate["value"], gate["limit"], "passed" if gate["passed"] else failed)
            for name, gate in document["gates"].items()
        ]
        write_table(["gate", "measured", "limit", ""], rows)
