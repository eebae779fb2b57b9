"""The baselines on sessions small enough to count by hand."""

import numpy as np
import pytest

from ubm_embed.data.session_table import SessionTable
from ubm_embed.evaluation.baselines import CoOccurrence, Popularity, seen_products

PRODUCTS = 4
PHRASE = 4  # a text row after the products


def table(*sessions):
    rows = np.array([row for session in sessions for row in session], dtype=np.int32)
    return SessionTable(np.ones(rows.size, np.uint8), rows, np.cumsum([0, *map(len, sessions)]))


# Product 0 stands in three sessions, 1 in two, 2 in one, 3 in none; twice in a session counts once.
TRAINING = table([0, 1, 0, PHRASE], [1, 0], [0, 2, PHRASE, PHRASE])
ASKED = table([1], [2, PHRASE], [0, 1], [3], [PHRASE])


def test_popularity_counts_sessions_whatever_is_asked():
    scores = Popularity.fit(TRAINING, PRODUCTS).scores(ASKED)
    assert scores.tolist() == [[3, 2, 1, 0]] * 5


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


def test_seen_products_are_those_of_the_session():
    seen = seen_products(table([0, 0, 2], [PHRASE], []), PRODUCTS)
    assert seen.tolist() == [[True, False, True, False], [False] * 4, [False] * 4]


def test_no_training_sessions_score_nothing():
    for scorer in (Popularity, CoOccurrence):
        assert scorer.fit(table(), PRODUCTS).scores(ASKED).tolist() == [[0] * PRODUCTS] * 5
