"""What the routes stand on, opened in one order and closed in the other."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from indexer.service.sessions.session_store import SessionStore
from indexer.service.settings import ServiceSettings


@dataclass(slots=True)
class Service:
    """What the routes of one worker stand on. Metrics and keys are not in here: `http` has its own.

    Attributes:
        engine: answers.
        sessions: what shoppers did so far.
        experiment: which answers are compared, if any are.
        event_log: where events and answers are written, if they are.
        reloaded: called after each look for a new version, to read again what else may have changed, such as keys.
        supervisor: process that passes a reload on to the other workers; None without others.
    """

    settings: ServiceSettings
    engine: Any
    sessions: SessionStore
    experiment: Any = None
    event_log: Any = None
    reloaded: list[Callable[[], None]] = field(default_factory=list)
    supervisor: int | None = None

    async def reload(self) -> bool:
        """Look for a new version now, and return whether one took over."""
        changed: bool = await self.engine.reload()
        for callback in self.reloaded:
            callback()
        return changed

    async def reload_everywhere(self) -> bool:
        """As `reload`; the other workers do so, too, soon after."""
        changed = await self.reload()
        if self.supervisor is not None:
            os.kill(self.supervisor, signal.SIGHUP)
        return changed
