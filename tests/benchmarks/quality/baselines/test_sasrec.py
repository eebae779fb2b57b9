"""SASRec learns the toy world, equals its formulas written out, and sees nothing of later products."""

import math

import pytest
import torch
from torch.nn.functional import layer_norm

from benchmarks.quality.baselines.sasrec import Block, SASRec
from tests.rounding import LAYER, rounding_error


def test_it_learns_what_comes_next(hit_after_training, world_products):
    torch.manual_seed(0)
    assert hit_after_training(SASRec(world_products, dimension=32, dropout=0.1, heads=2), steps=80) > 0.9


def test_a_position_sees_nothing_of_later_ones():
    torch.manual_seed(0)
    block = Block(8, heads=2, dropout=0.0)
    states = torch.randn(1, 4, 8)
    changed = states.clone()
    changed[:, 2:] += 1.0
    outputs, after_change = block(states), block(changed)
    assert torch.allclose(outputs[:, :2], after_change[:, :2], atol=rounding_error(LAYER, 8))
    assert not torch.allclose(outputs[:, 2:], after_change[:, 2:], atol=1e-3)


def plain_block(block, states):
    """One head, position by position: [S, D] -> [S, D]."""
    normed = layer_norm(states, (8,), block.attention_norm.weight, block.attention_norm.bias)
    queries, keys, values = (normed @ matrix.weight.T for matrix in (block.queries, block.keys, block.values))
    outputs = []
    for position in range(len(states)):
        weights = (keys[: position + 1] @ queries[position] / math.sqrt(8)).softmax(dim=0)
        state = states[position] + weights @ values[: position + 1]
        normed_state = layer_norm(state, (8,), block.forward_norm.weight, block.forward_norm.bias)
        outputs.append(state + block.feed_forward(normed_state))
    return torch.stack(outputs)


def test_the_formulas_written_out(stir, table_of):
    torch.manual_seed(0)
    tower = SASRec(6, dimension=8, max_interactions=5).eval()
    stir(tower)
    states = tower.items.weight[[3, 1, 4]] * math.sqrt(8) + tower.positions.weight[:3]
    for block in tower.blocks:
        states = plain_block(block, states)
    tolerance = rounding_error(2 * LAYER + 1, 8)  # two blocks and a norm
    expected = layer_norm(states[-1], (8,), tower.norm.weight, tower.norm.bias)
    assert torch.allclose(
        tower.sessions(table_of([[3, 1, 4], [0, 1, 2, 3]]))[0], expected, atol=tolerance, rtol=tolerance
    )


def test_positions_are_counted_from_the_first_product_that_is_read(table_of):
    tower = SASRec(6, dimension=8, max_interactions=3).eval()
    for sessions in ([[1]], [[6, 1, 6]], [[1, 2], [3]], [[0, 1, 2, 3, 4, 5]]):
        tower.zero_grad()
        tower.sessions(table_of(sessions)).square().sum().backward()
        read = max(sum(row < 6 for row in session) for session in sessions)
        used = tower.positions.weight.grad.abs().sum(dim=1) > 0
        assert used.tolist() == [position < read for position in range(3)]


def test_heads_must_divide_the_dimension():
    with pytest.raises(ValueError, match="heads must divide the dimension 8, got 3"):
        SASRec(6, dimension=8, heads=3)
