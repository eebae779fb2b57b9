"""One layer over fixed, centred vectors: its start, what it learns, how it reads sessions."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from benchmarks.quality.baselines.mean_text import MeanText
from tests.rounding import rounding_error
from ubm_embed.data.arrays import offsets_of
from ubm_embed.data.batches.distinct_batches import NO_ACTION, distinct_interactions
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.model.tower import CachedInteractions

VIEW, PRODUCTS, WIDTH = 1, 12, 16
PHRASE = PRODUCTS
SESSIONS = [[3], [4, 9, PHRASE], [1, 2, 3, 4, 5], [8, 8]]


def _known():
    """Views of products and a phrase, and the products alone."""
    rows = np.concatenate([np.arange(PRODUCTS), np.arange(PRODUCTS + 1)])
    actions = np.concatenate([np.full(PRODUCTS, NO_ACTION), np.full(PRODUCTS + 1, VIEW)])
    actions, rows, _ = distinct_interactions(actions, rows)
    return actions, rows


@pytest.fixture
def interactions():
    vectors = torch.randn(2 * PRODUCTS + 1, WIDTH, generator=torch.Generator().manual_seed(0))
    return CachedInteractions(*_known(), vectors)


@pytest.fixture
def tower(interactions):
    def make(frozen=None):
        return MeanText(interactions, max_interactions=4, frozen=frozen)

    return make


def table(*sessions):
    rows = np.array([row for session in sessions for row in session], dtype=np.int32)
    lengths = np.array([len(session) for session in sessions], dtype=np.int64)
    return SessionTable(np.full(rows.size, VIEW, dtype=np.uint8), rows, offsets_of(lengths))


@torch.no_grad()
def test_it_starts_as_the_centred_mean_of_the_last_interactions(tower, interactions):
    model, centre = tower(), interactions.vectors.mean(dim=0)
    for session, vector in zip(SESSIONS, model.sessions(table(*SESSIONS)), strict=True):
        rows = np.array(session[-4:])
        torch.testing.assert_close(vector, interactions(np.full(rows.size, VIEW), rows).mean(dim=0) - centre)
    rows = np.array([5, 0, 5], dtype=np.int32)
    torch.testing.assert_close(
        model.products(rows), interactions(np.full(3, NO_ACTION), rows.astype(np.int64)) - centre
    )


@torch.no_grad()
def test_the_common_part_of_all_vectors_is_subtracted(tower, interactions):
    frozen, common = torch.randn(PRODUCTS, WIDTH), 100 * torch.randn(WIDTH)
    shifted = CachedInteractions(*_known(), interactions.vectors + common)
    other = MeanText(shifted, max_interactions=4, frozen=frozen + common)
    everything = np.arange(PRODUCTS)
    atol = 300 * rounding_error(3, 2 * PRODUCTS + 1)  # the common part is 300 at most, and so is its rounding
    torch.testing.assert_close(other.products(everything), tower(frozen).products(everything), atol=atol, rtol=0)
    sessions = table(*SESSIONS)
    torch.testing.assert_close(other.sessions(sessions), tower(frozen).sessions(sessions), atol=atol, rtol=0)


@torch.no_grad()
def test_a_session_does_not_depend_on_the_others_of_its_batch(tower):
    model = tower()
    torch.nn.init.normal_(model.session_layer.weight)
    alone = torch.cat([model.sessions(table(session)) for session in SESSIONS])
    torch.testing.assert_close(model.sessions(table(*SESSIONS)), alone)


def test_frozen_products_stay_and_the_session_layer_alone_is_trained(tower):
    frozen = torch.randn(PRODUCTS, WIDTH)
    model = tower(frozen)
    assert torch.equal(model.products(np.array([5, 2, 5])), (frozen - frozen.mean(dim=0))[[5, 2, 5]])
    assert set(model.state_dict()) == {"session_layer.weight", "session_layer.bias"}
    assert {name for name, _ in tower().named_parameters()} == {
        f"{layer}.{part}" for layer in ("session_layer", "product_layer") for part in ("weight", "bias")
    }


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "products trained"])
def test_it_learns_what_follows(tower, interactions, frozen):
    """After a product comes the next one, of unrelated vectors."""
    alone = interactions(np.full(PRODUCTS, NO_ACTION), np.arange(PRODUCTS))
    model, lasts = tower(alone if frozen else None), np.arange(PRODUCTS)
    targets, everything = torch.from_numpy((lasts + 1) % PRODUCTS), np.arange(PRODUCTS)
    sessions = table(*([row] for row in lasts))

    def scores():
        cosines = normalize(model.sessions(sessions)) @ normalize(model.products(everything)).T
        return cosines / model.temperature

    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(100):
        optimizer.zero_grad()
        cross_entropy(scores(), targets).backward()
        optimizer.step()
    assert (scores().argmax(dim=1) == targets).float().mean() > 0.9
