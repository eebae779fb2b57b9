"""Options of earlier versions and their new names, for the message to those who still use one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

RENAMED = {
    "--encoder": "--runtime",
    "--every-place": "--all-positions",
    "--known-texts": "--item-embeddings",
    "--least": "--min-interactions",
    "--least-count": "--min-count",
    "--most": "--max-examples",
    "--one-by-one": "--one-position",
    "--per-session": "--max-per-session",
}


def new_name(option: str, options: Iterable[str]) -> str | None:
    """What an option is named now, if it is one of a command's `options`."""
    renamed = RENAMED.get(option)
    return renamed if renamed in set(options) else None


def renamed_variables(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each variable of the environment that is named after an option's former name."""
    names = {_variable(old): _variable(new) for old, new in RENAMED.items()}
    return [f"{old} has no effect: it was renamed to {new}" for old, new in names.items() if environment.get(old)]


def _variable(option: str) -> str:
    return "UBM_EMBED_" + option.removeprefix("--").upper().replace("-", "_")
