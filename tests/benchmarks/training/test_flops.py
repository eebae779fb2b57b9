"""Operations by formula equal what PyTorch counts where nothing is padded; the ceiling is the best rate tried."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig

from benchmarks.training.flops import EncoderSize, StepSize, parse_shape, peak_flops
from benchmarks.training.padded_model import PaddedModel
from benchmarks.training.padded_views import LONGEST, PaddedViews
from benchmarks.training.step_variants import encoded, lengths_of
from ubm_embed.data.batches.packing import SessionBatch
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.views import Pairs, Views

SESSIONS, INTERACTIONS, TOKENS = 3, 4, 7


def unpadded_views() -> Views:
    """Sessions of one length, of different interactions of one length."""
    count = SESSIONS * INTERACTIONS
    ids = np.arange(count * TOKENS, dtype=np.int32) % 50
    sequences = TokenTable(ids, np.arange(count + 1) * TOKENS)
    batch = SessionBatch.from_index(sequences, np.arange(count), np.full(SESSIONS, INTERACTIONS))
    rows = np.arange(SESSIONS)
    return Views(batch, {"interaction_reordering": Pairs.from_arrays(rows, rows, rows, rows)})


def counted(forward: Any, inputs: Any) -> int:
    """Operations of forward and backward as PyTorch counts them; in plain attention, as fused kernels repeat some."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        forward(inputs).sum().backward()
    return int(counter.get_total_flops())


def test_a_padded_step_without_padding_is_what_pytorch_counts(model: UserBehaviorModel) -> None:
    views = unpadded_views()
    padded = PaddedViews.from_packed(views, LONGEST)
    assert encoded(padded)["tokens"] == encoded(padded)["token_slots"]
    by_formula = StepSize.from_model(model, cls_only=False).step(*lengths_of(padded))
    assert by_formula == counted(PaddedModel(model), padded)


def test_our_step_is_what_pytorch_counts(model: UserBehaviorModel) -> None:
    views = unpadded_views()
    by_formula = StepSize.from_model(model, cls_only=True).step(*lengths_of(views))
    assert by_formula == counted(model, views.batch)


def test_padding_and_empty_slots_do_not_count() -> None:
    size = EncoderSize(layers=3, width=8, inner=32)
    real, with_empty_slots = torch.tensor([5, 2]), torch.tensor([5, 0, 2, 0])
    assert size.forward(real) == size.forward(with_empty_slots)
    assert size.forward(real, cls_only=True) == size.forward(with_empty_slots, cls_only=True)


def test_a_layer_by_hand() -> None:
    size = EncoderSize.from_config(
        BertConfig(num_hidden_layers=1, hidden_size=2, intermediate_size=3, num_attention_heads=1)
    )
    # Two elements: four projections of 2 x 2, scores and means of 2 x 2 pairs over 2, two products of 2 x 3; times two.
    assert size.forward(torch.tensor([2])) == 2 * (2 * 4 * 4 + 2 * 4 * 2 + 2 * 2 * 6)
    # The first element alone asks: keys and values of both, the rest of one.
    assert size.forward(torch.tensor([2]), cls_only=True) == 2 * (2 * 2 * 4 + 2 * 4 + 2 * 2 * 2 + 2 * 6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_ceiling_is_the_best_rate(precision: str) -> None:
    peak = peak_flops("cpu", precision, [parse_shape("32x48x64"), (8, 8, 8)])
    assert list(peak["seconds"]) == ["32x48x64", "8x8x8"]
    rates = [2 * 32 * 48 * 64 / peak["seconds"]["32x48x64"], 2 * 8**3 / peak["seconds"]["8x8x8"]]
    assert peak["flops"] == max(rates)
