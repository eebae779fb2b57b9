"""Choices that several commands offer."""

from __future__ import annotations

import enum

import typer


def device_of(name: str) -> str:
    """The device of a name, "auto" chosen; a wrong one is a usage error."""
    from ubm_embed.inference.embedder import choose_device

    try:
        return str(choose_device(name))
    except ValueError as error:
        raise typer.BadParameter(f"--device: {error}") from None


class Task(enum.StrEnum):
    """What is asked of a session."""

    NIP = "nip"
    PIP = "pip"
    RLP = "rlp"


class Recipe(enum.StrEnum):
    """What settings are where none are given."""

    SHOP = "shop"
    PAPER = "paper"


class SplitBy(enum.StrEnum):
    """How sessions are told apart."""

    AUTO = "auto"
    TIME = "time"
    SESSION = "session"
    LEAVE_ONE_OUT = "leave-one-out"


class Precision(enum.StrEnum):
    """Number format of the computation."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
