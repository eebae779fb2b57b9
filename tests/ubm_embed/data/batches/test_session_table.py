"""Sessions as flat arrays, against plain lists and loops."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.session_table import MAX_INTERACTIONS, SessionTable
from ubm_embed.data.removals import take_back
from ubm_embed.data.session import ACTIONS, Action, Interaction

SEARCH, VIEW, ADD, BUY, REMOVE = (action.code for action in Action)

# Text rows 0..3 are products, 4 and 5 search phrases. Few of each, so that runs and repeats are common.
IS_PRODUCT = np.arange(6) < 4
PRODUCTS = st.tuples(st.sampled_from([VIEW, ADD, BUY, BUY]), st.integers(0, 3))
SEARCHES = st.tuples(st.just(SEARCH), st.integers(4, 5))
REMOVALS = st.tuples(st.just(REMOVE), st.integers(0, 3))
SESSIONS = st.lists(st.lists(PRODUCTS | SEARCHES, max_size=8), max_size=6)


def interaction(action, row):
    name = {"query": str(row)} if action == SEARCH else {"product_id": str(row)}
    return Interaction(ACTIONS[action], **name)


def pair_of(one):
    return one.action.code, int(one.query or one.product_id)


def table(sessions):
    flat = [pair for session in sessions for pair in session]
    actions = np.array([action for action, _ in flat], dtype=np.uint8)
    rows = np.array([row for _, row in flat], dtype=np.int32)
    return SessionTable(actions, rows, np.cumsum([0, *map(len, sessions)]))


def listed(sessions):
    bounds = zip(sessions.offsets[:-1], sessions.offsets[1:], strict=True)
    pairs = list(zip(sessions.actions.tolist(), sessions.rows.tolist(), strict=True))
    assert len(pairs) == sessions.offsets[-1]
    return [pairs[start:stop] for start, stop in bounds]


class TestSelections:
    @given(sessions=SESSIONS, chosen=st.lists(st.integers(0, 5), max_size=8))
    def test_take_is_these_sessions_in_this_order(self, sessions, chosen):
        chosen = [index for index in chosen if index < len(sessions)]
        taken = table(sessions).take(np.array(chosen, dtype=np.int64))
        assert listed(taken) == [sessions[index] for index in chosen]
        assert len(taken) == len(chosen)

    @given(sessions=SESSIONS, cuts=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=6))
    def test_slices_are_runs_of_the_interactions(self, sessions, cuts):
        flat = [pair for session in sessions for pair in session]
        runs = [sorted(min(place, len(flat)) for place in cut) for cut in cuts]
        starts, stops = (np.array([run[end] for run in runs], dtype=np.int64) for end in (0, 1))
        assert listed(table(sessions).slices(starts, stops)) == [flat[start:stop] for start, stop in runs]

    @given(sessions=SESSIONS, limit=st.integers(1, 9))
    def test_last_keeps_the_end_of_each_session(self, sessions, limit):
        assert listed(table(sessions).last(limit)) == [session[-limit:] for session in sessions]

    @given(st.lists(st.lists(PRODUCTS | SEARCHES | REMOVALS, max_size=12), max_size=6))
    def test_take_back_is_that_of_sessions(self, sessions):
        expected = [
            [pair_of(one) for one in take_back([interaction(*pair) for pair in session])] for session in sessions
        ]
        assert listed(table(sessions).take_back()) == expected
        left = [pair for session in expected for pair in session]
        taken = table(sessions).taken_back()
        assert [pair for pair, gone in zip(itertools.chain(*sessions), taken, strict=True) if not gone] == left

    @given(SESSIONS)
    def test_session_of_says_where_each_interaction_is(self, sessions):
        expected = [number for number, session in enumerate(sessions) for _ in session]
        assert table(sessions).session_of().tolist() == expected
        assert table(sessions).lengths.tolist() == [len(session) for session in sessions]

    def test_types_stay_small(self):
        taken = table([[(VIEW, 0), (ADD, 1)]]).take(np.array([0, 0])).last(1)
        assert (taken.actions.dtype, taken.rows.dtype, taken.offsets.dtype) == (np.uint8, np.int32, np.int64)


def segments_by_walking(sessions, purchases_only, limit):
    """The rule, one interaction after the other: a segment ends where a run of purchases or the session ends."""
    segments = []
    for session in sessions:
        segment = []
        for place, (action, row) in enumerate(session):
            segment.append((action, row))
            over = place + 1 == len(session)
            bought = action == BUY
            if over or (bought and session[place + 1][0] != BUY):
                if bought or not purchases_only:
                    segments.append(segment[-limit:])
                segment = []
    return segments


class TestPurchaseSegments:
    @given(sessions=SESSIONS, purchases_only=st.booleans(), limit=st.integers(1, 9))
    def test_is_each_purchase_traced_back_to_the_one_before(self, sessions, purchases_only, limit):
        result = table(sessions).purchase_segments(purchases_only=purchases_only, limit=limit)
        assert listed(result) == segments_by_walking(sessions, purchases_only, limit)

    def test_a_hand_made_session(self):
        a, cart, b, rest = [(VIEW, 0), (ADD, 0)], [(BUY, 0), (BUY, 1)], [(SEARCH, 4), (VIEW, 2), (BUY, 2)], [(VIEW, 3)]
        sessions = table([a + cart + b + rest, [(VIEW, 1)]])
        assert listed(sessions.purchase_segments(purchases_only=False)) == [a + cart, b, rest, [(VIEW, 1)]]
        assert listed(sessions.purchase_segments(purchases_only=True)) == [a + cart, b]

    def test_at_most_32_interactions_as_in_the_paper(self):
        session = [(VIEW, row % 4) for row in range(40)] + [(BUY, 0)]
        assert MAX_INTERACTIONS == 32
        assert listed(table([session]).purchase_segments(purchases_only=True)) == [session[-32:]]

    def test_a_purchase_at_a_session_s_end_and_one_at_the_next_s_start_are_two(self):
        sessions = table([[(VIEW, 0), (BUY, 0)], [(BUY, 1), (VIEW, 2)]])
        assert listed(sessions.purchase_segments(purchases_only=True)) == [[(VIEW, 0), (BUY, 0)], [(BUY, 1)]]

    @pytest.mark.parametrize("purchases_only", [True, False])
    def test_no_sessions_have_no_segments(self, purchases_only):
        assert len(table([]).purchase_segments(purchases_only=purchases_only)) == 0


def pairs_by_walking(sessions):
    """(place, place of the next different product of the session), searches being passed over."""
    pairs, first_place = [], 0
    for session in sessions:
        runs = []
        for place, (_, row) in enumerate(session, start=first_place):
            if IS_PRODUCT[row] and (not runs or runs[-1][1] != row):
                runs.append((place, row))
        pairs += [(place, following) for (place, _), (following, _) in itertools.pairwise(runs)]
        first_place += len(session)
    return pairs


class TestNextItemPairs:
    @given(sessions=SESSIONS)
    def test_are_neighbouring_products_of_a_session(self, sessions):
        first, second = table(sessions).next_item_pairs(IS_PRODUCT)
        assert list(zip(first.tolist(), second.tolist(), strict=True)) == pairs_by_walking(sessions)

    def test_what_was_taken_back_pairs_with_nothing(self):
        session = [(VIEW, 0), (ADD, 1), (VIEW, 2), (REMOVE, 1), (VIEW, 1), (REMOVE, 3), (VIEW, 0)]
        first, second = table([session]).next_item_pairs(IS_PRODUCT)
        assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 2), (2, 4), (4, 6)]

    def test_a_hand_made_session(self):
        session = [(VIEW, 0), (SEARCH, 4), (ADD, 0), (VIEW, 1), (VIEW, 0), (SEARCH, 5)]
        first, second = table([session, [(VIEW, 2)], [(VIEW, 3), (BUY, 1)]]).next_item_pairs(IS_PRODUCT)
        assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 3), (3, 4), (7, 8)]
