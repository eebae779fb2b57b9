"""The examples of next item prediction (paper 4.1.1): what is read, and which product follows.

Letters: S sessions, I interactions of all sessions end to end, E examples.
"""

from __future__ import annotations

import numpy as np

from ubm_embed.data.arrays import BoolArray, IntArray
from ubm_embed.data.batches.session_table import MAX_INTERACTIONS
from ubm_embed.data.tasks.examples import TargetRange, TargetSequences, TaskExamples


def next_item_examples(
    part: TargetRange,
    is_product: BoolArray,
    rng: np.random.Generator | None = None,
    *,
    max_per_session: int = 1,
    allowed: BoolArray | None = None,
    repeats: bool = False,
    searches: bool = False,
) -> TaskExamples:
    """NIP: `([b_1], b_2), ([b_1, b_2], b_3), ...` where the target is a product that the prefix does not hold yet.

    Neither a removal from the cart nor the add that it takes back is a target.

    Without `searches` every prefix holds a product, so that all models, with or without text, get the same examples.

    Args:
        is_product: [texts] whether a text row is a product.
        rng: draws at most `max_per_session` examples from a session, so that long sessions do not dominate the mean;
            None returns all of them.
        allowed: [texts] which rows may be targets.
        repeats: also take products that the prefix holds, as the paper does, unless one is the prefix's last product.
        searches: a prefix that ends in a search has each product up to the next search as a target, also if it holds no
            product: all of them are what the shopper looked for, and a search is often all that is known. With
            `repeats` that may be the prefix's last product, once another one came in between.
    """
    sessions, session_of = part.sessions, part.sessions.session_of()
    asked, targets = _asked(part, is_product, allowed, repeats=repeats, searches=searches)
    if rng is not None:
        sample = _sample_per_group(session_of[targets], np.arange(targets.size), max_per_session, rng)
        asked, targets = asked[sample], targets[sample]
    prefixes = sessions.slices(sessions.offsets[:-1][session_of[targets]], asked + 1)
    return TaskExamples(prefixes, sessions.rows[targets].astype(np.int64))


def next_item_sequences(
    part: TargetRange,
    is_product: BoolArray,
    rng: np.random.Generator,
    *,
    limit: int = MAX_INTERACTIONS,
    allowed: BoolArray | None = None,
    repeats: bool = False,
    searches: bool = False,
) -> TargetSequences:
    """The examples of `next_item_examples` within a window of each session, for a causal encoder to read in one pass.

    A window has at most `limit` interactions and the one that follows them. In a longer session its start is drawn at
    random, so that long sessions do not dominate; it may then begin with searches alone.
    """
    sessions = part.sessions
    asked, targets = _asked(part, is_product, allowed, repeats=repeats, searches=searches)
    spare = np.maximum(0, sessions.lengths - (limit + 1))
    starts = sessions.offsets[:-1] + rng.integers(0, spare + 1)
    stops = np.minimum(sessions.offsets[1:], starts + limit + 1)
    window = sessions.session_of()[targets]
    inside = (asked >= starts[window]) & (targets < stops[window])
    asked, targets, window = asked[inside], targets[inside], window[inside]
    used, which = np.unique(window, return_inverse=True)
    # The last interaction of a window is a target only, never input.
    windows = sessions.slices(starts[used], stops[used] - 1)
    positions = windows.offsets[:-1][which] + asked - starts[window]
    return TargetSequences(windows, positions, sessions.rows[targets].astype(np.int64))


def _asked(
    part: TargetRange, is_product: BoolArray, allowed: BoolArray | None, *, repeats: bool, searches: bool
) -> tuple[IntArray, IntArray]:
    """Interactions after which is asked [E], ascending, and their targets [E]."""
    rows, session_of = part.sessions.rows, part.sessions.session_of()
    starts, mask = part.sessions.offsets[:-1][session_of], _may_be_targets(part, is_product, allowed, repeats=repeats)
    # The first product of a session has no product before it.
    products = np.flatnonzero(is_product[rows])
    has_product = np.ones(rows.size, dtype=bool)
    has_product[products[np.unique(session_of[products], return_index=True)[1]]] = False
    targets = np.flatnonzero(mask & has_product)
    if not searches:
        return targets - 1, targets
    targets = targets[is_product[rows[targets - 1]]]  # those after a search are among the others
    latest = np.maximum.accumulate(np.where(is_product[rows], -1, np.arange(rows.size)))  # search, -1 before any
    found = np.flatnonzero(mask & (latest >= starts))
    asked, targets = np.concatenate([targets - 1, latest[found]]), np.concatenate([targets, found])
    order = np.lexsort((targets, asked))
    return asked[order], targets[order]


def _may_be_targets(part: TargetRange, is_product: BoolArray, allowed: BoolArray | None, *, repeats: bool) -> BoolArray:
    """Which interactions [I] are a product that is new in its session, or with `repeats` another than the last one."""
    sessions, session_of = part.sessions, part.sessions.session_of()
    mask = np.zeros(sessions.rows.size, dtype=bool)
    select = _first_of_runs if repeats else _first_occurrences
    mask[select(session_of, sessions.rows, np.flatnonzero(is_product[sessions.rows]))] = True
    position_in_session = np.arange(sessions.rows.size) - sessions.offsets[:-1][session_of]
    mask &= (position_in_session >= np.asarray(part.first)[session_of]) & ~sessions.taken_back()
    return mask if allowed is None else mask & allowed[sessions.rows]


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
