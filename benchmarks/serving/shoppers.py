"""What shoppers ask, drawn from sessions of the sample shop: most products known to the service, some never seen."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from benchmarks.serving.connection import post
from benchmarks.serving.load_generator import Step

Document = Mapping[str, Any]
Drawer = Callable[[int], list[Step]]

RECOMMEND, EVENTS = "/v1/recommend", "/v1/events"
UNSEEN = 0.1
_K = 10
# They shop at the same time, each with a session of its own.
_SHOPPERS = 200
# Each action with a product is a text of its own. These two are seldom in a session.
_ACTIONS = ("view", "buy", "add")


class Shoppers:
    """Requests at random; the same for the same seed.

    Args:
        sessions: with product ids; the service knows all of their products after `warm_up`.
        product_ids: of the whole catalogue.
        unseen: how many of 1 products are replaced by one that no request has named before.
    """

    def __init__(
        self, sessions: Sequence[Document], product_ids: Sequence[str], *, unseen: float = UNSEEN, seed: int = 0
    ) -> None:
        self._sessions = sessions
        self._random = np.random.default_rng(seed)
        self._unseen = unseen
        self._never_seen = self._interactions_not_in(sessions, product_ids)
        self._numbers = itertools.count()
        self._live = [self._events() for _ in range(_SHOPPERS)]

    def warm_up(self) -> list[Step]:
        """Each session once, as it is."""
        return [_whole_session(f"warm-{number}", one["interactions"]) for number, one in enumerate(self._sessions)]

    def whole_sessions(self, count: int) -> list[Step]:
        """Steps of one request that says all that the shopper did."""
        drawn = self._random.integers(len(self._sessions), size=count)
        return [
            _whole_session(f"whole-{next(self._numbers)}", map(self._seen_or_not, self._sessions[row]["interactions"]))
            for row in drawn
        ]

    def live_sessions(self, count: int) -> list[Step]:
        """Steps of two requests: the shopper's next event, then what to show; the shoppers take turns."""
        return [next(self._live[number % _SHOPPERS]) for number in range(count)]

    def _events(self) -> Iterator[Step]:
        """A shopper's steps through one session after the other."""
        while True:
            name = f"live-{next(self._numbers)}"
            session = self._sessions[int(self._random.integers(len(self._sessions)))]
            ask = _request(RECOMMEND, {"session_id": name, "k": _K})
            for number, interaction in enumerate(map(self._seen_or_not, session["interactions"])):
                event = {"session_id": name, "event_id": f"{name}-{number}", **interaction}
                yield _request(EVENTS, event), ask

    def _seen_or_not(self, interaction: Document) -> Document:
        if "product_id" not in interaction or self._random.random() >= self._unseen:
            return interaction
        return next(self._never_seen)

    def _interactions_not_in(self, sessions: Sequence[Document], product_ids: Sequence[str]) -> Iterator[Document]:
        seen = {(one["action"], one.get("product_id")) for session in sessions for one in session["interactions"]}
        shuffled = self._random.permutation(np.array(product_ids, dtype=object))
        for action in _ACTIONS:
            for name in shuffled:
                if (action, name) not in seen:
                    yield {"action": action, "product_id": name}
        raise RuntimeError("every product of the catalogue has been seen")


def _whole_session(name: str, interactions: Iterator[Document] | Sequence[Document]) -> Step:
    return (_request(RECOMMEND, {"session_id": name, "interactions": list(interactions), "k": _K}),)


def _request(path: str, document: Document) -> bytes:
    return post(path, msgspec.json.encode(document))
