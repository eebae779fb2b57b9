"""An answer as a session keeps it, and what it led to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

import msgspec

from indexer.service.experiments.outcome_counts import Group
from indexer.service.sessions.event import Event
from indexer.service.sessions.session_store import Outcome, OutcomeKind, ShownAnswer
from ubm_embed.data.session import Action

MAX_ANSWERS = 16
MAX_SHOWN = 1_000  # product ids of all answers of a session

_KINDS: Mapping[Action, OutcomeKind] = {Action.VIEW: "click", Action.ADD: "add", Action.BUY: "buy"}


class KeptAnswer(msgspec.Struct, frozen=True, array_like=True):
    """An answer, and the outcomes that are counted: their kinds and the positions of their matches."""

    shown: ShownAnswer
    counted: tuple[tuple[OutcomeKind, int], ...] = ()

    @classmethod
    def begin(cls, shown: ShownAnswer) -> Self:
        """An answer that led to nothing yet, with no more of its matches than may be kept."""
        if len(shown.product_ids) > MAX_SHOWN:
            ids, teams = shown.product_ids[:MAX_SHOWN], shown.teams[:MAX_SHOWN]
            shown = msgspec.structs.replace(shown, product_ids=ids, teams=teams)
        return cls(shown)

    @property
    def group(self) -> Group:
        """What it is counted with."""
        return Group(self.shown.version, self.shown.arm)

    def outcome_of(self, event: Event, window: float) -> Outcome | None:
        """What the event is for this answer, if it is from it. One that is counted already is returned as well.

        An event that names the answer is from it, whatever the clock of its shopper says.
        """
        shown, kind, product_id = self.shown, _KINDS.get(event.interaction.action), _product_id(event)
        if kind is None or product_id not in shown.product_ids or event.moment > shown.moment + window:
            return None
        is_named = event.answer_id == shown.answer_id
        if not is_named and (event.answer_id is not None or event.moment < shown.moment):
            return None
        return Outcome(kind, shown.answer_id, shown.version, shown.arm, product_id)

    def counting(self, outcome: Outcome) -> KeptAnswer:
        """The same with one more outcome, or itself if that is counted."""
        mark = (outcome.kind, self.shown.product_ids.index(outcome.product_id))
        return self if mark in self.counted else KeptAnswer(self.shown, (*self.counted, mark))

    def team_of(self, product_id: str) -> int | None:
        """The list that a match was drafted from; None unless the answer was interleaved."""
        return self.shown.teams[self.shown.product_ids.index(product_id)] if self.shown.teams else None

    def until(self, now: float) -> KeptAnswer:
        """The same, at most at `now`."""
        if self.shown.moment <= now:
            return self
        return KeptAnswer(msgspec.structs.replace(self.shown, moment=now), self.counted)


def last_answers(answers: Iterable[KeptAnswer], begin: float) -> tuple[KeptAnswer, ...]:
    """The last ones since the moment `begin`, as many as may be kept, in their order."""
    recent = [answer for answer in answers if answer.shown.moment >= begin][-MAX_ANSWERS:]
    shown = 0
    for number, answer in enumerate(reversed(recent)):
        shown += len(answer.shown.product_ids)
        if shown > MAX_SHOWN:
            return tuple(recent[len(recent) - number :])
    return tuple(recent)


def _product_id(event: Event) -> str:
    product = event.interaction.product
    return (event.interaction.product_id if product is None else product.product_id) or ""
