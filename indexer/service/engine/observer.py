"""What the engine reports while it works."""

from __future__ import annotations

from typing import Literal, Protocol

# Why a batch was not larger: nothing else waited; only the rest of large requests did, whose turn was over; or it had
# as many sessions, or interactions that are not cached, as it may have.
ReleaseReason = Literal["empty", "slice", "sessions", "interactions"]
DropReason = Literal["cancelled", "timeout"]
LaneName = Literal["fast", "slow"]


class EngineObserver(Protocol):
    """Is told what happens, for metrics. Any thread may call it; it must be quick and must not raise."""

    def batch_released(self, lane: LaneName, reason: ReleaseReason, sessions: int, interactions: int) -> None:
        """A batch begins.

        Args:
            interactions: those of its sessions that are not cached.
        """

    def waiting(self, sessions: int) -> None:
        """This many sessions wait for their answers now."""

    def dropped(self, reason: DropReason, sessions: int) -> None:
        """Sessions were dropped without an answer: their caller has gone, or their time was over."""

    def version_refused(self, error: Exception) -> None:
        """A version that became live was refused, and the one before goes on."""


class SilentObserver:
    """An `EngineObserver` that tells nobody."""

    def batch_released(self, lane: LaneName, reason: ReleaseReason, sessions: int, interactions: int) -> None:
        """Nothing."""

    def waiting(self, sessions: int) -> None:
        """Nothing."""

    def dropped(self, reason: DropReason, sessions: int) -> None:
        """Nothing."""

    def version_refused(self, error: Exception) -> None:
        """Nothing."""
