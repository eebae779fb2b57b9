"""`ubm-embed refresh`: a store brought up to date with a catalogue, every night."""

from __future__ import annotations

from collections.abc import Mapping
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
from cli.store_options import (
    Allow,
    Config,
    Device,
    EngineName,
    EngineOption,
    Index,
    LatencyMs,
    MemoryGb,
    Recall,
    Runtime,
    Store,
    device_for,
    engine_of,
    index_request_of,
    runtime_for,
    settings_of,
)
from ubm_embed.inference.runtimes.runtime_name import RuntimeName

if TYPE_CHECKING:
    from indexer.refresh.refresh import Refreshed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("refresh")(refresh)


def refresh(
    products: Annotated[
        Path, typer.Option("--products", metavar="FILE", help="The catalogue: Parquet, CSV, JSON or JSON Lines.")
    ],
    store: Store,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="DIR", help="A new model; everything is then encoded anew.")
    ] = None,
    interactions: Annotated[
        Path | None,
        typer.Option("--interactions", metavar="FILE", help="Interactions to count popularity from; else it stays."),
    ] = None,
    index: Index = None,
    recall: Recall = None,
    latency_ms: LatencyMs = None,
    memory_gb: MemoryGb = None,
    config: Config = None,
    allow: Allow = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    engine: EngineOption = EngineName.LOCAL,
    device: Device = "auto",
    runtime: Runtime = RuntimeName.TORCH,
    form: Annotated[Format | None, typer.Option("--format", help="Default: a table on a terminal, else JSON.")] = None,
) -> None:
    """Bring a store up to date with a catalogue: encode what is new or has another text, and nothing else.

    The store answers as before until the new version is whole and checked. A check that fails exits with 6 and changes
    nothing. A refresh that was stopped goes on where it was when it is started again.
    """
    settings = settings_of(config, index_request_of(index, recall, latency_ms, memory_gb))
    chosen, reader = device_for(engine, device), runtime_for(engine, runtime)
    from indexer.refresh.refresh import refresh as bring_up_to_date

    with progress() as shown:
        done = bring_up_to_date(
            products=products,
            store=store,
            model=model,
            interactions=interactions,
            settings=settings,
            allow=allow or (),
            dry_run=dry_run,
            engine=engine_of(engine, settings),
            device=chosen,
            runtime=reader,
            progress=shown,
        )
    say(_headline(done, store, dry_run=dry_run))
    if done.prune_error:
        warn(f"old versions could not be removed: {done.prune_error}; ubm-embed versions prune --store {store}")
    for name, gate in done.gates.items() if dry_run else ():
        if not gate["passed"] and name not in (allow or ()):
            warn(f"gate '{name}' would fail: {gate['value']:g}, with a limit of {gate['limit']:g}")
    _write(done, choose_format(form))


def _headline(done: Refreshed, store: str, *, dry_run: bool) -> str:
    change = done.index
    index = f", with the index {_index(change['to'])} in place of {_index(change['from'])}" if change else ""
    if dry_run:
        anew = f" ({done.reason}, so all is written anew)" if done.reason and done.written else ""
        would = f"would encode {done.encoded:,} products and write {done.written:,}{anew}{index}"
        return f"{store}: {would}; nothing was changed"
    if done.published is None:
        return f"{store}: nothing changed; version {done.base} stays live"
    seconds = sum(done.seconds.values())
    resumed = f", {done.resumed:,} of them before" if done.resumed else ""
    return (
        f"{store}: version {done.published.version} is live after {done.base}{index}; {done.encoded:,} products encoded"
        f"{resumed}, {done.written:,} written, {done.changes.removed:,} removed in {seconds:.1f} s"
    )


def _index(said: Mapping[str, Any]) -> str:
    """An index in a few words: `flat (auto)`, `hnsw (recall 0.9)`."""
    name, *more = dict.fromkeys(
        str(value) if key in ("kind", "index") else f"{key} {value:g}" for key, value in said.items()
    )
    return f"{name} ({', '.join(more)})" if more else name


def _write(done: Refreshed, form: Format) -> None:
    document = done.to_dict()
    if form is not Format.TABLE:
        write_document(document, form)
        return
    shown = ("new", "changed", "updated", "unchanged", "removed", "written", "encoded")
    write_table(["products", "number"], [(name, f"{document[name]:,}") for name in shown])
    if document["gates"]:
        failed = "would fail" if done.published is None else "allowed"
        rows = [
            (name, gate["value"], gate["limit"], "passed" if gate["passed"] else failed)
            for name, gate in document["gates"].items()
        ]
        write_table(["gate", "measured", "limit", ""], rows)
