"""Agreement is 1 for equal vectors, falls with their differences, and ignores the order of equal neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from ubm_embed.data.arrays import FloatArray
from ubm_embed.inference.runtimes.agreement import Agreement


def unit(seed: int, count: int, width: int = 16) -> FloatArray:
    vectors = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_vectors_agree_with_themselves() -> None:
    vectors = unit(0, 50)
    found = Agreement.from_vectors(vectors, vectors)
    assert found.min_cosine == pytest.approx(1)
    assert found.nearest == 1


def test_the_smallest_cosine_counts() -> None:
    exact = np.eye(4, dtype=np.float32)
    found = exact.copy()
    found[2] = [0, 0, 0.6, 0.8]
    assert Agreement.from_vectors(exact, found).min_cosine == pytest.approx(0.6)


def test_unrelated_vectors_share_neighbours_by_chance_only() -> None:
    found = Agreement.from_vectors(unit(0, 400), unit(1, 400))
    assert found.nearest == pytest.approx(10 / 399, abs=0.015)


def test_neighbours_are_counted_as_a_slow_loop_counts_them() -> None:
    exact = unit(0, 60)
    found = exact + 0.1 * unit(1, 60)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    shared = 0
    for row in range(60):
        others = [other for other in range(60) if other != row]
        right, chosen = (sorted(others, key=lambda other: -(v[row] @ v[other]))[:10] for v in (exact, found))
        shared += sum(exact[row] @ exact[one] >= exact[row] @ exact[right[-1]] - 1e-3 for one in chosen)
    assert 0.5 < Agreement.from_vectors(exact, found).nearest < 1
    assert Agreement.from_vectors(exact, found).nearest == pytest.approx(shared / 600)


def test_which_of_several_equal_products_is_found_does_not_matter() -> None:
    exact = np.repeat(unit(0, 3), 20, axis=0)
    # The same products, slightly apart: any ten of the twenty equal ones may be the nearest.
    found = exact + 1e-4 * unit(1, 60)
    assert Agreement.from_vectors(exact, found).nearest == 1


def siblings(count: int) -> FloatArray:
    """One product in `count` sizes, with cosines of 0.996 and more to each other, as in a model of texts."""
    vectors = unit(0, 1, 256) + 0.05 * unit(1, count, 256)
    lengths: FloatArray = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


@pytest.mark.parametrize("count", [15, 40, 200])
def test_sizes_of_one_product_tie_within_rounding(count: int) -> None:
    exact = siblings(count)
    found = exact + 0.03 * unit(2, count, 256)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    agreement = Agreement.from_vectors(exact, found)
    assert agreement.min_cosine > 0.999
    assert agreement.nearest > 0.99


def test_sizes_of_another_product_are_no_tie() -> None:
    exact = np.concatenate([siblings(40), siblings(80)[40:] + 0.1 * unit(3, 1, 256)])
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    found = exact[np.random.default_rng(0).permutation(80)]
    # By the limit for cosines in 8 bits a scrambled runtime would pass here.
    agreement = Agreement.from_vectors(exact, found)
    assert agreement.min_cosine > 0.985
    assert agreement.nearest < 0.95


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_vectors_have_fewer_neighbours(count: int) -> None:
    assert Agreement.from_vectors(unit(0, count), unit(0, count)).nearest == 1
