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
        positions: [E] ascending, the interactions of `sessions` after which is asked; one or more per session.
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


def next_item_examples(
    part: TargetRange,
    is_product: BoolArray,
    rng: np.random.Generator | None = None,
    *,
    max_per_session: int = 1,
    allowed: BoolArray | None = None,
    repeats: bool = False,
) -> TaskExamples:
    """NIP: `([b_1], b_2), ([b_1, b_2], b_3), ...` where the target is a product that the prefix does not hold yet.

    Neither a removal from the cart nor the add that it takes back is a target.

    Every prefix holds a product, so that all models, with or without text, get the same examples.

    Args:
        is_product: [texts] whether a text row is a product.
        rng: draws at most `max_per_session` examples from a session, so that long sessions do not dominate the mean;
            None returns all of them.
        allowed: [texts] which rows may be targets.
        repeats: also take products that the prefix holds, as the paper does, unless one is the prefix's last product.
    """
    sessions, session_of = part.sessions, part.sessions.session_of()
    targets = _target_positions(part, is_product, allowed, repeats=repeats)
    if rng is not None:
        targets = _sample_per_group(session_of[targets], targets, max_per_session, rng)
    prefixes = sessions.slices(sessions.offsets[:-1][session_of[targets]], targets)
    return TaskExamples(prefixes, sessions.rows[targets].astype(np.int64))


def next_item_sequences(
    part: TargetRange,
    is_product: BoolArray,
    rng: np.random.Generator,
    *,
    limit: int = MAX_INTERACTIONS,
    allowed: BoolArray | None = None,
    repeats: bool = False,
) -> TargetSequences:
    """The examples of `next_item_examples` within a window of each session, for a causal encoder to read in one pass.

    A window has at most `limit` interactions and the one that follows them. In a longer session its start is drawn at
    random, so that long sessions do not dominate; it may then begin with searches alone.
    """
    sessions = part.sessions
    targets = _target_positions(part, is_product, allowed, repeats=repeats)
    spare = np.maximum(0, sessions.lengths - (limit + 1))
    starts = sessions.offsets[:-1] + rng.integers(0, spare + 1)
    stops = np.minimum(sessions.offsets[1:], starts + limit + 1)
    window = np.searchsorted(stops, targets, side="right")  # windows are in order: the first that ends after the target
    inside = targets > np.append(starts, sessions.rows.size)[window]
    targets, window = targets[inside], window[inside]
    used, which = np.unique(window, return_inverse=True)
    # The last interaction of a window is a target only, never input.
    windows = sessions.slices(starts[used], stops[used] - 1)
    positions = windows.offsets[:-1][which] + targets - 1 - starts[window]
    return TargetSequences(windows, positions, sessions.rows[targets].astype(np.int64))


def _target_positions(
    part: TargetRange, is_product: BoolArray, allowed: BoolArray | None, *, repeats: bool
) -> IntArray:
    """The interactions that may be targets, ascending."""
    sessions, session_of = part.sessions, part.sessions.session_of()
    position_in_session = np.arange(sessions.rows.size) - sessions.offsets[:-1][session_of]
    products = np.flatnonzero(is_product[sessions.rows])
    mask = np.zeros(sessions.rows.size, dtype=bool)
    select = _first_of_runs if repeats else _first_occurrences
    mask[select(session_of, sessions.rows, products)] = True
    # The first product of a session has no product before it.
    mask[products[np.unique(session_of[products], return_index=True)[1]]] = False
    mask &= (position_in_session >= np.asarray(part.first)[session_of]) & ~sessions.taken_back()
    if allowed is not None:
        mask &= allowed[sessions.rows]
    targets: IntArray = np.flatnonzero(mask)
    return targets


def _first_occurrences(session_of: IntArray, rows: IntArray, positions: IntArray) -> IntArray:
    """Of these positions, the first of each row in each session."""
    pairs = session_of[positions].astype(np.int64) << 32 | rows[positions].astype(np.int64)
    first: IntArray = positions[np.sort(np.unique(pairs, return_index=True)[1])]
    return first


def _first_of_runs(session_of: IntArray, rows: IntArray, positions: IntArray) -> IntArray:
    """Of these positions, those whose row differs from the one before in their session."""
    session, row = session_of[positions], rows[positions]
    starts = np.ones(positions.size, dtype=bool)
    starts[1:] = (session[1:] != session[:-1]) | (row[1:] != row[:-1])
    return positions[starts]


def _sample_per_group(groups: IntArray, values: IntArray, max_per_group: int, rng: np.random.Generator) -> IntArray:
    """At most `max_per_group` values of each group, drawn at random; in ascending order."""
    order = np.lexsort((rng.random(values.size), groups))
    group = groups[order]
    rank = np.arange(group.size) - np.searchsorted(group, group)
    sample: IntArray = np.sort(values[order][rank < max_per_group])
    return sample


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
