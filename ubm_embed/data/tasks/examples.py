"""What is asked of a session (paper 4.1.1): its next product, whether it comes to a purchase, how much is to come.

Letters: S sessions, I interactions of all of them, E examples.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, IntArray, ragged_index
from ubm_embed.data.batches.session_table import MAX_INTERACTIONS, SessionTable
from ubm_embed.data.session import Action

# Shorter inputs say too little of where a session goes (4.1.1).
LEAST_INTERACTIONS = 5


class Task(enum.StrEnum):
    """The three downstream tasks (3.4)."""

    NIP = "nip"
    PIP = "pip"
    RLP = "rlp"


@dataclass(frozen=True)
class Examples:
    """E questions: the beginning of a session, and what is asked of the rest, which is hidden.

    Attributes:
        prefixes: E sessions.
        targets: [E], the next product's text row (NIP, int64), whether a purchase follows (PIP, bool) or how many
            interactions follow (RLP, int64).
    """

    prefixes: SessionTable
    targets: NDArray[Any]

    def __len__(self) -> int:
        return self.targets.size

    def take(self, chosen: IntArray) -> Examples:
        """These examples ([K] indices, repeats allowed), in this order."""
        return Examples(self.prefixes.take(chosen), self.targets[chosen])


@dataclass(frozen=True)
class Walks:
    """S sessions, each asked for its next product at several places at once.

    Attributes:
        sessions: S sessions.
        places: [E] ascending, the interactions of `sessions` after which is asked; each session has one or more.
        targets: [E] int64, the next product's text row.
    """

    sessions: SessionTable
    places: IntArray
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sessions)

    def take(self, chosen: IntArray) -> Walks:
        """The walks of these sessions ([K] indices, each once), in this order."""
        bounds = np.searchsorted(self.places, self.sessions.offsets)
        firsts, counts = bounds[:-1][chosen], np.diff(bounds)[chosen]
        asked = ragged_index(firsts, counts)
        sessions = self.sessions.take(chosen)
        shifts = sessions.offsets[:-1] - self.sessions.offsets[:-1][chosen]
        return Walks(sessions, self.places[asked] + np.repeat(shifts, counts), self.targets[asked])

    @property
    def examples(self) -> Examples:
        """The same E questions, one by one."""
        begins = self.sessions.offsets[self.sessions.session_of()[self.places]]
        return Examples(self.sessions.slices(begins, self.places + 1), self.targets)


@dataclass(frozen=True)
class Asked:
    """Sessions, and where in each of them a question may be asked.

    Attributes:
        sessions: S sessions.
        first: [S] the first place whose interaction may be the answer, counted from the session's begin.
    """

    sessions: SessionTable
    first: IntArray

    @classmethod
    def whole(cls, sessions: SessionTable) -> Asked:
        """Anywhere after the first interaction."""
        return cls(sessions, np.ones(len(sessions), dtype=np.int64))


def next_item_examples(
    asked: Asked,
    is_product: BoolArray,
    rng: np.random.Generator | None = None,
    *,
    most: int = 1,
    known: BoolArray | None = None,
    repeats: bool = False,
) -> Examples:
    """NIP: `([b_1], b_2), ([b_1, b_2], b_3), ...` where the answer is a product that the prefix does not hold yet.

    Every prefix holds a product, so that all models are asked the same questions.

    Args:
        is_product: [texts] whether a text row is a product.
        rng: draws at most `most` questions a session, so that long sessions do not rule the mean; without it all are
            asked.
        known: [texts] which rows may be answers.
        repeats: also ask for products that the prefix holds, as the paper does, unless it is the last product there.
    """
    sessions, session_of = asked.sessions, asked.sessions.session_of()
    answers = _next_items(asked, is_product, known, repeats=repeats)
    if rng is not None:
        answers = _some_of_each(session_of[answers], answers, most, rng)
    prefixes = sessions.slices(sessions.offsets[:-1][session_of[answers]], answers)
    return Examples(prefixes, sessions.rows[answers].astype(np.int64))


def next_item_walks(
    asked: Asked,
    is_product: BoolArray,
    rng: np.random.Generator,
    *,
    limit: int = MAX_INTERACTIONS,
    known: BoolArray | None = None,
    repeats: bool = False,
) -> Walks:
    """The questions of `next_item_examples` in a run of each session, which a causal encoder answers in one pass.

    A run has at most `limit` interactions and the one that follows them; of a longer session it is drawn, so that long
    sessions do not rule, and may then begin with searches alone.
    """
    sessions = asked.sessions
    answers = _next_items(asked, is_product, known, repeats=repeats)
    spare = np.maximum(0, sessions.lengths - (limit + 1))
    starts = sessions.offsets[:-1] + rng.integers(0, spare + 1)
    stops = np.minimum(sessions.offsets[1:], starts + limit + 1)
    inside = np.searchsorted(stops, answers, side="right")  # runs lie in order: the first that ends after the answer
    fits = answers > np.append(starts, sessions.rows.size)[inside]
    answers, inside = answers[fits], inside[fits]
    read, which = np.unique(inside, return_inverse=True)
    # What comes last is an answer and nothing else.
    runs = sessions.slices(starts[read], stops[read] - 1)
    places = runs.offsets[:-1][which] + answers - 1 - starts[inside]
    return Walks(runs, places, sessions.rows[answers].astype(np.int64))


def _next_items(asked: Asked, is_product: BoolArray, known: BoolArray | None, *, repeats: bool) -> IntArray:
    """The places that may be answers, ascending."""
    sessions, session_of = asked.sessions, asked.sessions.session_of()
    place_in_session = np.arange(sessions.rows.size) - sessions.offsets[:-1][session_of]
    products = np.flatnonzero(is_product[sessions.rows])
    may = np.zeros(sessions.rows.size, dtype=bool)
    asked_for = _first_of_runs if repeats else _firsts
    may[asked_for(session_of, sessions.rows, products)] = True
    # The first product of a session has no product before it.
    may[products[np.unique(session_of[products], return_index=True)[1]]] = False
    may &= place_in_session >= np.asarray(asked.first)[session_of]
    if known is not None:
        may &= known[sessions.rows]
    answers: IntArray = np.flatnonzero(may)
    return answers


def _firsts(session_of: IntArray, rows: IntArray, places: IntArray) -> IntArray:
    """Of these places, the first of each row in each session."""
    pairs = session_of[places].astype(np.int64) << 32 | rows[places].astype(np.int64)
    first: IntArray = places[np.sort(np.unique(pairs, return_index=True)[1])]
    return first


def _first_of_runs(session_of: IntArray, rows: IntArray, places: IntArray) -> IntArray:
    """Of these places, those whose row is not that of the place before in their session."""
    session, row = session_of[places], rows[places]
    starts = np.ones(places.size, dtype=bool)
    starts[1:] = (session[1:] != session[:-1]) | (row[1:] != row[:-1])
    return places[starts]


def _some_of_each(groups: IntArray, values: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    """At most `most` values of each group, drawn at random; in ascending order."""
    order = np.lexsort((rng.random(values.size), groups))
    group = groups[order]
    place = np.arange(group.size) - np.searchsorted(group, group)
    chosen: IntArray = np.sort(values[order][place < most])
    return chosen


def purchase_examples(sessions: SessionTable, rng: np.random.Generator, *, least: int = LEAST_INTERACTIONS) -> Examples:
    """PIP: will this session, cut at random, come to a purchase? One question a session.

    The prefix has at least `least` interactions, none of them a purchase, and something follows it, with a purchase
    or without: what the length of a session says of its end is the same for both classes.
    """
    buys = sessions.actions == Action.BUY.code
    bought = np.flatnonzero(buys)
    first_buy = sessions.lengths.copy()
    owners = sessions.session_of()[bought]
    np.minimum.at(first_buy, owners, bought - sessions.offsets[owners])
    with_purchase = first_buy < sessions.lengths
    # At the latest the purchase itself is what follows; without one, the last interaction.
    latest = np.where(with_purchase, first_buy, sessions.lengths - 1)
    return _cut(sessions, rng, least, latest, with_purchase)


def remaining_length_examples(
    sessions: SessionTable,
    rng: np.random.Generator,
    *,
    least: int = LEAST_INTERACTIONS,
    limit: int = MAX_INTERACTIONS,
) -> Examples:
    """RLP: how many interactions follow, of a session cut at random before its `limit`-th? One question a session.

    The prefix has at least `least` interactions, and at least one follows it.
    """
    latest = np.minimum(sessions.lengths - 1, limit - 1)
    examples = _cut(sessions, rng, least, latest, sessions.lengths)
    return Examples(examples.prefixes, examples.targets - examples.prefixes.lengths)


def _cut(
    sessions: SessionTable, rng: np.random.Generator, least: int, latest: IntArray, targets: NDArray[Any]
) -> Examples:
    """Sessions cut after `least` to `latest` [S] interactions, those left out where that is none."""
    draws = rng.random(len(sessions))  # one for every session: which of them are long enough does not shift the others
    fits = np.flatnonzero(latest >= least)
    lengths = least + (draws[fits] * (latest[fits] - least + 1)).astype(np.int64)
    starts = sessions.offsets[fits]
    return Examples(sessions.slices(starts, starts + lengths), targets[fits])
