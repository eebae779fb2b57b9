"""The plain form is the same computation as ours: equal losses and gradients, however much it pads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from benchmarks.training.padded_views import LONGEST, OCCURRENCES, PaddedSessions, PaddedViews, Padding
from benchmarks.training.plain_form import PlainModel
from benchmarks.training.training_form import pair_losses
from ubm_embed.data.arrays import offsets_of
from ubm_embed.data.batches.distinct_batches import TokenBatch
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.stages import ITEM_LOSSES, SESSION_LOSSES
from ubm_embed.training.pretraining.views import Views, item_views, session_views

# The toy model has 8 places for interactions, where the paper's has 32.
FULL = Padding(interactions=8, tokens=64)
PADDINGS = pytest.mark.parametrize("padding", [FULL, LONGEST, OCCURRENCES], ids=["full", "longest", "occurrences"])


@pytest.fixture(params=[1, 2], ids=["stage1", "stage2"])
def views(request: pytest.FixtureRequest, products: pl.DataFrame, tokenizer: InteractionTokenizer) -> Views:
    """A step of either stage, with products that come again and sessions of 1 to 6 interactions."""
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
def test_losses_are_those_of_the_packed_form(model: UserBehaviorModel, views: Views, padding: Padding) -> None:
    ours = packed_losses(model, views)
    padded = PaddedViews.of(views, padding)
    theirs = pair_losses(PlainModel(model)(padded), padded.pairs)
    assert theirs.keys() == ours.keys()
    for name, loss in theirs.items():
        assert loss.item() == pytest.approx(ours[name].item(), abs=1e-4)


@PADDINGS
def test_gradients_are_those_of_the_packed_form(model: UserBehaviorModel, views: Views, padding: Padding) -> None:
    plain, padded = PlainModel(model), PaddedViews.of(views, padding)
    sum(packed_losses(model, views).values()).backward()  # type: ignore[union-attr]
    sum(pair_losses(plain(padded), padded.pairs).values()).backward()  # type: ignore[union-attr]
    for theirs, ours in (
        (plain.encoder, model.interaction_encoder.encoder),
        (plain.session_layers, model.session_encoder.layers),
    ):
        for one, other in zip(theirs.parameters(), ours.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, atol=1e-3, rtol=1e-3)


def test_each_form_encodes_what_its_padding_says(views: Views) -> None:
    full, longest, occurrences = (PaddedViews.of(views, padding) for padding in (FULL, LONGEST, OCCURRENCES))
    sizes = [sum(tokens.ids.numel() for tokens in form.sequences) for form in (full, longest, occurrences)]
    tokens = [sum(int(view.lengths.sum()) for view in form.sequences) for form in (full, longest, occurrences)]
    if isinstance(full.views[0], PaddedSessions):
        assert sizes[0] == 3 * 4 * 8 * 64  # views, sessions, places, tokens
        assert sizes[0] > sizes[1] > sizes[2]
    else:
        assert sizes[0] == 2 * 10 * 64  # views, items of the pairs, tokens
        assert sizes[0] > sizes[1] == sizes[2]
    assert len(set(tokens)) == 1, "the same tokens under every padding"
    assert tokens[0] < sizes[2]


def test_the_plain_model_has_weights_of_its_own(
    model: UserBehaviorModel, views: Views, stir: Callable[[nn.Module], None]
) -> None:
    plain, before = PlainModel(model), packed_losses(model, views)
    stir(plain)
    after = packed_losses(model, views)
    assert all(torch.equal(before[name], after[name]) for name in before)
