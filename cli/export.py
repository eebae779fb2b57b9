"""`ubm-embed export`: a store's vectors for other engines, or the model that makes them."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from cli.console import progress, say
from indexer.export.formats import ExportForm

Value = TypeVar("Value")


class Target(enum.StrEnum):
    """What is written: vectors in one of the forms that `indexer.export.formats` describes, or a model."""

    PARQUET = "parquet"
    NPY = "npy"
    FAISS = "faiss"
    ONNX = "onnx"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    to: Annotated[
        Target,
        typer.Option(
            "--to",
            help="parquet: a file; npy or faiss: a folder, with the ids of its rows; onnx: a folder, of a model.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="Where to write.")],
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="DIR", help="The store whose vectors: a folder, or a URI such as s3://..."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="DIR", help="The model folder that --to onnx writes.")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", metavar="N", help="Number or tag; default: the live version.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write the vectors of a version and their product ids, so that other engines can take them; or, with --to onnx, a
    model's encoders, so that other runtimes can make the vectors.
    """
    if to is Target.ONNX:
        _export_model(_given(model, "--model", to), out, overwrite=overwrite)
    else:
        _export_vectors(_given(store, "--store", to), ExportForm(to), out, version, overwrite=overwrite)


def _given(value: Value | None, name: str, to: Target) -> Value:
    if value is None:
        raise typer.BadParameter(f"--to {to} needs {name} DIR")
    return value


def _export_model(model: Path, out: Path, *, overwrite: bool) -> None:
    from ubm_embed.inference.runtimes.onnx_export import export_onnx

    with progress() as shown:
        done = export_onnx(model, out, overwrite=overwrite, progress=shown)
    say(f"{out}: the encoders of model {done.model_id}, vectors of width {done.model.config.dimension}")


def _export_vectors(store: str, to: ExportForm, out: Path, version: str | None, *, overwrite: bool) -> None:
    from indexer.export.vectors import export as write
    from indexer.store.embedding_store import EmbeddingStore
    from indexer.versions.tags import number_of

    number = None if version is None else number_of(EmbeddingStore.open(store), version)
    with progress() as shown:
        done = write(store, out, to, version=number, overwrite=overwrite, progress=shown)
    say(f"{out}: {done.products:,} vectors of width {done.dimension}, of version {done.version}")
