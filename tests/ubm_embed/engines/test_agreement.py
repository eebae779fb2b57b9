"""Agreement is 1 with oneself, falls with what is told apart, and does not mind which of two equals is nearer."""

from __future__ import annotations

import numpy as np
import pytest

from ubm_embed.data.arrays import FloatArray
from ubm_embed.engines.agreement import Agreement


def unit(seed: int, count: int, width: int = 16) -> FloatArray:
    vectors = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_vectors_agree_with_themselves() -> None:
    vectors = unit(0, 50)
    found = Agreement.of(vectors, vectors)
    assert found.cosine == pytest.approx(1)
    assert found.nearest == 1


def test_the_least_cosine_counts() -> None:
    exact = np.eye(4, dtype=np.float32)
    found = exact.copy()
    found[2] = [0, 0, 0.6, 0.8]
    assert Agreement.of(exact, found).cosine == pytest.approx(0.6)


def test_other_vectors_share_as_many_neighbours_as_chance_has_it() -> None:
    found = Agreement.of(unit(0, 400), unit(1, 400))
    assert found.nearest == pytest.approx(10 / 399, abs=0.015)


def test_neighbours_are_counted_as_a_slow_loop_counts_them() -> None:
    exact = unit(0, 60)
    found = exact + 0.1 * unit(1, 60)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    shared = 0
    for row in range(60):
        others = [other for other in range(60) if other != row]
        tens = [set(sorted(others, key=lambda other: -(v[row] @ v[other]))[:10]) for v in (exact, found)]
        shared += len(tens[0] & tens[1])
    assert 0.5 < Agreement.of(exact, found).nearest < 1
    assert Agreement.of(exact, found).nearest == pytest.approx(shared / 600)


def test_which_of_several_equal_products_is_found_does_not_matter() -> None:
    exact = np.repeat(unit(0, 3), 20, axis=0)
    # The same products, a hair apart: each ten of the twenty equals may come out.
    found = exact + 1e-4 * unit(1, 60)
    assert Agreement.of(exact, found).nearest == 1


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_vectors_have_fewer_neighbours(count: int) -> None:
    assert Agreement.of(unit(0, count), unit(0, count)).nearest == 1
