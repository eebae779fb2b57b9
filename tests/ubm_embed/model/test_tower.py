"""The model as a tower has the vectors of the embedder, whichever way it reads interactions."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from tests.rounding import FORWARD_AND_BACKWARD, LAYER, rounding_error
from ubm_embed.data.batches.chunks import Chunks
from ubm_embed.data.batches.distinct_batches import NO_ACTION
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.session import Action
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.tower import CachedInteractions, TextInteractions, UBMTower
from ubm_embed.model.user_behavior_model import UserBehaviorModel

# Both encoders of the tiny model: two layers each, and no sum of more than 64 terms.
ATOL = rounding_error(4 * LAYER, 64)
GRADIENT = rounding_error(4 * LAYER * FORWARD_AND_BACKWARD, 64)

SEARCH, VIEW, ADD = Action.SEARCH.code, Action.VIEW.code, Action.ADD.code
PRODUCTS = 8
SESSIONS = (
    [(SEARCH, 8), (VIEW, 0), (VIEW, 1), (VIEW, 0)],
    [(VIEW, 4)],
    [(VIEW, 1), (VIEW, 2), (ADD, 2)],
    [(VIEW, 6), (VIEW, 7), (SEARCH, 9), (VIEW, 3)],
    [(VIEW, row % 8) for row in range(11)],  # longer than the model reads
)


def table(sessions=SESSIONS):
    actions, rows = (np.array(column) for column in zip(*[pair for one in sessions for pair in one], strict=True))
    return SessionTable(actions.astype(np.uint8), rows.astype(np.int32), np.cumsum([0, *map(len, sessions)]))


@pytest.fixture
def texts(tokenizer, products):
    phrases = tokenizer.search_phrases(["red shoes", "blue shirt"])
    return TokenTable.concatenate([tokenizer.product_texts(products), phrases])


@pytest.fixture
def interactions(model, tokenizer, texts):
    return TextInteractions(model.interaction_encoder, tokenizer, texts)


@pytest.fixture
def known():
    """Actions and rows of every interaction and of every product alone."""
    sessions = table()
    alone = np.arange(PRODUCTS)
    actions = np.concatenate([sessions.actions.astype(np.int64), np.full(PRODUCTS, NO_ACTION)])
    return actions, np.concatenate([sessions.rows.astype(np.int64), alone])


@pytest.fixture
def embedder(model, tokenizer):
    return Embedder(Checkpoint(model, tokenizer, "toy"), device="cpu")


class TestAgainstTheEmbedder:
    @torch.no_grad()
    def test_sessions(self, model, interactions, embedder, texts):
        found = UBMTower(model, interactions, None).sessions(table())
        encoded = torch.from_numpy(embedder.encode_table(texts, table()))
        torch.testing.assert_close(found, encoded, atol=ATOL, rtol=0)
        unit = torch.from_numpy(embedder.embed_table(texts, table()))
        torch.testing.assert_close(normalize(found, dim=1), unit, atol=ATOL, rtol=0)

    @torch.no_grad()
    def test_products(self, model, interactions, embedder, products):
        found = UBMTower(model, interactions, None).products(np.array([3, 0, 7, 3]))
        expected = torch.from_numpy(embedder.embed_products(products))[[3, 0, 7, 3]]
        torch.testing.assert_close(normalize(found, dim=1), expected, atol=ATOL, rtol=0)

    @torch.no_grad()
    def test_rows_of_any_kind_of_whole_number(self, model, interactions):
        tower = UBMTower(model, interactions, None)
        assert torch.equal(tower.products(np.array([1], np.int32)), tower.products(np.array([1])))


@torch.no_grad()
def test_long_sessions_are_read_from_their_last_interactions(model, interactions):
    tower = UBMTower(model, interactions, None)
    limit = model.config.max_interactions
    long, last, first = (table([SESSIONS[-1][part]]) for part in (slice(None), slice(-limit, None), slice(limit)))
    assert torch.equal(tower.sessions(long), tower.sessions(last))
    assert not torch.allclose(tower.sessions(long), tower.sessions(first))


class TestPrefixes:
    @pytest.fixture
    def causal(self, model, interactions, stir):
        causal = UserBehaviorModel(model.config.replace(causal=True), model.interaction_encoder)
        torch.manual_seed(0)
        stir(causal)
        return UBMTower(causal.eval(), interactions, None)

    @torch.no_grad()
    def test_are_what_sessions_returns_for_each_prefix(self, causal):
        sessions = SESSIONS[:4]
        expected = causal.sessions(table([one[:stop] for one in sessions for stop in range(1, len(one) + 1)]))
        torch.testing.assert_close(causal.prefixes(table(sessions)), expected, atol=ATOL, rtol=0)

    def test_of_a_session_that_is_too_long_are_refused(self, causal):
        with pytest.raises(ValueError, match="11 interactions, expected at most 8"):
            causal.prefixes(table())

    def test_of_a_bidirectional_encoder_are_refused(self, model, interactions):
        with pytest.raises(ValueError, match="only a causal session encoder"):
            UBMTower(model, interactions, None).prefixes(table(SESSIONS[:4]))


class TestChunks:
    """The chunk size of a step changes its memory, not its gradients."""

    @pytest.fixture
    def gradients(self, model, tokenizer, texts, known):
        model.train()
        weights = dict(model.interaction_encoder.named_parameters())

        def gradients(chunk_tokens, *parts):
            """Of all interactions together, or of these parts of them one after the other."""
            torch.manual_seed(3)
            read = TextInteractions(model.interaction_encoder, tokenizer, texts, chunk_tokens=chunk_tokens)
            vectors = torch.cat([read(*(column[part] for column in known)) for part in parts or [slice(None)]])
            loss = (vectors * torch.linspace(-1, 1, vectors.numel()).view_as(vectors)).pow(2).sum()
            return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))

        return gradients

    @pytest.mark.parametrize("chunk_tokens", [1, 30, 60, 10_000])
    def test_gradients_are_those_of_reading_all_at_once(self, model, gradients, chunk_tokens):
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        torch.testing.assert_close(gradients(chunk_tokens), gradients(None), rtol=GRADIENT, atol=GRADIENT)

    def test_what_is_read_again_drops_the_same_elements(self, gradients, texts, known):
        chunks = Chunks.from_lengths(texts.lengths[known[1]], 30)
        parts = [slice(*chunks.ends(chunk)) for chunk in range(len(chunks))]
        found, expected = gradients(30), gradients(None, *parts)
        assert len(parts) > 2
        torch.testing.assert_close(found, expected, rtol=GRADIENT, atol=GRADIENT)
        words = "encoder.embeddings.word_embeddings.weight"
        assert not torch.allclose(found[words], gradients(None)[words], rtol=1e-2)

    def test_less_is_kept_for_the_gradient(self, interactions, known):
        def kept():
            sizes = []
            with torch.autograd.graph.saved_tensors_hooks(lambda x: (sizes.append(x.numel()), x)[1], lambda x: x):
                interactions(*known)
            return sum(sizes)

        whole = kept()
        interactions.chunk_tokens = 30
        assert kept() < whole / 2


class TestCached:
    @pytest.mark.parametrize("at_once", [1, 20, 10_000])
    @torch.no_grad()
    def test_equals_reading_the_texts(self, model, interactions, known, at_once):
        read = UBMTower(model, interactions, None)
        encoded = CachedInteractions.from_texts(interactions, *known, tokens_per_batch=at_once)
        cached = UBMTower(model, encoded, None)
        torch.testing.assert_close(cached.sessions(table()), read.sessions(table()), atol=ATOL, rtol=0)
        everything = np.arange(PRODUCTS)
        torch.testing.assert_close(cached.products(everything), read.products(everything), atol=ATOL, rtol=0)

    @torch.no_grad()
    def test_is_read_without_dropout(self, model, interactions, known):
        expected = CachedInteractions.from_texts(interactions, *known).vectors
        model.train()
        assert torch.equal(CachedInteractions.from_texts(interactions, *known).vectors, expected)

    def test_encodes_each_different_interaction_once(self, interactions, known, monkeypatch):
        counted = []
        real = interactions.encoder.forward
        monkeypatch.setattr(
            interactions.encoder, "forward", lambda batch: (counted.append(batch.packing.rank.numel()), real(batch))[1]
        )
        reports = []
        CachedInteractions.from_texts(
            interactions, *known, lambda what, done, total, note="": reports.append((done, total))
        )
        assert reports[-1] == (sum(counted), sum(counted))
        assert sum(counted) == len(set(zip(*(column.tolist() for column in known), strict=True)))

    def test_trains_the_session_encoder_alone(self, model, interactions, known):
        tower = UBMTower(model, CachedInteractions.from_texts(interactions, *known), None)
        tower.sessions(table()).pow(2).sum().backward()
        assert all(weights.grad is None for weights in model.interaction_encoder.parameters())
        assert {name for name, _ in tower.named_parameters()} == {
            f"session_encoder.{name}" for name, _ in model.session_encoder.named_parameters()
        }


class TestFrozen:
    def test_vectors_are_given_back_as_they_are(self, model, interactions):
        vectors = torch.randn(PRODUCTS, 16)
        tower = UBMTower(model, interactions, vectors)
        assert torch.equal(tower.products(np.array([5, 2, 5])), vectors[[5, 2, 5]])
        assert not tower.products(np.arange(PRODUCTS)).requires_grad

    def test_neither_they_nor_cached_ones_are_saved(self, model, interactions, known):
        cached = CachedInteractions.from_texts(interactions, *known)
        names = set(UBMTower(model, cached, torch.randn(PRODUCTS, 16)).state_dict())
        assert names == {f"session_encoder.{name}" for name in model.session_encoder.state_dict()}


def test_training_the_tower_trains_the_model(model, interactions):
    tower = UBMTower(model, interactions, None)
    (tower.sessions(table()).sum() + tower.products(np.arange(3)).sum()).backward()
    assert all(weights.grad is not None for weights in model.session_encoder.parameters())
    used = [weights.grad is not None for weights in model.interaction_encoder.parameters()]
    assert any(used)
