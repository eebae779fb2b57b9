"""SR-GNN learns the toy world; its graphs are the paper's and its vectors those of its formulas."""

import pytest
import torch
from torch.nn.functional import normalize

from benchmarks.quality.baselines.item_sequences import ItemSequences
from benchmarks.quality.baselines.sr_gnn import SRGNN, SessionGraphs
from tests.rounding import LAYER, rounding_error


@pytest.mark.parametrize("temperature", [None, 1 / 16])
def test_it_learns_what_comes_next(hit_after_training, world_products, temperature):
    torch.manual_seed(0)
    # Without dropout it overfits the few walks within 60 steps, and misses a sixth of the others.
    tower = SRGNN(world_products, dimension=32, dropout=0.3, temperature=temperature)
    assert hit_after_training(tower, steps=80) > 0.9


def graphs_of(table, products):
    return SessionGraphs.from_sequences(ItemSequences.from_sessions(table, products, 8), products)


def test_the_example_of_the_paper(table_of):
    """Its figure 2: v1, v2, v3, v2, v4; beside a longer session, so that there is padding."""
    graphs = graphs_of(table_of([[1, 2, 3, 2, 4], [0, 1, 2, 3, 4, 5]]), 6)
    assert graphs.nodes[0].tolist() == [1, 2, 3, 4, 6, 6]
    assert graphs.real[0].tolist() == [True] * 4 + [False] * 2
    assert graphs.last.tolist() == [3, 5]
    assert graphs.outgoing[0, :4, :4].tolist() == [[0, 1, 0, 0], [0, 0, 0.5, 0.5], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert graphs.incoming[0, :4, :4].tolist() == [[0, 0, 0, 0], [0.5, 0, 0.5, 0], [0, 1, 0, 0], [0, 1, 0, 0]]
    for adjacency in (graphs.incoming[0], graphs.outgoing[0]):
        assert adjacency[4:].sum() == adjacency[:, 4:].sum() == 0


def test_the_weight_of_an_edge_is_its_number_of_occurrences(table_of):
    graphs = graphs_of(table_of([[2, 1, 2, 1, 2, 3, 3]]), 6)
    assert graphs.nodes[0].tolist() == [1, 2, 3, 6, 6, 6, 6]
    assert torch.allclose(graphs.outgoing[0, :3, :3], torch.tensor([[0, 1, 0], [2 / 3, 0, 1 / 3], [0, 0, 1]]))
    assert torch.allclose(graphs.incoming[0, :3, :3], torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0.5, 0.5]]))


def test_sessions_without_an_edge(table_of):
    graphs = graphs_of(table_of([[3], [6, 7]]), 6)
    assert graphs.real.tolist() == [[True], [False]]
    assert graphs.incoming.sum() == graphs.outgoing.sum() == 0


@pytest.mark.parametrize(("temperature", "steps"), [(None, 1), (None, 2), (0.1, 1)])
def test_the_formulas_written_out(table_of, temperature, steps):
    """v1, v2, v1, v3 node by node."""
    torch.manual_seed(0)
    tower = SRGNN(6, dimension=8, temperature=temperature, steps=steps).eval()
    states = tower.items.weight[[1, 2, 3]]
    if temperature:
        states = normalize(states, dim=1)
    incoming, outgoing = {0: [1], 1: [0], 2: [0]}, {0: [1, 2], 1: [0], 2: []}
    for _ in range(steps):
        moved = []
        for node in range(3):
            parts = [
                sum((edge(states[other]) for other in neighbours[node]), torch.zeros(8)) / max(1, len(neighbours[node]))
                for edge, neighbours in ((tower.incoming, incoming), (tower.outgoing, outgoing))
            ]
            moved.append(tower.gate(torch.cat(parts)[None], states[[node]])[0])
        states = torch.stack(moved)
    weights = [tower.attention(torch.sigmoid(tower.last_query(states[2]) + tower.node_key(state))) for state in states]
    whole = sum(weight * state for weight, state in zip(weights, states, strict=True))
    expected = tower.both(torch.cat([states[2], whole]))
    assert torch.allclose(
        tower.sessions(table_of([[1, 2, 1, 3], [0, 1, 2, 3, 4]]))[0], expected, atol=rounding_error(2 * LAYER, 16)
    )
