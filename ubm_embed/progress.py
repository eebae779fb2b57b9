"""How long-running work reports progress to its caller, terminal or not."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A callback, cheap enough to be called after every batch."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` steps of `what` are finished; `note` is a short text to show beside it, such as a loss."""


def silent(what: str, done: int, total: int, note: str = "") -> None:
    """Ignores progress."""
