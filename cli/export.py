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
            help="parquet: a file; npy or faiss: a folder, with the ids of its rows; embedding-atlas: a file to look at"
            " with Embedding Atlas; projector: a folder for TensorBoard; onnx: a folder with a model.",
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
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            metavar="N",
            min=1,
            help="For embedding-atlas and projector: at most this many products, drawn at random; default 50,000 and"
            " 10,000. The projector shows 100,000 at most.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write the vectors of a version and their product ids, so that other engines can take them, or people walk through
    them; or, with --to onnx, a model's encoders, so that other runtimes can make the vectors.
    """
    if sample is not None and not to.is_viewer:
        raise typer.BadParameter(f"--sample is for embedding-atlas and projector, not for {to}")
    if to is ExportFormat.ONNX:
        _export_model(_required(model, "--model", to), out, overwrite=overwrite)
    elif to.is_viewer:
        _export_to_viewer(_required(store, "--store", to), to, out, version, sample, overwrite=overwrite)
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

    number = _number(store, version)
    with progress() as report:
        exported = export_vectors(store, out, to, version=number, overwrite=overwrite, progress=report)
    say(f"{out}: {exported.products:,} vectors of width {exported.dimension}, of version {exported.label}")


def _export_to_viewer(
    store: str, to: ExportFormat, out: Path, version: str | None, sample: int | None, *, overwrite: bool
) -> None:
    from indexer.export.projector import MAX_ROWS
    from indexer.export.viewers import export_to_viewer

    if to is ExportFormat.PROJECTOR and sample is not None and sample > MAX_ROWS:
        raise typer.BadParameter(f"--sample must be at most {MAX_ROWS:,}, all that the projector shows, got {sample:,}")
    number = _number(store, version)
    with progress() as report:
        exported = export_to_viewer(store, out, to, version=number, sample=sample, overwrite=overwrite, progress=report)
    drawn = f" of {exported.of:,}, drawn at random (--sample)" if exported.products < exported.of else ""
    say(f"{out}: {exported.products:,} products{drawn}, of version {exported.label}")
    for note in exported.notes:
        say(note)
    say(f"to look at them: {exported.command}")


def _number(store: str, version: str | None) -> int | None:
    from indexer.store.embedding_store import EmbeddingStore
    from indexer.versions.tags import resolve_number

    return None if version is None else resolve_number(EmbeddingStore.open(store), version)
