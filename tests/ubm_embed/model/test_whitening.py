"""The projection that a pre-trained encoder starts with sets the products of a catalogue apart."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from ubm_embed.model.tower import TextInteractions, UBMTower
from ubm_embed.model.whitening import whiten, whitening


@pytest.fixture
def vectors():
    """Six directions of very different variance, far from the origin."""
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((500, 6)) * [10, 5, 2, 1, 0.5, 0.01] @ rng.standard_normal((6, 6))
    return (mixed + 30).astype(np.float32)


def apply(vectors, dimension, **settings):
    weight, bias = whitening(vectors, dimension, **settings)
    return vectors.astype(np.float64) @ weight.T + bias


def test_without_shrinkage_all_components_vary_alike_and_apart(vectors):
    covariance = np.cov(apply(vectors, 5, shrinkage=0.0), rowvar=False, bias=True)
    np.testing.assert_allclose(covariance, np.eye(5), atol=2e-3)


def test_shrinkage_keeps_noise_small(vectors):
    spread = apply(vectors, 6, shrinkage=0.1).std(axis=0)
    assert np.all(np.diff(spread) < 0)
    assert spread[-1] < 0.01 * spread[0]
    assert np.mean(spread**2) == pytest.approx(1, abs=1e-3)


def test_the_mean_becomes_zero(vectors):
    np.testing.assert_allclose(apply(vectors, 4).mean(axis=0), 0, atol=1e-3)


def test_more_dimensions_than_the_encoder_has_stay_zero(vectors):
    assert not apply(vectors, 8)[:, 6:].any()


@pytest.mark.parametrize("count", [1, 3])
def test_a_tiny_catalogue_gives_finite_numbers(vectors, count):
    assert np.isfinite(apply(vectors[:count], 4)).all()


def test_products_of_a_model_are_set_apart(model, tokenizer, products):
    texts = tokenizer.product_texts(products)

    def mean_cosine():
        with torch.no_grad():
            unit = normalize(interactions(np.full(len(texts), -1), np.arange(len(texts))), dim=1)
        return float((unit @ unit.T).fill_diagonal_(0).sum() / (len(texts) * (len(texts) - 1)))

    interactions = TextInteractions(model.interaction_encoder, tokenizer, texts)
    before = mean_cosine()
    whiten(model, tokenizer, texts)
    assert model.config.projected
    assert mean_cosine() < min(before, 0)
    assert torch.isfinite(UBMTower(model, interactions, None).products(np.arange(3))).all()
