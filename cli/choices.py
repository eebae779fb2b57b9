"""Choices that several commands offer."""

from __future__ import annotations

import enum


class Task(enum.StrEnum):
    """What is asked of a session."""

    NIP = "nip"
    PIP = "pip"
    RLP = "rlp"


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
