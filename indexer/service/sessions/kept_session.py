"""A session as it is kept: its last interactions, the answers that it was given, and what these led to.

Values that never change; a store keeps the session of what `with_events` and `with_answer` return.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from indexer.service.experiments.outcome_counts import Group, Tally, changes
from indexer.service.sessions.event import Event
from indexer.service.sessions.kept_answer import KeptAnswer, last_answers
from indexer.service.sessions.kept_interaction import KeptInteraction, last_interactions
from indexer.service.sessions.session_store import Added, Outcome, ShownAnswer
from ubm_embed.data.session import Session

MAX_EVENT_IDS = 128
MAX_GROUPS = 16  # versions and arms that a session's answers count for
# Events older than this begin no session. Far longer than a session lasts, as clocks of shoppers may be hours wrong.
MAX_AGE = 86_400.0


class GroupTally(msgspec.Struct, frozen=True, array_like=True):
    """What the session did with the answers of one version and arm."""

    group: Group
    tally: Tally


class Changed(NamedTuple):
    """A session after something came to it.

    Attributes:
        counts: what it adds to the sums of `outcome_counts`.
    """

    session: KeptSession
    added: Added
    counts: Mapping[str, int]


class KeptSession(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a session.

    Attributes:
        interactions: the last ones, in the order of their moments; of equal moments in the order in which they came.
        event_ids: digests of the last ones.
        answers: the last ones.
        tallies: of answers, also of those that are no longer kept.
    """

    interactions: tuple[KeptInteraction, ...] = ()
    event_ids: tuple[int, ...] = ()
    answers: tuple[KeptAnswer, ...] = ()
    tallies: tuple[GroupTally, ...] = ()

    def session(self, session_id: str) -> Session | None:
        """Its interactions; None if it has none."""
        interactions = tuple(kept.interaction for kept in self.interactions)
        return Session(interactions, session_id) if interactions else None

    def with_events(self, events: Sequence[Event], now: float, window: float) -> Changed:
        """After events that came at `now`, in seconds since 1970. One without an id is new each time.

        Args:
            window: seconds within which an event counts for an answer.
        """
        begins = self == KeptSession()
        timely = [event for event in events if not begins or event.moment >= now - MAX_AGE]
        kept = self._until(now)
        fresh, event_ids = kept._fresh(timely)
        answers, tallies, outcomes = kept._count(fresh, window)
        interactions = last_interactions([*kept.interactions, *map(KeptInteraction.from_event, fresh)])
        changed = KeptSession(interactions, event_ids, answers, _rows(tallies))
        added = Added(len(fresh), len(timely) - len(fresh), len(events) - len(timely), outcomes)
        return Changed(changed, added, self._changes(tallies))

    def with_answer(self, answer: ShownAnswer, now: float, window: float) -> Changed:
        """After an answer. One that is known by its id, or beyond `MAX_GROUPS`, changes nothing."""
        kept, given, tallies = self._until(now), KeptAnswer.begin(answer), self._tallies()
        known = any(one.shown.answer_id == answer.answer_id for one in kept.answers)
        if known or (given.group not in tallies and len(tallies) >= MAX_GROUPS):
            return Changed(self, Added(0), {})
        tallies[given.group] = tallies.get(given.group, Tally()).with_answer()
        answers = last_answers([*kept.answers, given], answer.moment - window)
        changed = KeptSession(kept.interactions, kept.event_ids, answers, _rows(tallies))
        return Changed(changed, Added(0), self._changes(tallies))

    def _until(self, now: float) -> KeptSession:
        """With `now` for moments ahead of it: after a clock that was ahead, later events must not sort before it."""
        moments = [*(one.moment for one in self.interactions[-1:]), *(one.shown.moment for one in self.answers)]
        if max(moments, default=now) <= now:
            return self
        interactions = tuple(one.until(now) for one in self.interactions)
        return KeptSession(interactions, self.event_ids, tuple(one.until(now) for one in self.answers), self.tallies)

    def _fresh(self, events: Iterable[Event]) -> tuple[list[Event], tuple[int, ...]]:
        """The events that are not known by their ids, and the ids that are known then."""
        known, fresh = dict.fromkeys(self.event_ids), []
        for event in events:
            if event.event_id is not None:
                digest = _digest(event.event_id)
                if digest in known:
                    continue
                known[digest] = None
            fresh.append(event)
        return fresh, tuple(known)[-MAX_EVENT_IDS:]

    def _count(
        self, events: Iterable[Event], window: float
    ) -> tuple[tuple[KeptAnswer, ...], dict[Group, Tally], tuple[Outcome, ...]]:
        """The answers and tallies after events, and the outcomes that are new."""
        answers, tallies, outcomes = list(self.answers), self._tallies(), []
        for event in events:
            row, outcome = _answer_of(event, answers, window)
            if outcome is None or (counted := answers[row].counting(outcome)) is answers[row]:
                continue
            answers[row], team = counted, counted.team_of(outcome.product_id)
            tallies[counted.group] = tallies.get(counted.group, Tally()).with_outcome(outcome.kind, team)
            outcomes.append(outcome)
        return tuple(answers), tallies, tuple(outcomes)

    def _tallies(self) -> dict[Group, Tally]:
        return {row.group: row.tally for row in self.tallies}

    def _changes(self, tallies: Mapping[Group, Tally]) -> dict[str, int]:
        before, counts = self._tallies(), dict[str, int]()
        for group, tally in tallies.items():
            if tally is not before.get(group):
                counts |= changes(before.get(group), tally, group.version, group.arm)
        return counts


def _answer_of(event: Event, answers: Sequence[KeptAnswer], window: float) -> tuple[int, Outcome | None]:
    """The latest answer that an event may be from, by its row, and what it is for it."""
    for row in reversed(range(len(answers))):
        if (outcome := answers[row].outcome_of(event, window)) is not None:
            return row, outcome
    return -1, None


def _rows(tallies: Mapping[Group, Tally]) -> tuple[GroupTally, ...]:
    return tuple(GroupTally(group, tally) for group, tally in tallies.items())


def _digest(event_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(event_id.encode(), digest_size=8).digest())
