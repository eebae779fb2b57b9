"""Interactions whose texts were read in advance have the vectors of those that are read from their texts."""

import numpy as np
import pytest
import torch

from tests.rounding import LAYER, rounding_error
from ubm_embed.data.batches.distinct_batches import NO_ACTION
from ubm_embed.data.session import Action
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.model.pooled_interactions import PooledInteractions
from ubm_embed.model.tower import TextInteractions

SEARCH, VIEW, ADD = Action.SEARCH.code, Action.VIEW.code, Action.ADD.code
PRODUCTS = 8
ACTIONS = np.array([SEARCH, SEARCH, VIEW, VIEW, ADD, VIEW, *[NO_ACTION] * PRODUCTS])
ROWS = np.array([8, 9, 0, 1, 1, 0, *range(PRODUCTS)])
SOME = np.array([VIEW, NO_ACTION, ADD, SEARCH, NO_ACTION]), np.array([0, 7, 1, 9, 2])
# What was read is kept in float16.
HALF = {"rtol": 2**-10, "atol": 2**-9}


@pytest.fixture
def interactions(model, tokenizer, products):
    model.add_projection()
    known = tokenizer.product_texts(products.head(4))
    model.add_item_embeddings(known, tokenizer, torch.randn(4, 16, generator=torch.Generator().manual_seed(1)))
    phrases = tokenizer.search_phrases(["red shoes", "blue shirt"])
    texts = TokenTable.concatenate([tokenizer.product_texts(products), phrases])
    return TextInteractions(model.interaction_encoder, tokenizer, texts)


def pooled(interactions, **settings):
    return PooledInteractions(interactions, ACTIONS, ROWS, **settings)


def train_encoder(read, encoder):
    """One step down the gradient, at a step that reads texts."""
    read.train()
    read.start_step(0)
    read(*SOME).pow(2).sum().backward()
    with torch.no_grad():
        for weights in encoder.parameters():
            if weights.grad is not None:
                weights -= 0.05 * weights.grad


def no_dropout(module):
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0


class TestFrozen:
    @torch.no_grad()
    @pytest.mark.parametrize("max_in_memory", [0, 1 << 20])
    def test_has_the_vectors_of_the_texts(self, interactions, max_in_memory):
        read = pooled(interactions, max_in_memory=max_in_memory).eval()
        torch.testing.assert_close(read(*SOME), interactions(*SOME), **HALF)

    def test_trains_projection_and_item_embeddings_alone(self, interactions):
        read, encoder = pooled(interactions).train(), interactions.encoder
        read(*SOME).pow(2).sum().backward()
        assert encoder.projection.weight.grad is not None
        assert encoder.item_embeddings.vectors.grad is not None
        assert all(weights.grad is None for weights in encoder.encoder.parameters())
        trained = {id(weights) for weights in read.parameters()}
        assert trained == {
            id(weights) for weights in [*encoder.projection.parameters(), *encoder.item_embeddings.parameters()]
        }

    @torch.no_grad()
    def test_texts_are_read_without_dropout_and_once(self, interactions, monkeypatch):
        interactions.encoder.train()
        read = pooled(interactions)
        monkeypatch.setattr(interactions.encoder, "read_text", None)
        vectors = read.train()(*SOME)
        interactions.encoder.eval()
        monkeypatch.undo()
        torch.testing.assert_close(vectors, interactions(*SOME), **HALF)

    @torch.no_grad()
    def test_training_drops_item_embeddings(self, interactions):
        interactions.encoder.item_embeddings.dropout = 0.999
        read = pooled(interactions).train()
        expected = interactions.encoder.project(interactions.read_texts(*SOME))
        torch.testing.assert_close(read(*SOME), expected, **HALF)


class TestTrained:
    def test_a_step_that_reads_has_the_gradients_of_the_texts(self, interactions):
        encoder = interactions.encoder.train()
        no_dropout(encoder)
        gradients = []
        for reader in (pooled(interactions, every=3).train(), interactions):
            encoder.zero_grad()
            if isinstance(reader, PooledInteractions):
                reader.start_step(6)
            reader(*SOME).pow(2).sum().backward()
            gradients.append(encoder.encoder.embeddings.word_embeddings.weight.grad.clone())
        scale = rounding_error(6 * LAYER, 64)
        torch.testing.assert_close(*gradients, atol=scale, rtol=scale)

    def test_other_steps_take_what_was_read_last(self, interactions):
        encoder = interactions.encoder
        no_dropout(encoder)
        read = pooled(interactions, every=3)
        before = read.eval()(*SOME).detach()
        train_encoder(read, encoder.encoder)
        read.start_step(1)
        torch.testing.assert_close(read(*SOME), before, **HALF)

    def test_nothing_lags_behind_outside_training(self, interactions):
        read = pooled(interactions, every=3)
        train_encoder(read, interactions.encoder)
        read.eval()
        torch.testing.assert_close(read(*SOME), interactions(*SOME), **HALF)

    def test_nothing_lags_behind_loaded_weights(self, interactions):
        encoder = interactions.encoder
        no_dropout(encoder)
        read = pooled(interactions, every=3)
        weights = {name: value.clone() for name, value in read.state_dict().items()}
        before = read.eval()(*SOME).detach()
        train_encoder(read, encoder)
        read.load_state_dict(weights)
        read.start_step(1)
        torch.testing.assert_close(read(*SOME), before, **HALF)
