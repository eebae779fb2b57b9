"""Which options of `ubm-embed diagnose` were given, and whether they go together.

`options` are the values of the command's parameters, by their names in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from indexer.diagnostics.settings import DiagnosisSettings

# The option of each setting. No other command has one of these names with another meaning, since all have their
# variables in the environment: UBM_EMBED_SESSIONS is where `serve` keeps its sessions.
SETTINGS = {
    "sample": "--sample-products",
    "queries": "--sample-queries",
    "texts": "--sample-texts",
    "sessions": "--sample-sessions",
    "examples": "--sample-examples",
    "embedded": "--sample-embedded",
    "rounds": "--rounds",
    "seed": "--seed",
}
_SUBJECTS = ("store", "model", "run")
# Parameters that need one of others, each after those that it needs.
_NEEDS = {
    "number": ("store",),
    "against": ("store",),
    "corpus": ("store", "model"),
    "model": ("corpus",),
    "purchase_intention": ("corpus",),
    "remaining_length": ("corpus",),
    "config": ("against",),
    "map_method": ("html", "png"),
    "overwrite": ("png",),
}
_PARAMETERS = (*_SUBJECTS, "html", "png", *(name for name in _NEEDS if name not in _SUBJECTS))


def settings_of(options: dict[str, Any]) -> DiagnosisSettings:
    """The sizes of the samples; one out of range is a usage error."""
    from indexer.diagnostics.settings import DiagnosisSettings

    try:
        return DiagnosisSettings(**{name: options[name] for name in SETTINGS})
    except ValueError as error:
        name, _, problem = str(error).partition(" ")
        raise typer.BadParameter(f"{SETTINGS[name]} {problem}") from None


def given(options: dict[str, Any]) -> set[str]:
    """The options that say what to look at, as they are typed."""
    return {_typed(name) for name in _PARAMETERS if options[name]}


def leave_out_unused_variables(options: dict[str, Any], context: typer.Context) -> None:
    """Clear what environment variables set for other commands and what was typed here has no use for."""
    inherited = {name for name in _PARAMETERS if _is_inherited(name, context)}
    if any(options[name] for name in _SUBJECTS if name not in inherited):
        options.update(dict.fromkeys(inherited & {*_SUBJECTS}))
    for name, needed in _NEEDS.items():
        if name in inherited and not any(options[one] for one in needed):
            options[name] = None


def require_one_subject(options: dict[str, Any]) -> None:
    """Raise a usage error unless there is one thing to diagnose, with the options that go with it."""
    subjects = [_typed(name) for name in _SUBJECTS if options[name]]
    if len(subjects) != 1:
        got = f"got {' and '.join(subjects)}" if subjects else "got none of them"
        raise typer.BadParameter(f"expected one of {_listed(_SUBJECTS, 'and')}, {got}")
    for name, needed in _NEEDS.items():
        if options[name] and not any(options[one] for one in needed):
            raise typer.BadParameter(f"{_typed(name)} needs {_listed(needed, 'or')}")


def _is_inherited(name: str, context: typer.Context) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "ENVIRONMENT"


def _typed(name: str) -> str:
    return "--version" if name == "number" else f"--{name.replace('_', '-')}"


def _listed(names: tuple[str, ...], word: str) -> str:
    *first, last = map(_typed, names)
    return f"{', '.join(first)} {word} {last}" if first else last
