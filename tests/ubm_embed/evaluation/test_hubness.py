"""10-occurrence against counting, skewness against scipy, and a space with a hub."""

import numpy as np
import pytest
from scipy.stats import skew

from ubm_embed.data.arrays import unit_rows
from ubm_embed.evaluation.hubness import k_occurrence, skewness
from ubm_embed.evaluation.nearest import NearestOthers


@pytest.fixture
def vectors():
    return unit_rows(np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32))


def test_every_list_counts_once(vectors):
    lists = NearestOthers.find(vectors, 5).rows
    counts = k_occurrence(lists, 40)
    assert counts.tolist() == [sum(row in one for one in lists.tolist()) for row in range(40)]
    assert counts.sum() == 40 * 5


def test_a_vector_near_to_all_is_in_every_list():
    corners = np.eye(30, dtype=np.float32)
    centre = unit_rows(corners.sum(axis=0, keepdims=True))
    counts = k_occurrence(NearestOthers.find(np.concatenate([corners, centre]), 1).rows, 31)
    assert counts[30] == 30
    assert skewness(counts) > 5


def test_skewness_is_the_third_standardised_moment():
    counts = np.random.default_rng(0).poisson(3, 200)
    assert skewness(counts) == pytest.approx(skew(counts), rel=1e-12)
    assert skewness(-counts) == pytest.approx(-skewness(counts), rel=1e-12)


def test_equal_counts_are_not_skewed():
    assert skewness(np.full(5, 3)) == 0
