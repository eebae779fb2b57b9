"""The tasks, and the ways to split a corpus for them. Light, so that the command line can name them without torch."""

from __future__ import annotations

import enum

# Products that training sees less often are not learned as targets (4.1.1).
MIN_COUNT = 5
# Shorter prefixes say too little about where a session is going (4.1.1).
MIN_INTERACTIONS = 5


class Task(enum.StrEnum):
    """The three downstream tasks (paper 3.4)."""

    NIP = "nip"
    """Next item prediction."""
    PIP = "pip"
    """Purchase intention prediction."""
    RLP = "rlp"
    """Remaining length prediction."""


class SplitKind(enum.StrEnum):
    """What decides on which side of a split a session stands."""

    AUTO = "auto"
    """By time where every session has a timestamp, else by session; no `Split` is of this kind."""
    TIME = "time"
    """The latest sessions are held out."""
    SESSION = "session"
    """A hash of the session id decides."""
    LEAVE_ONE_OUT = "leave-one-out"
    """The last interaction of every session is held out."""
