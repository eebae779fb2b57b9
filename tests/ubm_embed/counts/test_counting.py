"""Transitions are what loops over pairs count, in however many parts, and what may be held bounds them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.counts.counting import TransitionCounter, count_transitions, only_products
from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.session import Action

PRODUCTS = 5
PHRASE = 5  # a text row after the products

SESSIONS = st.lists(st.lists(st.integers(0, PHRASE), max_size=12), max_size=6)
SETTINGS = st.sampled_from([CountWeights(), CountWeights(backward=0.0, softening=0.0), CountWeights(backward=1.0)])


def table(sessions):
    rows = np.array([row for session in sessions for row in session], dtype=np.int32)
    return SessionTable(np.ones(rows.size, np.uint8), rows, np.cumsum([0, *map(len, sessions)]))


def dense(counts):
    matrix = np.zeros((counts.products, counts.products))
    for product in range(counts.products):
        row = slice(counts.offsets[product], counts.offsets[product + 1])
        assert (np.diff(counts.neighbours[row]) > 0).all()
        matrix[product, counts.neighbours[row]] = counts.values[row]
    return matrix


def loops(sessions, weights):
    sums, seen = np.zeros((PRODUCTS, PRODUCTS)), np.zeros(PRODUCTS)
    for session in sessions:
        products = [row for row in session if row < PRODUCTS]
        for place, earlier in enumerate(products):
            seen[earlier] += 1
            for distance, later in enumerate(products[place + 1 : place + 6], 1):
                if later != earlier:
                    sums[earlier, later] += 1 / distance
                    sums[later, earlier] += weights.backward / distance
    often = 1 + seen / 100
    return sums / often[:, None] / often[None, :] ** weights.softening


@given(sessions=SESSIONS, weights=SETTINGS)
def test_counts_are_those_of_loops(sessions, weights):
    assert dense(count_transitions(table(sessions), PRODUCTS, weights)) == pytest.approx(
        loops(sessions, weights), rel=1e-5
    )


@given(parts=st.lists(SESSIONS, max_size=4))
def test_parts_add_up(parts):
    counter = TransitionCounter(PRODUCTS)
    for part in parts:
        counter.add(table(part))
    whole = count_transitions(table([session for part in parts for session in part]), PRODUCTS)
    assert dense(counter.finish()) == pytest.approx(dense(whole), rel=1e-5)
    assert counter.seen.sum() == sum(row < PRODUCTS for part in parts for session in part for row in session)


def test_a_counter_may_be_finished_again_by_other_weights():
    sessions = table([[0, 1, 2], [2, 1]])
    counter = TransitionCounter(PRODUCTS).add(sessions)
    for weights in (CountWeights(backward=1.0), CountWeights(backward=0.0)):
        expected = count_transitions(sessions, PRODUCTS, weights)
        assert np.array_equal(dense(counter.finish(weights=weights)), dense(expected))


def test_a_row_keeps_its_largest_entries_and_of_equal_ones_the_first():
    counts = count_transitions(table([[0, 1], [0, 2], [0, 2], [0, 3]]), PRODUCTS, neighbours=2)
    assert np.flatnonzero(dense(counts)[0]).tolist() == [1, 2]


def test_what_may_be_held_drops_the_smallest_entries_of_the_longest_rows():
    counter = TransitionCounter(PRODUCTS, CountWeights(backward=0.0), max_entries=4)
    counter.add(table([[0, 1], [0, 2], [0, 2], [0, 3], [0, 4], [3, 4]]))
    assert counter.pairs <= 4
    kept = dense(counter.finish())
    assert kept[0, 2] > 0 < kept[3, 4]


def test_what_was_taken_back_out_of_the_cart_is_no_position():
    add, remove = Action.ADD.code, Action.REMOVE.code
    sessions = SessionTable(np.array([1, add, remove, 1], np.uint8), np.array([0, 3, 3, 1], np.int32), np.array([0, 4]))
    assert np.array_equal(
        dense(count_transitions(sessions, PRODUCTS)), dense(count_transitions(table([[0, 1]]), PRODUCTS))
    )


def test_unwanted_products_have_no_counts():
    counter = TransitionCounter(PRODUCTS).add(table([[0, 1, 2]]))
    wanted = np.array([True, False, True, True, True])
    assert np.argwhere(dense(counter.finish(wanted))).tolist() == [[0, 2], [2, 0]]


def test_counts_stay_in_bounds_as_a_log_grows():
    largest = [count_transitions(table([[0, 1]] * times), PRODUCTS).values.max() for times in (10, 10_000)]
    assert largest[1] < 10 * largest[0]


def test_only_products_leaves_sessions_without_phrases():
    kept = only_products(table([[0, PHRASE, 2], [PHRASE], [], [PHRASE, 3]]), PRODUCTS)
    assert (kept.rows.tolist(), kept.offsets.tolist()) == ([0, 2, 3], [0, 2, 2, 2, 3])
    assert kept.actions.size == 3


@pytest.mark.parametrize("products", [0, 1])
def test_a_shop_without_pairs_has_empty_rows(products):
    counts = count_transitions(table([]), products)
    assert (counts.products, counts.neighbours.size) == (products, 0)
