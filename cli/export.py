"""`ubm-embed export`: a store's vectors for other engines, or the model that makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from cli.console import progress, say
from cli.process import set_up_process
from indexer.export.formats import ExportFormat

Value = TypeVar("Value")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    to: Annotated[
        ExportFormat,
        typer.Option(
            "--to",
            help="parquet: a file; npy or faiss: a folder, with the ids of its rows; onnx: a folder with a model.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="Where to write.")],
    store: Annotated[
        str | None,
        typer.Option(
            "--store", metavar="DIR", help="The store to export vectors from: a folder, or a URI such as s3://..."
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="DIR", help="The model folder to export with --to onnx.")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", metavar="N", help="Number or tag; default: the live version.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write the vectors of a version and their product ids, so that other engines can take them; or, with --to onnx, a
    model's encoders, so that other runtimes can make the vectors.
    """
    if to is ExportFormat.ONNX:
        _export_model(_required(model, "--model", to), out, overwrite=overwrite)
    else:
        _export_vectors(_required(store, "--store", to), to, out, version, overwrite=overwrite)


def _required(value: Value | None, option: str, to: ExportFormat) -> Value:
    if value is None:
        raise typer.BadParameter(f"--to {to} needs {option} DIR")
    return value


def _export_model(model: Path, out: Path, *, overwrite: bool) -> None:
    from ubm_embed.inference.runtimes.onnx_export import export_onnx

    set_up_process()
    with progress() as report:
        exported = export_onnx(model, out, overwrite=overwrite, progress=report)
    say(f"{out}: the encoders of model {exported.model_id}, vectors of width {exported.model.config.dimension}")


def _export_vectors(store: str, to: ExportFormat, out: Path, version: str | None, *, overwrite: bool) -> None:
    from indexer.export.vectors import export_vectors
    from indexer.store.embedding_store import EmbeddingStore
    from indexer.versions.tags import resolve_number

    number = None if version is None else resolve_number(EmbeddingStore.open(store), version)
    with progress() as report:
        exported = export_vectors(store, out, to, version=number, overwrite=overwrite, progress=report)
    say(f"{out}: {exported.products:,} vectors of width {exported.dimension}, of version {exported.version}")
