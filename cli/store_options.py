"""Options of the commands that read or write a store, and what they stand for."""

from __future__ import annotations

import contextlib
import enum
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.device import device_option, usable_device
from indexer.refresh.gates import Gate
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.wording import counted as number_of

if TYPE_CHECKING:
    from indexer.index.index_request import IndexRequest
    from indexer.refresh.settings import RefreshSettings
    from indexer.refresh.shards import ExecutionEngine
    from indexer.versions.version import StoreVersion
    from ubm_embed.data.mappings.mapping import Mapping

# A string: a path would make s3:/bucket of s3://bucket.
Store = Annotated[str, typer.Option("--store", metavar="DIR", help="The store: a folder, or a URI such as s3://...")]


class EngineName(enum.StrEnum):
    """Where products are encoded."""

    LOCAL = "local"
    RAY = "ray"


Allow = Annotated[
    list[Gate] | None,
    typer.Option(
        "--allow",
        metavar="GATE",
        help="Publish even if this gate fails, such as schema or rows; repeatable. See docs/operations.md.",
    ),
]
CatalogueMap = Annotated[
    str | None,
    typer.Option(
        "--map",
        metavar="FILE|NAME",
        help="TOML that says which columns of the catalogue are what, or a ready-made mapping. See docs/data.md.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML: limits of the gates, versions to keep, the index."),
]
Engine = Annotated[
    EngineName, typer.Option("--engine", help="Encode in this process, or on a Ray cluster (RAY_ADDRESS).")
]
Runtime = Annotated[
    RuntimeName | None,
    typer.Option(
        "--runtime",
        help="What reads the products' texts; auto measures which one is fastest among those that agree with float32.",
        show_default="onnx on a CPU, torch on a GPU",
    ),
]
NoCounts = Annotated[
    bool,
    typer.Option(
        "--no-counts", help="Leave out what shoppers did next: answers are by vectors alone, as without interactions."
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
    float | None,
    typer.Option("--recall", help="Share of the exact ten nearest that the index must find, by default 0.99."),
]
LatencyMs = Annotated[
    float | None, typer.Option("--latency-ms", help="Limit of the milliseconds that a single query takes; a gate.")
]
MemoryGb = Annotated[float | None, typer.Option("--memory-gb", help="Limit of the index's size in 10^9 bytes.")]
Device = Annotated[str, device_option()]


def read_mapping(name_or_file: str | None) -> Mapping | None:
    """The mapping of `--map`, if there is one."""
    if name_or_file is None:
        return None
    from ubm_embed.data.mappings.mapping import Mapping

    return Mapping.open(name_or_file)


@contextlib.contextmanager
def input_files(products: Path, interactions: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """The catalogue and the interactions, with a file in place of `-`, which is standard input."""
    from ubm_embed.data.tables.stdin_file import spooled_stdin

    with spooled_stdin([products, *([] if interactions is None else [interactions])]) as files:
        yield files[0], None if interactions is None else files[1]


@contextlib.contextmanager
def index_errors(config: Path | None, settings: RefreshSettings, option: str | None) -> Iterator[None]:
    """Name the file of the settings in an error about the kind of index, if the kind is from there.

    Args:
        option: the value of `--index`.
    """
    from ubm_embed.errors import InvalidData

    try:
        yield
    except InvalidData as error:
        from_file = config is not None and option is None and settings.index is not None and settings.index.index
        if not from_file or error.field != "index" or error.file is not None:
            raise
        raise InvalidData(error.problem, file=config, field="index.kind") from None


def read_settings(config: Path | None, index: IndexRequest | None = None) -> RefreshSettings:
    """The settings of a file, or the defaults; options for the index take precedence over the file."""
    from indexer.index.index_request import IndexRequest
    from indexer.refresh.settings import RefreshSettings

    settings = RefreshSettings() if config is None else RefreshSettings.read(config)
    if index is None:
        return settings
    return settings.model_copy(update={"index": index.over(settings.index or IndexRequest())})


def index_request(
    index: str | None, recall: float | None, latency_ms: float | None, memory_gb: float | None
) -> IndexRequest | None:
    """The index that the options ask for, None if they do not; a target outside its range is a usage error."""
    from indexer.index.index_request import IndexRequest

    try:
        request = IndexRequest(index=index, recall=recall, latency_ms=latency_ms, memory_gb=memory_gb)
    except ValueError as error:
        name, _, problem = str(error).partition(" ")
        raise typer.BadParameter(f"--{name.replace('_', '-')} {problem}") from None
    return None if request == IndexRequest() else request


def counted(version: StoreVersion) -> str:
    """What a version has counts of, as the end of a line; nothing if it has none."""
    counts = version.counts
    if counts is None:
        return ""
    nearest = f" and {counts.spread:,} as their nearest" if counts.spread else ""
    products, interactions = number_of(counts.products, "product"), number_of(counts.interactions, "interaction")
    return f"; counts of {products}{nearest}, from {interactions}"


def encoding_device(engine: EngineName, device: str) -> str:
    """The device to encode on; on a cluster the workers choose, whose machines may have other devices."""
    return device if engine is EngineName.RAY else usable_device(device)


def encoding_runtime(engine: EngineName, runtime: RuntimeName | None) -> str | None:
    """The runtime to encode with; a cluster's workers could each choose another one, so there it must be named."""
    if engine is EngineName.RAY and runtime is RuntimeName.AUTO:
        raise typer.BadParameter("--runtime auto measures on one machine; with --engine ray, name the runtime")
    return None if runtime is None else str(runtime)


def execution_engine(name: EngineName, settings: RefreshSettings) -> ExecutionEngine:
    """The engine that encodes, by its name."""
    if name is EngineName.RAY:
        from indexer.refresh.ray_engine import encode_with_ray

        return partial(encode_with_ray, workers=settings.ray, startup=quiet_ray)
    from indexer.refresh.shards import encode_locally

    return encode_locally


@contextlib.contextmanager
def quiet_ray() -> Iterator[None]:
    """A context in which this process may connect to Ray without a word on stderr and without reporting its usage.

    Ray's C++ parts write to file descriptor 2 past all of Python's loggers; there they also announce that they were
    told to be quiet.
    """
    quiet = {"RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_USAGE_STATS_ENABLED": "0"}
    added = {name: value for name, value in quiet.items() if name not in os.environ}
    stderr = os.dup(2)
    os.environ.update(added)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        for name in added:
            del os.environ[name]


def quiet_lance() -> None:
    """Keep Lance from warning on stderr that a new store has no table yet. Call it before Lance is imported."""
    os.environ.setdefault("LANCE_LOG", "error")
