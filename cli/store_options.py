"""Options of the commands that read or write a store."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.update.gates import Gate

if TYPE_CHECKING:
    from indexer.update.encoding import Engine
    from indexer.update.settings import RefreshSettings

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
    Path | None, typer.Option("--config", metavar="FILE", help="TOML: limits of the checks, versions to keep.")
]
EngineOption = Annotated[
    EngineName, typer.Option("--engine", help="Encode in this process, or on a Ray cluster (RAY_ADDRESS).")
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...; auto takes a GPU where there is one.")]


def settings_of(config: Path | None) -> RefreshSettings:
    """The settings of a file, or the usual ones."""
    from indexer.update.settings import RefreshSettings

    return RefreshSettings() if config is None else RefreshSettings.read(config)


def engine_of(name: EngineName) -> Engine:
    """What encodes, by its name."""
    if name is EngineName.RAY:
        from indexer.update.ray_engine import encode_with_ray

        return encode_with_ray
    from indexer.update.encoding import encode_here

    return encode_here
