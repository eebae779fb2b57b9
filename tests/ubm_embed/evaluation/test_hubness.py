"""Neighbours and 10-occurrence against sorting, skewness against scipy, and a space with a hub."""

import numpy as np
import pytest
from scipy.stats import skew

from ubm_embed.data.arrays import unit_rows
from ubm_embed.evaluation import hubness
from ubm_embed.evaluation.hubness import k_occurrence, nearest_others, skewness


@pytest.fixture
def vectors():
    return unit_rows(np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32))


@pytest.mark.parametrize("rows_at_once", [7, 512])
def test_the_nearest_are_the_first_of_the_sorted_others(monkeypatch, vectors, rows_at_once):
    monkeypatch.setattr(hubness, "_ROWS", rows_at_once)
    cosines = vectors.astype(np.float64) @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    expected = np.sort(np.argsort(-cosines, axis=1)[:, :5], axis=1)
    np.testing.assert_array_equal(np.sort(nearest_others(vectors, 5), axis=1), expected)


def test_every_list_counts_once(vectors):
    lists = nearest_others(vectors, 5)
    counts = k_occurrence(lists, 40)
    assert counts.tolist() == [sum(row in one for one in lists.tolist()) for row in range(40)]
    assert counts.sum() == 40 * 5


def test_a_vector_near_to_all_is_in_every_list():
    corners = np.eye(30, dtype=np.float32)
    centre = unit_rows(corners.sum(axis=0, keepdims=True))
    counts = k_occurrence(nearest_others(np.concatenate([corners, centre]), 1), 31)
    assert counts[30] == 30
    assert skewness(counts) > 5


def test_skewness_is_the_third_standardised_moment():
    counts = np.random.default_rng(0).poisson(3, 200)
    assert skewness(counts) == pytest.approx(skew(counts), rel=1e-12)
    assert skewness(-counts) == pytest.approx(-skewness(counts), rel=1e-12)


def test_equal_counts_are_not_skewed():
    assert skewness(np.full(5, 3)) == 0
