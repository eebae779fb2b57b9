"""GRU4Rec learns the toy world, and its state is the textbook's."""

import pytest
import torch

from benchmarks.quality.baselines.gru4rec import GRU4Rec
from tests.rounding import rounding_error


@pytest.mark.parametrize("temperature", [None, 0.1])
def test_it_learns_what_comes_next(hit_after_training, world_products, temperature):
    torch.manual_seed(0)
    tower = GRU4Rec(world_products, dimension=32, dropout=0.1, temperature=temperature)
    assert hit_after_training(tower) > 0.9


def test_a_session_is_the_last_state_step_by_step(table_of):
    torch.manual_seed(0)
    tower = GRU4Rec(6, dimension=8).eval()
    cell = torch.nn.GRUCell(8, 8)
    cell.load_state_dict({name.removesuffix("_l0"): weight for name, weight in tower.gru.state_dict().items()})
    state = torch.zeros(1, 8)
    for item in (3, 1, 4):
        state = cell(tower.items.weight[[item]], state)
    # Three steps, each with a sum over the input and one over the state.
    assert torch.allclose(
        tower.sessions(table_of([[3, 1, 4], [0, 1, 2, 3, 4]]))[0], state[0], atol=rounding_error(3 * 2, 8)
    )


def test_several_layers(table_of):
    assert GRU4Rec(6, dimension=8, layers=2).sessions(table_of([[1, 2]])).shape == (1, 8)
