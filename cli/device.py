"""The `--device` option."""

from __future__ import annotations

from typing import Any

import typer


def device_option(panel: str | None = None) -> Any:
    """The option, for the `Annotated` of a parameter."""
    return typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...", rich_help_panel=panel)


def usable_device(name: str) -> str:
    """The device of this name, the one chosen for "auto"; one that is not there is a usage error."""
    from ubm_embed.model.device_name import device_name

    try:
        return device_name(name)
    except ValueError as error:
        raise typer.BadParameter(f"--device: {error}") from None
