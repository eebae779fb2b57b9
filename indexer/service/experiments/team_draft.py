"""Team-draft interleaving (Radlinski, Kurup and Joachims 2008): one list of two, so that clicks decide between them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from indexer.search.answer import Match


@dataclass(frozen=True, slots=True)
class Drafted:
    """One list out of two.

    Attributes:
        matches: with their ranks in this list.
        teams: 0 or 1, the list that each match was drafted from.
    """

    matches: tuple[Match, ...]
    teams: tuple[int, ...]


def team_draft(first: Sequence[Match], second: Sequence[Match], k: int, seed: str) -> Drafted:
    """At most `k` matches of two lists, each product once.

    In each round both lists give their best match that is not there yet, and a coin says which is first: so two lists
    that are equally good get the same clicks on average. When one list ends, the rest of the other follows.

    Args:
        seed: the same one gives the same coins; the id of the answer.
    """
    picks = [
        (replace(match, rank=rank), team)
        for rank, (match, team) in enumerate(islice(_picks(first, second, seed), k), 1)
    ]
    return Drafted(tuple(match for match, _ in picks), tuple(team for _, team in picks))


def _picks(first: Sequence[Match], second: Sequence[Match], seed: str) -> Iterator[tuple[Match, int]]:
    coin, taken = random.Random(seed), set[str]()
    lists = iter(first), iter(second)
    while True:
        before = len(taken)
        for team in (0, 1) if coin.getrandbits(1) else (1, 0):
            match = next((match for match in lists[team] if match.product_id not in taken), None)
            if match is not None:
                taken.add(match.product_id)
                yield match, team
        if len(taken) == before:
            return
