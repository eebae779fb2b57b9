"""A classifier tells vectors apart if and only if they differ in distribution."""

import numpy as np
import pytest

from ubm_embed.data.arrays import FloatArray, unit_rows
from ubm_embed.evaluation.separability import paired_separability


def some(count: int = 300, width: int = 16, seed: int = 0) -> FloatArray:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32))


def separability_of(before: FloatArray, after: FloatArray, seed: int = 0) -> float:
    return paired_separability(before, after, seed=seed)


def test_equal_vectors_cannot_be_told_apart() -> None:
    assert separability_of(some(), some()) == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_nor_can_others_of_the_same_distribution(seed: int) -> None:
    assert separability_of(some(1000), some(1000, seed=seed + 1), seed) == pytest.approx(0.5, abs=0.06)


def test_vectors_that_moved_alike_can() -> None:
    assert separability_of(some(), unit_rows(some() + np.float32(0.5))) > 0.95


def test_a_small_common_move_is_seen() -> None:
    """A classifier that was fitted to a vector's twin would take the vector for its twin, and do worse than chance."""
    assert 0.52 < separability_of(some(1000), unit_rows(some(1000) + np.float32(0.02))) < 0.7


def test_the_same_seed_gives_the_same() -> None:
    after = unit_rows(some() + np.float32(0.1))
    assert separability_of(some(), after) == separability_of(some(), after)


@pytest.mark.parametrize(("before", "after"), [(some(4), some(4)), (some(10), some(9))])
def test_too_few_or_unequal_vectors_are_refused(before: FloatArray, after: FloatArray) -> None:
    with pytest.raises(ValueError, match="expected two"):
        separability_of(before, after)
