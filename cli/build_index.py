"""`ubm-embed build-index`: from a model and a catalogue to a store that answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import Format, progress, say, warn, write_document
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
    quiet_lance,
    read_mapping,
    read_settings,
)

if TYPE_CHECKING:
    from indexer.versions.version import StoreVersion


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("build-index")(build_index)


def build_index(
    model: Annotated[Path, typer.Option("--model", metavar="DIR", help="The model folder; the store keeps a copy.")],
    products: Annotated[
        Path,
        typer.Option("--products", metavar="FILE", help="The catalogue: Parquet, CSV, JSON, XML or Excel; - is stdin."),
    ],
    store: Store,
    mapping: CatalogueMap = None,
    interactions: Annotated[
        Path | None,
        typer.Option(
            "--interactions",
            metavar="FILE",
            help="Interactions to count each product's popularity from, and what shoppers did next.",
        ),
    ] = None,
    no_counts: NoCounts = False,
    index: Index = None,
    recall: Recall = None,
    latency_ms: LatencyMs = None,
    memory_gb: MemoryGb = None,
    config: Config = None,
    allow: Allow = None,
    engine: Engine = EngineName.LOCAL,
    device: Device = "auto",
    runtime: Runtime = None,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="json or jsonl: also write the version's manifest to stdout.")
    ] = None,
) -> None:
    """Embed a catalogue and make it the live version of a store, which is created if it does not exist.

    The store answers as before until the new version is complete and has passed its gates.
    """
    settings = read_settings(config, index_request(index, recall, latency_ms, memory_gb))
    device, runtime_name = encoding_device(engine, device), encoding_runtime(engine, runtime)
    from indexer.refresh.refresh import build_index as build

    set_up_process()
    quiet_lance()
    started = time.perf_counter()
    with (
        index_errors(config, settings, index),
        input_files(products, interactions) as (products, interactions),
        progress() as report,
    ):
        version = build(
            model=model,
            products=products,
            store=store,
            interactions=interactions,
            settings=settings,
            allow=allow or (),
            engine=execution_engine(engine, settings),
            device=device,
            runtime=runtime_name,
            mapping=read_mapping(mapping),
            counts=not no_counts,
            progress=report,
            notice=warn,
        )
    seconds = time.perf_counter() - started
    say(
        f"{store}: version {version.version} is live, {version.products:,} products in {seconds:.1f} s "
        f"({version.products / seconds:,.0f} products/s); index {version.kind}, recall@10 {version.recall_at_10:.3f}"
        f"{counted(version)}"
    )
    if output_format in (Format.JSON, Format.JSONL):
        write_document(_summary(version, seconds), output_format)


def _summary(version: StoreVersion, seconds: float) -> dict[str, Any]:
    rate = version.products / seconds
    return version.to_dict() | {"seconds": round(seconds, 3), "products_per_second": round(rate, 1)}
