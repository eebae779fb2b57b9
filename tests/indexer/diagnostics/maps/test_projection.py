"""Vectors in two dimensions."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from indexer.diagnostics.maps.projection import MapMethod, project
from ubm_embed.data.arrays import FloatArray, unit_rows
from ubm_embed.errors import NotFound


@pytest.fixture
def patches() -> FloatArray:
    """Three patches of 20 unit vectors in eight dimensions."""
    generator = np.random.default_rng(0)
    centres = np.repeat(np.eye(8)[:3], 20, axis=0)
    return unit_rows((centres + 0.1 * generator.normal(size=(60, 8))).astype(np.float32))


def test_principal_components_are_the_directions_of_most_variance(patches: FloatArray) -> None:
    projection = project(patches, MapMethod.PCA, 0)
    values, axes = np.linalg.eigh(np.cov(patches.T.astype(np.float64)))
    expected = (patches - patches.mean(axis=0)) @ axes[:, [-1, -2]]
    np.testing.assert_allclose(np.abs(projection.plane), np.abs(expected), atol=1e-5)  # an axis has no direction
    assert projection.explained == pytest.approx(values[-2:].sum() / values.sum(), rel=1e-5)
    assert f"{projection.explained:.0%}" in projection.words


def test_vectors_on_a_plane_are_explained_whole() -> None:
    angles = np.linspace(0, 5, 40)
    circle = np.zeros((40, 6), np.float32)
    circle[:, :2] = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert project(circle, MapMethod.PCA, 0).explained == pytest.approx(1)


def test_equal_vectors_have_a_map_of_one_point() -> None:
    projection = project(np.full((12, 4), 0.5, np.float32), MapMethod.PCA, 0)
    assert projection.explained == 0
    np.testing.assert_array_equal(projection.plane, 0)


@pytest.mark.parametrize("method", MapMethod)
def test_patches_stay_together_and_the_same_seed_gives_the_same_map(method: MapMethod, patches: FloatArray) -> None:
    projection = project(patches, method, 0)
    assert projection.plane.shape == (60, 2)
    np.testing.assert_array_equal(projection.plane, project(patches, method, 0).plane)
    distances = np.linalg.norm(projection.plane[:, None] - projection.plane[None], axis=2)
    nearest = np.argsort(distances, axis=1)[:, 1:6]
    assert (nearest // 20 == np.arange(60)[:, None] // 20).mean() > 0.95


def test_a_missing_library_is_named_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch, patches: FloatArray) -> None:
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(NotFound, match=r"pip install 'ubm-embed\[tsne\]'"):
        project(patches, MapMethod.TSNE, 0)
