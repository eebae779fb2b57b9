"""A classifier tells vectors apart if and only if they differ in distribution."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ubm_embed.data.arrays import FloatArray, unit_rows
from ubm_embed.evaluation import separability
from ubm_embed.evaluation.separability import Separability, paired_separability


def some(count: int = 300, width: int = 16, seed: int = 0) -> FloatArray:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32))


def separability_of(before: FloatArray, after: FloatArray, seed: int = 0) -> Separability:
    return paired_separability(before, after, rounds=100, seed=seed)


def test_equal_vectors_cannot_be_told_apart() -> None:
    assert separability_of(some(), some()).auc == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_nor_can_others_of_the_same_distribution(seed: int) -> None:
    low, high = separability_of(some(1000), some(1000, seed=seed + 1), seed).interval
    assert low - 0.03 < 0.5 < high + 0.03


def test_vectors_that_moved_alike_can() -> None:
    measured = separability_of(some(), unit_rows(some() + np.float32(0.5)))
    assert measured.auc > 0.95
    assert measured.interval[0] <= measured.auc <= measured.interval[1]


def test_a_small_common_move_is_seen() -> None:
    """A classifier that was fitted to a vector's twin would take the vector for its twin, and do worse than chance."""
    measured = separability_of(some(1000), unit_rows(some(1000) + np.float32(0.02)))
    assert 0.5 < measured.interval[0] < measured.auc < 0.7


def test_the_same_seed_gives_the_same() -> None:
    after = unit_rows(some() + np.float32(0.1))
    assert separability_of(some(), after) == separability_of(some(), after)


def test_the_area_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    negatives, positives = rng.integers(0, 20, 50).astype(float), rng.integers(5, 25, 70).astype(float)  # with ties
    expected = roc_auc_score(np.repeat([0, 1], [50, 70]), np.concatenate([negatives, positives]))
    assert separability._auc(negatives, positives) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("before", "after"), [(some(4), some(4)), (some(10), some(9))])
def test_too_few_or_unequal_vectors_are_refused(before: FloatArray, after: FloatArray) -> None:
    with pytest.raises(ValueError, match="expected two"):
        separability_of(before, after)
