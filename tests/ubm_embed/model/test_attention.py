"""Packed attention against attention over one sequence at a time."""

import numpy as np
import pytest
import torch
from torch import nn

from ubm_embed.data.packing import Packing
from ubm_embed.model.attention import packed_attention


def one_at_a_time(query, key, value, lengths, scaling):
    """Softmax attention written out, [1, heads, T, width] -> [1, T, heads, width]."""
    outputs = []
    for q, k, v in zip(*(tensor[0].split(lengths, dim=1) for tensor in (query, key, value)), strict=True):
        weights = torch.softmax(scaling * q @ k.transpose(1, 2), dim=2)
        outputs.append((weights @ v).transpose(0, 1))
    return torch.cat(outputs).unsqueeze(0)


@pytest.mark.parametrize("lengths", [[1], [4], [1, 2, 2, 5], [3, 3, 3]])
@pytest.mark.parametrize("scaling", [0.5, 2.0])
def test_each_sequence_attends_to_itself_alone(lengths, scaling):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, sum(lengths), 4)
    packing = Packing.of(np.array(lengths))  # the lengths ascend, so the packed order is the caller's
    found, weights = packed_attention(nn.Identity(), query, key, value, None, packing=packing, scaling=scaling)
    torch.testing.assert_close(found, one_at_a_time(query, key, value, lengths, scaling))
    assert weights is None


def test_a_mask_is_our_own_mistake():
    part = torch.zeros(1, 2, 3, 4)
    with pytest.raises(AssertionError, match="no mask"):
        packed_attention(nn.Identity(), part, part, part, torch.zeros(1), packing=Packing.of(np.array([3])))


def test_dropout_is_applied():
    torch.manual_seed(0)
    value = torch.ones(1, 2, 8, 4)
    packing = Packing.of(np.array([8]))
    found, _ = packed_attention(nn.Identity(), value, value, value, None, packing=packing, dropout=0.5)
    assert not torch.allclose(found, torch.ones_like(found))
