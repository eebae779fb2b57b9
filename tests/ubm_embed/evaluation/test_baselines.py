"""The baselines on sessions small enough to count by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.session import Action
from ubm_embed.evaluation.baselines import (
    CoOccurrence,
    DirectionalCounts,
    Popularity,
    RecentCoOccurrence,
    seen_products,
)

PRODUCTS = 4
PHRASE = 4  # a text row after the products

# Sums of fewer than a hundred terms of float32.
ROUNDING = 100 * float(np.finfo(np.float32).eps)


def table(*sessions):
    rows = np.array([row for session in sessions for row in session], dtype=np.int32)
    return SessionTable(np.ones(rows.size, np.uint8), rows, np.cumsum([0, *map(len, sessions)]))


# Product 0 stands in three sessions, 1 in two, 2 in one, 3 in none; twice in a session counts once.
TRAINING = table([0, 1, 0, PHRASE], [1, 0], [0, 2, PHRASE, PHRASE])
ASKED = table([1], [2, PHRASE], [0, 1], [3], [PHRASE])


def test_popularity_counts_sessions_and_ignores_the_prefix():
    scores = Popularity.fit(TRAINING, PRODUCTS).scores(ASKED)
    assert scores.tolist() == [[3, 2, 1, 0]] * 5


def test_what_was_taken_back_out_of_the_cart_counts_nowhere_but_was_seen():
    add, remove = Action.ADD.code, Action.REMOVE.code
    sessions = SessionTable(np.array([1, add, remove, 1], np.uint8), np.array([0, 3, 3, 1], np.int32), np.array([0, 4]))
    assert Popularity.fit(sessions, PRODUCTS).counts.tolist() == [1, 1, 0, 0]
    assert np.flatnonzero(seen_products(sessions, PRODUCTS)).tolist() == [0, 1, 3]
    for baseline in (CoOccurrence, RecentCoOccurrence):
        counted = baseline.fit(sessions, PRODUCTS)
        assert counted.similarity.toarray() == pytest.approx(baseline.fit(table([0, 1]), PRODUCTS).similarity.toarray())
        alone = SessionTable(sessions.actions[1:3], sessions.rows[1:3], np.array([0, 2]))
        assert not baseline.fit(TRAINING, PRODUCTS).scores(alone).any()


def test_co_occurrence_is_shared_sessions_over_the_root_of_both_counts():
    scores = CoOccurrence.fit(TRAINING, PRODUCTS).scores(ASKED)
    with_0_and_1, with_0_and_2 = 2 / np.sqrt(3 * 2), 1 / np.sqrt(3 * 1)
    expected = [
        [with_0_and_1, 0, 0, 0],
        [with_0_and_2, 0, 0, 0],
        [with_0_and_1, with_0_and_1, with_0_and_2, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    assert scores == pytest.approx(np.array(expected))


def test_co_occurrence_is_symmetric_and_no_product_is_its_own_neighbour():
    similarity = CoOccurrence.fit(TRAINING, PRODUCTS).similarity.toarray()
    assert np.array_equal(similarity, similarity.T)
    assert np.diag(similarity).tolist() == [0] * PRODUCTS


def test_recent_co_occurrence_adds_up_nearness_and_halves_with_every_step_back():
    scores = RecentCoOccurrence.fit(TRAINING, PRODUCTS).scores(ASKED)
    # 0 and 1 stand side by side three times; the two 0s of the first session are no pair; phrases take no place.
    with_0_and_1, with_0_and_2 = 3 / np.sqrt(3 * 2), 1 / np.sqrt(3 * 1)
    expected = [
        [with_0_and_1, 0, 0, 0],
        [with_0_and_2, 0, 0, 0],
        [with_0_and_1, 0.5 * with_0_and_1, 0.5 * with_0_and_2, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    assert scores == pytest.approx(np.array(expected))


def nearness(sessions):
    """[PRODUCTS, PRODUCTS], pair by pair."""
    near, counts = np.zeros((PRODUCTS, PRODUCTS)), np.zeros(PRODUCTS)
    for session in sessions:
        products = [row for row in session if row < PRODUCTS]
        for product in set(products):
            counts[product] += 1
        for place, one in enumerate(products):
            for other_place, other in enumerate(products):
                if one != other and abs(place - other_place) <= 10:
                    near[one, other] += 1 / abs(place - other_place)
    return near / np.sqrt(np.outer(counts, counts).clip(min=1))


def recency_scores(session, similarity):
    """[PRODUCTS], the last product first."""
    scores = np.zeros(PRODUCTS)
    for steps_back, product in enumerate([row for row in session if row < PRODUCTS][::-1][:8]):
        scores += 0.5**steps_back * similarity[product]
    return scores


LONG_SESSIONS = st.lists(st.lists(st.integers(0, PHRASE + 1), max_size=16), max_size=6)


@given(training=LONG_SESSIONS, prefixes=LONG_SESSIONS)
def test_recent_co_occurrence_is_what_loops_count(training, prefixes):
    fitted, expected = RecentCoOccurrence.fit(table(*training), PRODUCTS), nearness(training)
    assert fitted.similarity.toarray() == pytest.approx(expected, rel=ROUNDING)
    scores = fitted.scores(table(*prefixes))
    assert (scores.dtype, scores.shape) == (np.float32, (len(prefixes), PRODUCTS))
    for session, row in zip(prefixes, scores, strict=True):
        assert row == pytest.approx(recency_scores(session, expected), rel=ROUNDING)


def test_pairs_up_to_10_positions_apart_and_the_last_8_products_count():
    far = [0, *[1] * 9, 2, 3]  # 0 is 10 places before 2, and 11 before 3
    fitted = RecentCoOccurrence.fit(table(far), PRODUCTS)
    assert fitted.similarity.toarray()[0, 2:] == pytest.approx([0.1, 0])
    eighth, ninth, without = fitted.scores(table([0, *[3] * 7], [0, *[3] * 8], [3] * 8))
    gained = 0.5**7 * (fitted.similarity[0, 1] - fitted.similarity[3, 1])
    assert eighth[1] - without[1] == pytest.approx(gained, abs=ROUNDING)
    assert ninth.tolist() == without.tolist()


def test_directional_counts_score_what_came_after_the_last_products_of_a_session():
    scores = DirectionalCounts.fit(table(*[[0, 1, 2]] * 3), PRODUCTS).scores(table([0], [1], [0, 1]))
    assert np.argmax(scores, axis=1).tolist() == [1, 2, 2]
    assert scores[1, 0] > 0 == scores[1, 3]  # what came before counts less, and not nothing


def test_seen_products_are_those_of_the_session():
    seen = seen_products(table([0, 0, 2], [PHRASE], []), PRODUCTS)
    assert seen.tolist() == [[True, False, True, False], [False] * 4, [False] * 4]


def test_no_training_sessions_score_nothing():
    for scorer in (Popularity, CoOccurrence, RecentCoOccurrence, DirectionalCounts):
        assert scorer.fit(table(), PRODUCTS).scores(ASKED).tolist() == [[0] * PRODUCTS] * 5
