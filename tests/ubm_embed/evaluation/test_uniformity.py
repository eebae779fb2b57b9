"""Alignment and uniformity against loops over pairs."""

import math

import numpy as np
import pytest

from ubm_embed.evaluation.uniformity import alignment, uniformity

# Sums of fewer than a hundred terms of float64.
ROUNDING = 100 * float(np.finfo(np.float64).eps)


@pytest.fixture
def vectors():
    return (3 * np.random.default_rng(0).standard_normal((2, 6, 4))).astype(np.float32)


def unit(row):
    return [value / math.hypot(*row) for value in row]


def squared_distance(x, y):
    return sum((a - b) ** 2 for a, b in zip(unit(x), unit(y), strict=True))


def test_alignment_is_the_mean_squared_distance_of_pairs(vectors):
    distances = [squared_distance(x, y) for x, y in zip(*vectors.tolist(), strict=True)]
    assert alignment(*vectors) == pytest.approx(sum(distances) / len(distances), abs=ROUNDING)


def test_uniformity_is_the_log_of_the_mean_kernel_over_different_rows(vectors):
    rows = vectors[0].tolist()
    kernels = [math.exp(-2 * squared_distance(x, y)) for i, x in enumerate(rows) for y in rows[:i]]
    assert uniformity(vectors[0]) == pytest.approx(math.log(sum(kernels) / len(kernels)), abs=ROUNDING)


def test_by_hand():
    right, up, left = np.float32([[1, 0]]), np.float32([[0, 3]]), np.float32([[-2, 0]])
    assert alignment(right, 5 * right) == pytest.approx(0.0, abs=ROUNDING)
    assert alignment(right, up) == pytest.approx(2.0, abs=ROUNDING)
    assert alignment(right, left) == pytest.approx(4.0, abs=ROUNDING)
    assert uniformity(np.concatenate([right, left])) == pytest.approx(-8.0, abs=ROUNDING)
    assert uniformity(np.concatenate([right, 5 * right])) == pytest.approx(0.0, abs=ROUNDING)


def test_the_caller_s_vectors_stay(vectors):
    before = vectors.copy()
    alignment(*vectors)
    uniformity(vectors[0])
    np.testing.assert_array_equal(vectors, before)
