"""The last products of each session, against a loop."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.baselines.item_sequences import ItemSequences, products_so_far
from ubm_embed.data.arrays import offsets_of
from ubm_embed.data.batches.session_table import SessionTable

PRODUCTS = 4


SESSIONS = st.lists(st.lists(st.integers(0, 6), max_size=6), min_size=1, max_size=5)


def table_of(sessions):
    rows = np.array([row for session in sessions for row in session], dtype=np.int32)
    return SessionTable(np.zeros(rows.size, np.uint8), rows, offsets_of(np.array([len(s) for s in sessions], int)))


@given(sessions=SESSIONS, limit=st.integers(1, 4))
def test_the_last_products_and_then_padding(sessions, limit):
    sequences = ItemSequences.from_sessions(table_of(sessions), PRODUCTS, limit)
    expected = [[row for row in session if row < PRODUCTS][-limit:] for session in sessions]
    width = max(1, *(len(session) for session in expected), 0)
    assert sequences.items.tolist() == [session + [PRODUCTS] * (width - len(session)) for session in expected]
    assert sequences.lengths.tolist() == [len(session) for session in expected]
    assert (sequences.filled == (sequences.items < PRODUCTS)).all()


def test_states_at_the_last_product():
    sequences = ItemSequences.from_sessions(table_of([[0, 1, 2], [3, 5], [6]]), PRODUCTS, 8)
    assert sequences.last.tolist() == [2, 0, 0]
    assert sequences.at_last(sequences.items.unsqueeze(2)).tolist() == [[2], [3], [PRODUCTS]]


def test_no_sessions():
    assert ItemSequences.from_sessions(table_of([]), PRODUCTS, 8).items.shape == (0, 1)


@given(sessions=SESSIONS)
def test_products_up_to_each_interaction(sessions):
    expected = [
        sum(row < PRODUCTS for row in session[: end + 1]) for session in sessions for end in range(len(session))
    ]
    assert products_so_far(table_of(sessions), PRODUCTS).tolist() == expected
