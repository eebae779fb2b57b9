"""The requests that came last, in bounded memory: what a new version answers to be warm."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from indexer.search.ranking import Rules
from ubm_embed.data.session import Interaction, Session

# Sessions with longer texts are left out, and so are the excluded and boosted ids of rules with more of them.
_MAX_CHARACTERS = 10_000
_MAX_IDS = 1_000


class Request(NamedTuple):
    """What was asked."""

    session: Session
    k: int
    rules: Rules | None


class RecentRequests:
    """Remembers the last requests. Several threads may use it.

    Args:
        size: how many sessions.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._requests: deque[Request] = deque(maxlen=size)

    def __iter__(self) -> Iterator[Request]:
        """Those that there are now, the oldest first."""
        return iter(self._requests.copy())

    def add(self, sessions: Sequence[Session], k: int, rules: Rules | None, max_interactions: int) -> None:
        """Remember the last of some sessions.

        Args:
            max_interactions: how many interactions of a session the model reads.
        """
        if rules is not None and len(rules.exclude) + len(rules.boost) > _MAX_IDS:
            rules = rules.model_copy(update={"exclude": frozenset(), "boost": {}})
        for session in sessions[max(0, len(sessions) - self._size) :]:
            recent = session.interactions[-max_interactions:]
            if sum(map(_characters, recent)) <= _MAX_CHARACTERS:
                self._requests.append(Request(Session(recent), k, rules))


def _characters(interaction: Interaction) -> int:
    """How long the texts of an interaction are."""
    product = interaction.product
    if product is None:
        return len(interaction.product_id or interaction.query or "")
    attributes = sum(len(name) + len(value) for name, value in product.attributes)
    return len(product.title) + len(product.category or "") + attributes
