"""`ubm-embed export`: a store's vectors for other engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import progress, say
from cli.store_options import Store
from indexer.export_form import ExportForm


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    store: Store,
    to: Annotated[
        ExportForm, typer.Option("--to", help="parquet: a file; npy or faiss: a folder, with the ids of its rows.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="Where to write.")],
    version: Annotated[
        str | None, typer.Option("--version", metavar="N", help="Number or tag; default: the live version.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write the vectors of a version and their product ids, so that other engines can take them."""
    from indexer.export import export as write
    from indexer.store import EmbeddingStore
    from indexer.versions.tags import number_of

    number = None if version is None else number_of(EmbeddingStore.open(store), version)
    with progress() as shown:
        done = write(store, out, to, version=number, overwrite=overwrite, progress=shown)
    say(f"{out}: {done.products:,} vectors of width {done.dimension}, of version {done.version}")
