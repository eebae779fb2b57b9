"""The examples of each task (paper 4.1.1): the next product, whether a purchase follows, how many interactions follow.

Letters: S sessions, I interactions of all sessions end to end, E examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, IntArray, ragged_index
from ubm_embed.data.batches.session_table import MAX_INTERACTIONS, SessionTable
from ubm_embed.data.session import Action
from ubm_embed.data.tasks.task import MIN_INTERACTIONS


@dataclass(frozen=True)
class TaskExamples:
    """E examples: the prefix of a session, and a target taken from the hidden rest.

    Attributes:
        prefixes: E sessions.
        targets: [E], the next product's text row (NIP, int64), whether a purchase follows (PIP, bool) or how many
            interactions follow (RLP, int64).
    """

    prefixes: SessionTable
    targets: NDArray[Any]

    def __len__(self) -> int:
        return self.targets.size

    def take(self, indices: IntArray) -> TaskExamples:
        """The examples at these indices ([K], repeats allowed), in this order."""
        return TaskExamples(self.prefixes.take(indices), self.targets[indices])


@dataclass(frozen=True)
class TargetSequences:
    """S sessions with something to predict at several positions of each.

    Attributes:
        sessions: S sessions.
        positions: [E] ascending, the interactions of `sessions` after which is asked, one or more per session; one
            stands there several times if it has several targets.
        targets: [E], as in `TaskExamples`.
    """

    sessions: SessionTable
    positions: IntArray
    targets: NDArray[Any]

    def __len__(self) -> int:
        return len(self.sessions)

    def take(self, indices: IntArray) -> TargetSequences:
        """The sequences at these indices ([K], each at most once), in this order."""
        bounds = np.searchsorted(self.positions, self.sessions.offsets)
        firsts, counts = bounds[:-1][indices], np.diff(bounds)[indices]
        taken = ragged_index(firsts, counts)
        sessions = self.sessions.take(indices)
        shifts = sessions.offsets[:-1] - self.sessions.offsets[:-1][indices]
        return TargetSequences(sessions, self.positions[taken] + np.repeat(shifts, counts), self.targets[taken])

    @property
    def examples(self) -> TaskExamples:
        """The same E targets, each with a prefix of its own."""
        starts = self.sessions.offsets[self.sessions.session_of()[self.positions]]
        return TaskExamples(self.sessions.slices(starts, self.positions + 1), self.targets)


@dataclass(frozen=True)
class TargetRange:
    """Sessions, and the first position in each that may be a target.

    Attributes:
        sessions: S sessions.
        first: [S] that position, counted from the start of the session.
    """

    sessions: SessionTable
    first: IntArray

    @classmethod
    def whole(cls, sessions: SessionTable) -> TargetRange:
        """Everything after the first interaction of each session."""
        return cls(sessions, np.ones(len(sessions), dtype=np.int64))


def purchase_examples(
    sessions: SessionTable, rng: np.random.Generator, *, min_interactions: int = MIN_INTERACTIONS
) -> TaskExamples:
    """PIP: does a purchase follow, in a session cut at random? One example per session.

    The prefix has at least `min_interactions` interactions, none of them a purchase, and at least one interaction
    follows it. Both classes are cut alike, so that the length of a prefix does not give its class away.
    """
    latest, with_purchase = _before_purchase(sessions)
    return _cut(sessions, rng, min_interactions, latest, with_purchase)


def purchase_sequences(
    sessions: SessionTable,
    rng: np.random.Generator,
    *,
    min_interactions: int = MIN_INTERACTIONS,
    limit: int = MAX_INTERACTIONS,
) -> TargetSequences:
    """All prefixes of `purchase_examples` at once, for a causal encoder to read in one pass.

    A session is cut after its last one. Of a longer session than `limit`, the end is drawn at random, and only the
    prefixes within its last `limit` interactions are asked about, so that long sessions do not dominate.
    """
    latest, with_purchase = _before_purchase(sessions)
    return _all_cuts(sessions, rng, min_interactions, latest, with_purchase, limit)


def remaining_length_examples(
    sessions: SessionTable,
    rng: np.random.Generator,
    *,
    min_interactions: int = MIN_INTERACTIONS,
    limit: int = MAX_INTERACTIONS,
) -> TaskExamples:
    """RLP: how many interactions follow, in a session cut at random before its `limit`-th? One example per session.

    Interactions are those that the model reads: a model without a token for removals counts neither them nor the adds
    that they take back.

    The prefix has at least `min_interactions` interactions, and at least one follows it.
    """
    latest = np.minimum(sessions.lengths - 1, limit - 1)
    examples = _cut(sessions, rng, min_interactions, latest, sessions.lengths)
    return TaskExamples(examples.prefixes, examples.targets - examples.prefixes.lengths)


def remaining_length_sequences(
    sessions: SessionTable,
    rng: np.random.Generator,
    *,
    min_interactions: int = MIN_INTERACTIONS,
    limit: int = MAX_INTERACTIONS,
) -> TargetSequences:
    """All prefixes of `remaining_length_examples` at once, as `purchase_sequences`."""
    latest = np.minimum(sessions.lengths - 1, MAX_INTERACTIONS - 1)
    sequences = _all_cuts(sessions, rng, min_interactions, latest, sessions.lengths, limit)
    starts = sequences.sessions.offsets[sequences.sessions.session_of()[sequences.positions]]
    left = sequences.targets - (sequences.positions + 1 - starts)
    return TargetSequences(sequences.sessions, sequences.positions, left)


def _before_purchase(sessions: SessionTable) -> tuple[IntArray, BoolArray]:
    """[S] the longest prefix before a purchase, or before the last interaction, and [S] whether there is a purchase."""
    bought = np.flatnonzero(sessions.actions == Action.BUY.code)
    first_buy = sessions.lengths.copy()
    owners = sessions.session_of()[bought]
    np.minimum.at(first_buy, owners, bought - sessions.offsets[owners])
    with_purchase = first_buy < sessions.lengths
    return np.where(with_purchase, first_buy, sessions.lengths - 1), with_purchase


def _cut(
    sessions: SessionTable, rng: np.random.Generator, earliest: int, latest: IntArray, targets: NDArray[Any]
) -> TaskExamples:
    """Sessions cut after `earliest` to `latest` [S] interactions, without those that have no such cut."""
    draws = rng.random(len(sessions))  # one per session, long enough or not: so no session shifts another's draw
    long_enough = np.flatnonzero(latest >= earliest)
    lengths = earliest + (draws[long_enough] * (latest[long_enough] - earliest + 1)).astype(np.int64)
    starts = sessions.offsets[long_enough]
    return TaskExamples(sessions.slices(starts, starts + lengths), targets[long_enough])


def _all_cuts(
    sessions: SessionTable,
    rng: np.random.Generator,
    earliest: int,
    latest: IntArray,
    targets: NDArray[Any],
    limit: int,
) -> TargetSequences:
    """Sessions asked after each of `earliest` to `latest` [S] interactions, as far as these are within `limit`."""
    ends = latest - rng.integers(0, np.maximum(latest - max(limit, earliest), 0) + 1)
    long_enough = np.flatnonzero(latest >= earliest)
    ends, starts = ends[long_enough], sessions.offsets[long_enough]
    prefixes = sessions.slices(starts, starts + ends)
    first = np.maximum(earliest, ends - limit + 1)
    counts = ends - first + 1
    positions = ragged_index(prefixes.offsets[:-1] + first - 1, counts)
    return TargetSequences(prefixes, positions, np.repeat(targets[long_enough], counts))
