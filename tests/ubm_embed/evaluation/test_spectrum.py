"""RankMe and IsoScore against their definitions on the vectors themselves, and by hand."""

import numpy as np
import pytest

from ubm_embed.evaluation.spectrum import eigenvalues, iso_score, rank_me, singular_values


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((50, 8)) * np.arange(1, 9) + 1


def rank_me_by_svd(vectors):
    """Equations 1 and 2 of the paper."""
    sigma = np.linalg.svd(vectors, compute_uv=False)
    p = sigma / np.abs(sigma).sum() + 1e-7
    return np.exp(-np.sum(p * np.log(p)))


def iso_score_by_definition(vectors):
    """The seven steps of algorithm 1."""
    centred = vectors - vectors.mean(axis=0)
    rotated = centred @ np.linalg.svd(centred)[2].T
    diagonal = np.diag(np.cov(rotated.T))
    n = len(diagonal)
    normalized = np.sqrt(n) * diagonal / np.linalg.norm(diagonal)
    defect = np.linalg.norm(normalized - np.ones(n)) / np.sqrt(2 * (n - np.sqrt(n)))
    return ((n - defect**2 * (n - np.sqrt(n))) ** 2 - n) / (n * (n - 1))


def rank_of(vectors):
    return rank_me(singular_values(vectors.T @ vectors))


def iso_of(vectors):
    return iso_score(eigenvalues(np.cov(vectors.T)))


def test_singular_values_are_those_of_the_vectors(vectors):
    expected = np.linalg.svd(vectors, compute_uv=False)
    np.testing.assert_allclose(singular_values(vectors.T @ vectors), expected, rtol=1e-9)


def test_rank_me_is_that_of_the_singular_value_decomposition(vectors):
    assert rank_of(vectors) == pytest.approx(rank_me_by_svd(vectors), rel=1e-9)


def test_iso_score_is_that_of_the_algorithm(vectors):
    assert iso_of(vectors) == pytest.approx(iso_score_by_definition(vectors), rel=1e-9)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_rank_me_counts_equal_directions(rank):
    # The rest is the epsilon of the definition: eight times 1e-7 * log(1e7).
    assert rank_of(np.eye(8)[:rank]) == pytest.approx(rank, rel=2e-5)


def test_fewer_vectors_than_directions_have_at_most_their_number(vectors):
    assert rank_of(vectors[:3]) <= 3 * (1 + 2e-5)


@pytest.mark.parametrize(("used", "score"), [(1, 0), (2, 1 / 7), (4, 3 / 7), (8, 1)])
def test_iso_score_is_the_share_of_the_directions_that_are_used(used, score):
    variances = np.zeros(8)
    variances[:used] = 3.0
    assert iso_score(variances) == pytest.approx(score, abs=1e-12)


def test_a_point_uses_no_direction():
    assert iso_score(np.zeros(8)) == 0


def test_neither_depends_on_scale_or_rotation(vectors):
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0]
    turned = 7 * vectors @ rotation
    assert rank_of(turned) == pytest.approx(rank_of(vectors), rel=1e-9)
    assert iso_of(turned) == pytest.approx(iso_of(vectors), rel=1e-9)


def test_iso_score_ignores_the_mean_and_rank_me_does_not(vectors):
    assert iso_of(vectors + 100) == pytest.approx(iso_of(vectors), rel=1e-6)
    assert rank_of(vectors + 100) < rank_of(vectors) / 2
