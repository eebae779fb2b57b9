"""Neighbours by blocks are those of all pairs at once."""

from __future__ import annotations

import numpy as np
import pytest

from ubm_embed.data.arrays import unit_rows
from ubm_embed.evaluation import nearest
from ubm_embed.evaluation.nearest import NearestOthers


@pytest.mark.parametrize("cells", [1, 100, 10_000])
def test_blocks_of_any_size_find_the_same(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    monkeypatch.setattr(nearest, "_CELLS", cells)
    vectors = unit_rows(np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32))
    near = NearestOthers.find(vectors, 5)
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(cosines, -np.inf)
    assert (near.rows == np.argsort(-cosines, axis=1)[:, :5]).all()
    assert near.cosines == pytest.approx(-np.sort(-cosines, axis=1)[:, :5], abs=1e-6)


def test_equal_vectors_are_each_others_nearest_and_never_their_own() -> None:
    vectors = np.ones((3, 1), np.float32)
    near = NearestOthers.find(vectors, 10)
    assert near.rows.tolist() == [[1, 2], [0, 2], [0, 1]]
    assert (near.cosines == 1).all()
