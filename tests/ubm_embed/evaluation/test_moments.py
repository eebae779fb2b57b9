"""Moments of batches against numpy on all vectors at once, and the mean cosine against all pairs."""

import numpy as np
import pytest

from ubm_embed.data.arrays import unit_rows
from ubm_embed.evaluation.moments import Moments

# Sums of some dozen products of float64.
ROUNDING = 1e-13


@pytest.fixture
def vectors():
    return unit_rows(np.random.default_rng(0).standard_normal((30, 5)) + 1).astype(np.float32)


def moments_of(*batches):
    moments = Moments(batches[0].shape[1])
    for batch in batches:
        moments.add(batch)
    return moments


@pytest.mark.parametrize("cut", [0, 1, 17, 30])
def test_batches_add_up(vectors, cut):
    moments, exact = moments_of(vectors[:cut], vectors[cut:]), vectors.astype(np.float64)
    assert moments.count == 30
    np.testing.assert_allclose(moments.total, exact.sum(axis=0), atol=ROUNDING)
    np.testing.assert_allclose(moments.products, exact.T @ exact, atol=ROUNDING)
    np.testing.assert_allclose(moments.covariance, np.cov(exact.T, bias=True), atol=ROUNDING)


def test_the_mean_cosine_is_that_of_all_pairs(vectors):
    exact = unit_rows(vectors.astype(np.float64))
    pairs = [exact[i] @ exact[j] for i in range(30) for j in range(i)]
    # The vectors have length 1 to within float32.
    assert moments_of(vectors).mean_cosine == pytest.approx(np.mean(pairs), abs=4 * float(np.finfo(np.float32).eps))


def test_mean_cosine_by_hand():
    right, up = np.float32([1, 0]), np.float32([0, 1])
    assert moments_of(np.stack([right, right])).mean_cosine == 1
    assert moments_of(np.stack([right, -right])).mean_cosine == -1
    assert moments_of(np.stack([right, up])).mean_cosine == 0
    assert moments_of(np.stack([right, right, up])).mean_cosine == pytest.approx(1 / 3)
