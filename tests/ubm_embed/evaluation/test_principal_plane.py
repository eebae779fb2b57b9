"""The plane of vectors that lie in one, with noise and without."""

from __future__ import annotations

import numpy as np
import pytest

from ubm_embed.evaluation.principal_plane import PrincipalPlane

GENERATOR = np.random.default_rng(0)


def test_vectors_of_a_plane_are_explained_and_keep_their_distances() -> None:
    axes, _ = np.linalg.qr(GENERATOR.normal(size=(6, 2)))
    vectors = (GENERATOR.normal(size=(50, 2)) @ axes.T + 3).astype(np.float32)
    plane = PrincipalPlane.fit(vectors)
    assert plane.explained == pytest.approx(1, abs=1e-4)
    positions = plane.project(vectors)
    assert np.linalg.norm(positions[0] - positions, axis=1) == pytest.approx(
        np.linalg.norm(vectors[0] - vectors, axis=1), abs=1e-3
    )


def test_equal_vectors_have_nothing_to_explain() -> None:
    vectors = np.full((5, 3), 0.5, np.float32)
    plane = PrincipalPlane.fit(vectors)
    assert plane.explained == 0
    assert not plane.project(vectors).any()


def test_a_map_does_not_come_mirrored() -> None:
    vectors = GENERATOR.normal(size=(40, 5)).astype(np.float32)
    plane, again = PrincipalPlane.fit(vectors), PrincipalPlane.fit(vectors[::-1].copy())
    assert plane.axes == pytest.approx(again.axes, abs=1e-4)
