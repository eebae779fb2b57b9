"""The commands of `ubm-embed`, each imported when it is called: a query does not wait for the options of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup, TyperOption

# As the help lists them. Each is a module of this package with a function `register`.
NAMES = (
    "demo",
    "ingest",
    "inspect",
    "pretrain",
    "finetune",
    "evaluate",
    "build-index",
    "refresh",
    "upsert",
    "delete",
    "query",
    "lookup",
    "serve",
    "export",
    "versions",
    "doctor",
    "diagnose",
)


class Commands(TyperGroup):
    """The group of all commands."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Any = _LazyCommands()


class _LazyCommands(Mapping[str, Any]):
    """The commands by name."""

    def __getitem__(self, name: str) -> Any:
        if name not in NAMES:
            raise KeyError(name)
        return _load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


@cache
def _load(name: str) -> Any:
    """A command, with its environment variables."""
    app = typer.Typer()
    import_module(f"cli.{name.replace('-', '_')}").register(app)
    command = typer.main.get_group(app).commands[name]
    name_environment_variables(command)
    return command


def name_environment_variables(command: Any) -> None:
    """Name the environment variable `UBM_EMBED_<OPTION>` of every option, after its long name."""
    for parameter in command.params:
        if isinstance(parameter, TyperOption) and not parameter.is_eager:
            parameter.envvar = "UBM_EMBED_" + _long_name(parameter).upper().replace("-", "_")
            parameter.show_envvar = False  # the epilog gives the rule; fifty names would drown the help
    if isinstance(command, TyperGroup) and not isinstance(command, Commands):  # whose commands are not loaded yet
        for inner in command.commands.values():
            name_environment_variables(inner)


def _long_name(option: TyperOption) -> str:
    return next((name for name in option.opts if name.startswith("--")), option.opts[0]).lstrip("-")
