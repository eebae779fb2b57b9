"""Alignment and uniformity against loops over pairs, and their intervals against distributions with a known value."""

import math

import numpy as np
import pytest

from ubm_embed.evaluation import uniformity as module
from ubm_embed.evaluation.uniformity import alignment, alignment_interval, uniformity, uniformity_interval

# Sums of fewer than a hundred terms of float64.
ROUNDING = 100 * float(np.finfo(np.float64).eps)


@pytest.fixture
def vectors():
    return (3 * np.random.default_rng(0).standard_normal((2, 6, 4))).astype(np.float32)


def unit(row):
    return [value / math.hypot(*row) for value in row]


def squared_distance(x, y):
    return sum((a - b) ** 2 for a, b in zip(unit(x), unit(y), strict=True))


def uniformity_by_loops(rows):
    kernels = [math.exp(-2 * squared_distance(x, y)) for i, x in enumerate(rows) for y in rows[:i]]
    return math.log(sum(kernels) / len(kernels))


def test_alignment_is_the_mean_squared_distance_of_pairs(vectors):
    distances = [squared_distance(x, y) for x, y in zip(*vectors.tolist(), strict=True)]
    assert alignment(*vectors) == pytest.approx(sum(distances) / len(distances), abs=ROUNDING)


def test_uniformity_is_the_log_of_the_mean_kernel_over_different_rows(vectors):
    assert uniformity(vectors[0]) == pytest.approx(uniformity_by_loops(vectors[0].tolist()), abs=ROUNDING)


def test_uniformity_of_many_rows_is_that_of_all_pairs_at_once(monkeypatch, vectors):
    monkeypatch.setattr(module, "_ROWS", 4)
    assert uniformity(vectors[0]) == pytest.approx(uniformity_by_loops(vectors[0].tolist()), abs=ROUNDING)


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


class TestIntervals:
    # Three directions, drawn with these probabilities: their uniformity is the log of p' K p.
    POINTS = np.float32([[1, 0], [0, 1], [-1, 0]])
    SHARES = np.array([0.6, 0.3, 0.1])

    def draw(self, seed, size=60):
        return self.POINTS[np.random.default_rng(seed).choice(3, size, p=self.SHARES)]

    def test_a_resample_leaves_out_pairs_of_a_row_with_itself(self):
        # Of two opposite rows the only pair is the two of them, however often each is drawn.
        pair = np.float32([[1, 0], [-1, 0]])
        assert uniformity_interval(pair, rounds=50, seed=0) == pytest.approx((-8.0, -8.0), abs=ROUNDING)

    def test_they_cover_the_value_of_the_distribution(self):
        truth = math.log(self.SHARES @ np.exp(4 * (self.POINTS @ self.POINTS.T - 1)) @ self.SHARES)
        intervals = [uniformity_interval(self.draw(seed), rounds=100, seed=seed) for seed in range(200)]
        covered = np.mean([low <= truth <= high for low, high in intervals])
        # 95% of 200, to within three standard errors below; the percentile bootstrap of 60 rows is not exact.
        assert 0.90 <= covered <= 1

    def test_they_shrink_with_the_sample(self):
        widths = [np.ptp(uniformity_interval(self.draw(0, size), rounds=100, seed=0)) for size in (50, 800)]
        assert widths[0] / widths[1] == pytest.approx(4, rel=0.5)  # the square root of sixteen

    def test_alignment_lies_within_its_interval(self, vectors):
        low, high = alignment_interval(*vectors, rounds=200, seed=0)
        assert low < alignment(*vectors) < high

    def test_equal_pairs_leave_no_doubt(self, vectors):
        assert alignment_interval(vectors[0], vectors[0], rounds=20, seed=0) == (0.0, 0.0)

    def test_the_seed_decides(self):
        x = self.draw(0)
        assert uniformity_interval(x, rounds=20, seed=1) == uniformity_interval(x, rounds=20, seed=1)
        assert uniformity_interval(x, rounds=20, seed=1) != uniformity_interval(x, rounds=20, seed=2)
