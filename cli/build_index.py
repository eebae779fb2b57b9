"""`ubm-embed build-index`: from a model and a catalogue to a store that answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.console import Format, progress, say, write_document
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


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("build-index")(build_index)


def build_index(
    model: Annotated[Path, typer.Option("--model", metavar="DIR", help="The model folder; the store keeps a copy.")],
    products: Annotated[
        Path, typer.Option("--products", metavar="FILE", help="The catalogue: Parquet, CSV, JSON or JSON Lines.")
    ],
    store: Store,
    interactions: Annotated[
        Path | None,
        typer.Option("--interactions", metavar="FILE", help="Interactions to count each product's popularity from."),
    ] = None,
    index: Index = None,
    recall: Recall = None,
    latency_ms: LatencyMs = None,
    memory_gb: MemoryGb = None,
    config: Config = None,
    allow: Allow = None,
    engine: EngineOption = EngineName.LOCAL,
    device: Device = "auto",
    runtime: Runtime = RuntimeName.TORCH,
    form: Annotated[
        Format | None, typer.Option("--format", help="json or jsonl: also write the version's manifest to stdout.")
    ] = None,
) -> None:
    """Embed a catalogue and make it the live version of a store, which is made if it is not there.

    The store answers as before until the new version is whole and checked; then it answers from that.
    """
    settings = settings_of(config, index_request_of(index, recall, latency_ms, memory_gb))
    chosen, reader = device_for(engine, device), runtime_for(engine, runtime)
    from indexer.refresh.build import build_index as build

    started = time.perf_counter()
    with progress() as shown:
        version = build(
            model=model,
            products=products,
            store=store,
            interactions=interactions,
            settings=settings,
            allow=allow or (),
            engine=engine_of(engine, settings),
            device=chosen,
            runtime=reader,
            progress=shown,
        )
    seconds = time.perf_counter() - started
    say(
        f"{store}: version {version.version} is live, {version.products:,} products in {seconds:.1f} s "
        f"({version.products / seconds:,.0f} products/s); index {version.kind}, recall@10 {version.recall_at_10:.3f}"
    )
    if form in (Format.JSON, Format.JSONL):
        write_document(_summary(version, seconds), form)


def _summary(version: Any, seconds: float) -> dict[str, Any]:
    from dataclasses import asdict

    rate = version.products / seconds
    return asdict(version) | {"seconds": round(seconds, 3), "products_per_second": round(rate, 1)}
