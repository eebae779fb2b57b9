"""Options of the commands that read or write a store."""

from __future__ import annotations

import enum
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.choices import device_of
from indexer.refresh.gates import Gate
from ubm_embed.inference.runtimes.runtime_name import RuntimeName

if TYPE_CHECKING:
    from indexer.index.index_request import IndexRequest
    from indexer.refresh.encoding import Engine
    from indexer.refresh.settings import RefreshSettings

# A string: a path would make s3:/bucket of s3://bucket.
Store = Annotated[str, typer.Option("--store", metavar="DIR", help="The store: a folder, or a URI such as s3://...")]


class EngineName(enum.StrEnum):
    """What encodes."""

    LOCAL = "local"
    RAY = "ray"


Allow = Annotated[
    list[Gate] | None,
    typer.Option(
        "--allow", metavar="GATE", help="Publish even if this check fails; repeatable. See docs/operations.md."
    ),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML: limits of the checks, versions to keep, the index."),
]
EngineOption = Annotated[
    EngineName, typer.Option("--engine", help="Encode in this process, or on a Ray cluster (RAY_ADDRESS).")
]
Runtime = Annotated[
    RuntimeName,
    typer.Option(
        "--runtime",
        help="What reads the products' texts; auto takes the fastest, measured, that agrees with torch.",
    ),
]
Index = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="KIND",
        help="auto, flat, fp16, ivf-fp16, ivf-sq8, ivf-pq, hnsw, disk, or a FAISS factory string such as IVF1024,SQ8.",
    ),
]
Recall = Annotated[
    float | None, typer.Option("--recall", help="Share of the exact ten nearest that the index is to find: 0.99.")
]
LatencyMs = Annotated[
    float | None, typer.Option("--latency-ms", help="Milliseconds that a single query may take; a gate.")
]
MemoryGb = Annotated[float | None, typer.Option("--memory-gb", help="10^9 bytes that the index may take.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...; auto takes a GPU where there is one.")]


def settings_of(config: Path | None, index: IndexRequest | None = None) -> RefreshSettings:
    """The settings of a file, or the usual ones; what the options say of the index goes before what the file says."""
    from indexer.index.index_request import IndexRequest
    from indexer.refresh.settings import RefreshSettings

    settings = RefreshSettings() if config is None else RefreshSettings.read(config)
    return settings if index is None else replace(settings, index=index.over(settings.index or IndexRequest()))


def index_request_of(
    index: str | None, recall: float | None, latency_ms: float | None, memory_gb: float | None
) -> IndexRequest | None:
    """What the options say about the index, None if nothing; a target outside its range is a usage error."""
    from indexer.index.index_request import IndexRequest

    try:
        asked = IndexRequest(index=index, recall=recall, latency_ms=latency_ms, memory_gb=memory_gb)
    except ValueError as error:
        name, _, problem = str(error).partition(" ")
        raise typer.BadParameter(f"--{name.replace('_', '-')} {problem}") from None
    return None if asked == IndexRequest() else asked


def device_for(engine: EngineName, device: str) -> str:
    """The device of a name; on a cluster the workers choose, which may have what this machine has not."""
    return device if engine is EngineName.RAY else device_of(device)


def runtime_for(engine: EngineName, runtime: RuntimeName) -> str:
    """The runtime of a name; each worker of a cluster would choose for itself, so there it must be named."""
    if engine is EngineName.RAY and runtime is RuntimeName.AUTO:
        raise typer.BadParameter("--runtime auto measures on one machine; with --engine ray, name the runtime")
    return str(runtime)


def engine_of(name: EngineName, settings: RefreshSettings) -> Engine:
    """What encodes, by its name."""
    if name is EngineName.RAY:
        from indexer.refresh.ray_engine import encode_with_ray

        return partial(encode_with_ray, workers=settings.ray)
    from indexer.refresh.encoding import encode_here

    return encode_here
