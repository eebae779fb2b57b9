"""Operations that are counted by formula are those that a model does where nothing is padded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig

from benchmarks.training.padded_views import LONGEST, PaddedViews
from benchmarks.training.plain_form import PlainModel
from benchmarks.training.step_flops import EncoderSize, StepSize
from benchmarks.training.training_form import encoded, lengths_of
from ubm_embed.data.batches.distinct_batches import SessionBatch
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.views import Pairs, Views

SESSIONS, INTERACTIONS, TOKENS = 3, 4, 7


def unpadded_views() -> Views:
    """Sessions of one length, of different interactions of one length."""
    count = SESSIONS * INTERACTIONS
    ids = np.arange(count * TOKENS, dtype=np.int32) % 50
    sequences = TokenTable(ids, np.arange(count + 1) * TOKENS)
    batch = SessionBatch.of(sequences, np.arange(count), np.full(SESSIONS, INTERACTIONS))
    rows = np.arange(SESSIONS)
    return Views(batch, {"interaction_reordering": Pairs.of(rows, rows, rows, rows)})


def counted(forward: Any, inputs: Any) -> int:
    """Forward and backward, as PyTorch counts them; attention as plain products, as a fused kernel does some twice."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        forward(inputs).sum().backward()
    return int(counter.get_total_flops())


def test_a_padded_step_without_padding_is_what_pytorch_counts(model: UserBehaviorModel) -> None:
    views = unpadded_views()
    padded = PaddedViews.of(views, LONGEST)
    assert encoded(padded)["tokens"] == encoded(padded)["places"]
    by_formula = StepSize.of(model, heads_alone=False).step(*lengths_of(padded))
    assert by_formula == counted(PlainModel(model), padded)


def test_our_step_is_what_pytorch_counts(model: UserBehaviorModel) -> None:
    views = unpadded_views()
    by_formula = StepSize.of(model, heads_alone=True).step(*lengths_of(views))
    assert by_formula == counted(model, views.batch)


def test_padding_and_empty_places_do_not_count() -> None:
    size = EncoderSize(layers=3, width=8, inner=32)
    real, with_empty_places = torch.tensor([5, 2]), torch.tensor([5, 0, 2, 0])
    assert size.forward(real) == size.forward(with_empty_places)
    assert size.forward(real, heads_alone=True) == size.forward(with_empty_places, heads_alone=True)


def test_a_layer_by_hand() -> None:
    size = EncoderSize.of(BertConfig(num_hidden_layers=1, hidden_size=2, intermediate_size=3, num_attention_heads=1))
    # Two elements: four projections of 2 x 2, scores and means of 2 x 2 pairs over 2, two products of 2 x 3; times two.
    assert size.forward(torch.tensor([2])) == 2 * (2 * 4 * 4 + 2 * 4 * 2 + 2 * 2 * 6)
    # The first element alone asks: keys and values of both, the rest of one.
    assert size.forward(torch.tensor([2]), heads_alone=True) == 2 * (2 * 2 * 4 + 2 * 4 + 2 * 2 * 2 + 2 * 6)
