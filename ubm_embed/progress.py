"""How long work tells its caller how far it is, without knowing of a terminal."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called every now and then; cheap enough to be called after every batch."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` steps of `what` are finished; `note` is a short text to show beside, such as a loss."""


def silent(what: str, done: int, total: int, note: str = "") -> None:
    """The progress of a caller who does not look."""
