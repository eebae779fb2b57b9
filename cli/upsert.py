"""`ubm-embed upsert`: products added to the live version, or changed in it, within a second."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import Format, choose_format, warn
from cli.device import usable_device
from cli.process import loading, set_up_process
from cli.store_options import CatalogueMap, Device, Runtime, Store, read_mapping
from cli.update_options import UpdateConfig, read_limits, write_report


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("upsert")(upsert)


def upsert(
    products: Annotated[
        Path,
        typer.Option("--products", metavar="FILE", help="Products, in any format of a catalogue; - is stdin."),
    ],
    store: Store,
    mapping: CatalogueMap = None,
    config: UpdateConfig = None,
    device: Device = "cpu",
    runtime: Runtime = None,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: a table on a terminal, else JSON.")
    ] = None,
) -> None:
    """Add products to the live version, or change them, without waiting for a refresh.

    Publishes a revision of the version, such as 3.17, which services answer from within a second and the next refresh
    folds in. A field that a row does not have stays as it is; null, or an empty field of a CSV file, clears it. Only
    new texts are encoded. One invalid row, and nothing is changed.
    """
    with loading():
        limits = read_limits(config)
        from indexer.updates.updater import Updater
        from ubm_embed.data.tables.stdin_file import spooled_stdin
    set_up_process()
    with (
        spooled_stdin([products], limits.max_bytes) as (file,),
        Updater(
            store,
            limits=limits,
            device=usable_device(device),
            runtime=None if runtime is None else str(runtime),
            notice=warn,
        ) as updater,
    ):
        report = updater.upsert(file, read_mapping(mapping))
    write_report(report, store, choose_format(output_format))
