"""A session's candidates are the weighted sum of the rows of its products."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.counts.counting import count_transitions
from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.counts.session_counts import SessionCounts
from ubm_embed.data.batches.session_table import SessionTable

PRODUCTS = 6
SESSION = st.lists(st.integers(0, PRODUCTS - 1), max_size=12)


def table(sessions):
    rows = np.array([row for session in sessions for row in session], dtype=np.int32)
    return SessionTable(np.ones(rows.size, np.uint8), rows, np.cumsum([0, *map(len, sessions)]))


@given(sessions=st.lists(SESSION, max_size=6), prefix=SESSION)
def test_candidates_of_one_session_are_those_of_many_at_once(sessions, prefix):
    counts = SessionCounts.fit(table(sessions), PRODUCTS)
    recent = np.array(prefix[-counts.weights.max_recent :], dtype=np.int64)
    positions, sums = counts.transitions.candidates(recent, counts.weights.recency(recent.size))
    expected = counts.sums(table([prefix])).toarray()[0]
    assert positions.tolist() == np.flatnonzero(expected).tolist()
    assert sums == pytest.approx(expected[positions], rel=1e-5)
    bonus = counts.weights.bonus(sums, counts.seen[positions])
    assert bonus == pytest.approx(counts.bonus(table([prefix])).toarray()[0][positions], rel=1e-5)


@given(sessions=st.lists(SESSION, max_size=6), recent=SESSION)
def test_a_candidate_is_made_of_what_each_product_adds(sessions, recent):
    counts = count_transitions(table(sessions), PRODUCTS)
    weights = CountWeights().recency(len(recent))
    positions, sums = counts.candidates(np.array(recent, dtype=np.int64), weights)
    for position, total in zip(positions, sums, strict=True):
        parts = counts.between(np.array(recent, dtype=np.int64), int(position))
        assert parts @ weights == pytest.approx(total, rel=1e-5)
    for absent in set(range(PRODUCTS)) - set(positions.tolist()):
        assert not counts.between(np.array(recent, dtype=np.int64), absent).any()


def test_half_precision_is_summed_in_single():
    counts = count_transitions(table([[0, 1], [2, 1]]), PRODUCTS)
    half = type(counts)(counts.offsets, counts.neighbours, counts.values.astype(np.float16))
    _, sums = half.candidates(np.array([0, 2]), np.ones(2, np.float32))
    assert sums.dtype == np.float32
    assert sums == pytest.approx(counts.candidates(np.array([0, 2]), np.ones(2, np.float32))[1], rel=1e-3)
