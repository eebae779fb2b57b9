"""VMIS-kNN against the algorithm of the paper, written as loops over one session at a time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.evaluation import session_neighbours
from ubm_embed.evaluation.session_neighbours import SessionNeighbours

PRODUCTS = 6
PHRASE = 6  # a text row after the products

SESSIONS = st.lists(st.lists(st.integers(0, PHRASE), max_size=12), max_size=8)


def table(sessions):
    rows = np.array([row for session in sessions for row in session], dtype=np.int32)
    return SessionTable(np.ones(rows.size, np.uint8), rows, np.cumsum([0, *map(len, sessions)]))


def loops(training, prefix, *, latest, neighbours):
    """The scores of one session (Kersbergen, Sprangers, Schelter 2022, section 3), of equal neighbours the first."""
    held = [{row for row in session if row < PRODUCTS} for session in training]
    recent = [row for row in prefix if row < PRODUCTS][-9:]
    steps_back = {row: recent[::-1].index(row) + 1 for row in recent}
    similarity = dict.fromkeys(range(len(held)), 0.0)
    for row, back in steps_back.items():
        with_it = [number for number, products in enumerate(held) if row in products]
        for number in with_it[-latest:]:
            similarity[number] += (len(recent) - back + 1) / len(recent)
    scores = np.zeros(PRODUCTS)
    nearest = sorted((number for number in similarity if similarity[number]), key=lambda one: -similarity[one])
    for number in nearest[:neighbours]:
        match = 1 - 0.1 * min(back for row, back in steps_back.items() if row in held[number])
        for product in held[number]:
            rarity = math.log(len(held) / sum(product in products for products in held))
            scores[product] += match * similarity[number] * rarity
    return scores


@given(training=SESSIONS, prefixes=SESSIONS)
def test_scores_are_those_of_loops(training, prefixes):
    scores = SessionNeighbours.fit(table(training), PRODUCTS).scores(table(prefixes))
    assert (scores.dtype, scores.shape) == (np.float32, (len(prefixes), PRODUCTS))
    for prefix, row in zip(prefixes, scores, strict=True):
        assert row == pytest.approx(loops(training, prefix, latest=500, neighbours=100), rel=1e-4, abs=1e-6)


def test_only_the_latest_sessions_of_a_product_and_the_most_similar_of_them_score(monkeypatch):
    monkeypatch.setattr(session_neighbours, "_MAX_SESSIONS", 2)
    monkeypatch.setattr(session_neighbours, "_MAX_NEIGHBOURS", 1)
    training, prefix = [[0, 1], [0, 2], [0, 3, 5], [5, 4]], [5, 0]
    scores = SessionNeighbours.fit(table(training), PRODUCTS).scores(table([prefix]))[0]
    assert scores == pytest.approx(loops(training, prefix, latest=2, neighbours=1), rel=1e-5)
    assert np.flatnonzero(scores).tolist() == [0, 3, 5]
