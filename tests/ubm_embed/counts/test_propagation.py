"""Counts under another numbering are A C A^T: kept products keep theirs, new ones take those of their nearest."""

import numpy as np
import pytest

from ubm_embed.counts.propagation import Sources, renumbered, shares_of, spread_to_new
from ubm_embed.counts.transition_counts import TransitionCounts
from ubm_embed.data.arrays import offsets_of

RNG = np.random.default_rng(0)


def sparse(matrix):
    rows, columns = np.nonzero(matrix)
    offsets = offsets_of(np.bincount(rows, minlength=len(matrix)))
    return TransitionCounts(offsets, columns.astype(np.int32), matrix[rows, columns].astype(np.float32))


def dense(counts):
    matrix = np.zeros((counts.products, counts.products))
    rows = np.repeat(np.arange(counts.products), np.diff(counts.offsets))
    matrix[rows, counts.neighbours] = counts.values
    return matrix


def shop(products=8):
    matrix = RNG.random((products, products)) * (RNG.random((products, products)) < 0.5)
    np.fill_diagonal(matrix, 0)
    return matrix


def test_rows_and_columns_of_new_products_are_means_of_their_nearest():
    matrix = shop()
    is_known = np.arange(8) < 6
    matrix[~is_known], matrix[:, ~is_known] = 0, 0
    cosines = np.array([[0.9, 0.9 - 0.05 * np.log(3)], [0.4, 0.8]], np.float32)
    nearest = np.array([[0, 3], [5, -1]])
    assignment = np.diag(is_known.astype(float))
    assignment[6, [0, 3]], assignment[7, 5] = [0.75, 0.25], 1
    expected = assignment @ matrix @ assignment.T
    np.fill_diagonal(expected, 0)
    assert dense(spread_to_new(sparse(matrix), nearest, cosines, is_known)) == pytest.approx(expected, rel=1e-5)


def test_kept_products_keep_their_counts_at_their_new_positions():
    matrix, order = shop(), RNG.permutation(8)
    sources = Sources.kept_and_nearest(order, np.empty((0, 4), np.int64), np.empty((0, 4), np.float32))
    assert dense(renumbered(sparse(matrix), sources)) == pytest.approx(matrix[np.ix_(order, order)], rel=1e-5)


def test_products_that_vanished_leave_no_counts():
    matrix, left = shop(), np.array([1, 4, 6])
    sources = Sources.kept_and_nearest(left, np.empty((0, 4), np.int64), np.empty((0, 4), np.float32))
    assert dense(renumbered(sparse(matrix), sources)) == pytest.approx(matrix[np.ix_(left, left)], rel=1e-5)


def test_a_new_product_without_a_near_one_has_no_counts():
    matrix = shop(3)
    counts = spread_to_new(
        sparse(matrix), np.array([[0]]), np.array([[-0.2]], np.float32), np.array([True, True, False])
    )
    assert not dense(counts)[2].any()


def test_shares_are_a_softmax_of_the_nearest_without_those_far_behind():
    nearest, cosines = np.array([[4, 2, 7, -1], [1, 2, 3, 0]]), np.array([[0.5, 0.45, 0.2, 0.9], [-0.3, 0, -1, -0.1]])
    shares = shares_of(nearest, cosines.astype(np.float32))
    near = np.exp(np.array([0.5, 0.45]) / 0.05)
    assert shares[0] == pytest.approx([*near / near.sum(), 0, 0], rel=1e-5)
    assert not shares[1].any(), "nothing is within 90 degrees"


def test_nothing_near_has_no_shares():
    assert shares_of(np.empty((3, 0), np.int64), np.empty((3, 0), np.float32)).shape == (3, 0)
