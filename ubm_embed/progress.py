"""How long-running work reports to its caller, terminal or not: how far it is, and what a person should know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

# Is told, in one sentence without a full stop, what was changed or looks odd and does not stop the work.
Notice: TypeAlias = Callable[[str], None]


class Progress(Protocol):
    """A callback, cheap enough to be called after every batch."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` steps of `what` are finished; `note` is a short text to show beside it, such as a loss."""


def silent(what: str, done: int, total: int, note: str = "") -> None:
    """Ignores progress."""


def unsaid(message: str) -> None:
    """Ignores notices."""
