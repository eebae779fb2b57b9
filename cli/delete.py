"""`ubm-embed delete`: products deleted from the live version, within a second."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import Format, choose_format
from cli.process import loading
from cli.store_options import Store
from cli.update_options import UpdateConfig, read_limits, write_report

if TYPE_CHECKING:
    from indexer.updates.limits import UpdateLimits


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("delete")(delete)


def delete(
    store: Store,
    ids: Annotated[
        Path | None,
        typer.Option(
            "--ids", metavar="FILE", help="A table with a column product_id, or text with one id a line; - is stdin."
        ),
    ] = None,
    product_ids: Annotated[
        list[str] | None, typer.Option("--product-id", metavar="ID", help="A product to delete; repeatable.")
    ] = None,
    config: UpdateConfig = None,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: a table on a terminal, else JSON.")
    ] = None,
) -> None:
    """Delete products from the live version, without waiting for a refresh.

    Publishes a revision of the version, as `ubm-embed upsert` does. Ids that the store does not have are listed and are
    no error, so a deletion may be repeated. The next refresh brings back products that its catalogue still has, unless
    they were deleted after the time of the catalogue.
    """
    if ids is None and not product_ids:
        raise typer.BadParameter("give --ids FILE, or --product-id ID")
    with loading():
        limits = read_limits(config)
        from indexer.updates.updater import Updater
    with Updater(store, limits=limits) as updater:
        report = updater.delete([*(product_ids or ()), *(_ids_in(ids, limits) if ids else ())])
    write_report(report, store, choose_format(output_format))


def _ids_in(source: Path, limits: UpdateLimits) -> list[str]:
    """The first ids of a file or of stdin, at most one more than a revision may have."""
    from indexer.updates.product_id_file import read_product_ids
    from ubm_embed.data.tables.stdin_file import spooled_stdin

    with spooled_stdin([source], limits.max_bytes, may_be_empty=True) as (file,):
        return read_product_ids(file, limits.max_products + 1)
