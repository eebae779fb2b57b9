"""How far a map can be trusted."""

from __future__ import annotations

import numpy as np
import pytest

from ubm_embed.data.arrays import FloatArray, unit_rows
from ubm_embed.evaluation.trustworthiness import trustworthiness


def by_definition(vectors: FloatArray, plane: FloatArray, k: int) -> float:
    """Venna and Kaski 2001: a point that is a neighbour on the map only costs its rank in the space, beyond k."""
    count, penalty = len(vectors), 0
    for row in range(count):
        others = [other for other in range(count) if other != row]
        in_space = sorted(others, key=lambda other: -float(vectors[row] @ vectors[other]))
        on_map = sorted(others, key=lambda other: float(np.linalg.norm(plane[row] - plane[other])))
        penalty += sum(in_space.index(other) + 1 - k for other in on_map[:k] if other not in in_space[:k])
    return 1 - 2 * penalty / (count * k * (2 * count - 3 * k - 1))


@pytest.fixture
def vectors() -> FloatArray:
    """Forty on the unit sphere in eight dimensions."""
    return unit_rows(np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32))


def test_it_is_the_definition(vectors: FloatArray) -> None:
    plane = vectors[:, :2].copy()
    assert trustworthiness(vectors, plane, 5) == pytest.approx(by_definition(vectors, plane, 5))


def test_a_map_that_keeps_all_is_trusted() -> None:
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 40)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert trustworthiness(circle, circle) == 1


def test_a_random_map_is_not(vectors: FloatArray) -> None:
    plane = np.random.default_rng(1).normal(size=(40, 2)).astype(np.float32)
    assert trustworthiness(vectors, plane) < 0.65


def test_few_points_have_fewer_neighbours(vectors: FloatArray) -> None:
    assert 0 <= trustworthiness(vectors[:4], vectors[:4, :2].copy()) <= 1
