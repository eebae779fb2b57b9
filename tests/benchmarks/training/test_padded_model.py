"""The padded model computes the same as ours: equal losses and gradients, however much it pads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from benchmarks.training.padded_model import PaddedModel
from benchmarks.training.padded_views import LONGEST, OCCURRENCES, PaddedSessions, PaddedViews, Padding
from benchmarks.training.step_variants import TOLERANCES, pair_losses
from tests.rounding import FORWARD_AND_BACKWARD, LAYER, rounding_error
from ubm_embed.data.arrays import offsets_of
from ubm_embed.data.batches.packing import TokenBatch
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import ITEM_LOSSES, SESSION_LOSSES
from ubm_embed.training.pretraining.views import Views, item_views, session_views

# The toy model reads 8 interactions, the paper's reads 32.
FULL = Padding(interactions=8, tokens=64)
PADDINGS = pytest.mark.parametrize("padding", [FULL, LONGEST, OCCURRENCES], ids=["full", "longest", "occurrences"])


@pytest.fixture(params=[1, 2], ids=["stage1", "stage2"])
def views(request: pytest.FixtureRequest, products: pl.DataFrame, tokenizer: InteractionTokenizer) -> Views:
    """A step of either stage, with repeated products and sessions of 1 to 6 interactions."""
    texts, rng = tokenizer.product_texts(products), np.random.default_rng(0)
    if request.param == 1:
        items, next_items = np.array([0, 1, 4, 0, 6]), np.array([1, 4, 0, 2, 7])
        return item_views(tokenizer, texts, items, next_items, frozenset(ITEM_LOSSES), rng)
    lengths = np.array([3, 6, 1, 2])
    actions, rows = rng.integers(1, 4, lengths.sum()), rng.integers(0, 5, lengths.sum())
    sessions = SessionTable(actions.astype(np.uint8), rows.astype(np.int32), offsets_of(lengths))
    return session_views(tokenizer, texts, sessions, frozenset(SESSION_LOSSES), rng)


def packed_losses(model: UserBehaviorModel, views: Views) -> dict[str, Tensor]:
    encode: nn.Module = model.interaction_encoder if isinstance(views.batch, TokenBatch) else model
    return pair_losses(encode(views.batch), views.pairs)


@PADDINGS
def test_losses_equal_those_of_the_packed_model(model: UserBehaviorModel, views: Views, padding: Padding) -> None:
    ours = packed_losses(model, views)
    padded = PaddedViews.from_packed(views, padding)
    losses = pair_losses(PaddedModel(model)(padded), padded.pairs)
    assert losses.keys() == ours.keys()
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(ours[name].item(), abs=TOLERANCES["float32"])


@PADDINGS
def test_gradients_equal_those_of_the_packed_model(model: UserBehaviorModel, views: Views, padding: Padding) -> None:
    copy, padded = PaddedModel(model), PaddedViews.from_packed(views, padding)
    sum(packed_losses(model, views).values()).backward()  # type: ignore[union-attr]
    sum(pair_losses(copy(padded), padded.pairs).values()).backward()  # type: ignore[union-attr]
    # Two encoders of two layers, forward and backward; the temperature multiplies errors by 20.
    tolerance = 20 * rounding_error(FORWARD_AND_BACKWARD * 4 * LAYER, 64)
    for theirs, ours in (
        (copy.encoder, model.interaction_encoder.encoder),
        (copy.session_layers, model.session_encoder.layers),
    ):
        for one, other in zip(theirs.parameters(), ours.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, atol=tolerance, rtol=tolerance)


def test_each_padding_encodes_as_many_slots_as_it_says(views: Views) -> None:
    full, longest, occurrences = (PaddedViews.from_packed(views, padding) for padding in (FULL, LONGEST, OCCURRENCES))
    sizes = [sum(tokens.ids.numel() for tokens in variant.sequences) for variant in (full, longest, occurrences)]
    tokens = [sum(int(view.lengths.sum()) for view in variant.sequences) for variant in (full, longest, occurrences)]
    if isinstance(full.views[0], PaddedSessions):
        assert sizes[0] == 3 * 4 * 8 * 64  # views, sessions, interaction slots, token slots
        assert sizes[0] > sizes[1] > sizes[2]
    else:
        assert sizes[0] == 2 * 10 * 64  # views, items of the pairs, token slots
        assert sizes[0] > sizes[1] == sizes[2]
    assert len(set(tokens)) == 1, "the same tokens under every padding"
    assert tokens[0] < sizes[2]


def test_the_padded_model_has_its_own_weights(
    model: UserBehaviorModel, views: Views, stir: Callable[[nn.Module], None]
) -> None:
    copy, before = PaddedModel(model), packed_losses(model, views)
    stir(copy)
    after = packed_losses(model, views)
    assert all(torch.equal(before[name], after[name]) for name in before)
