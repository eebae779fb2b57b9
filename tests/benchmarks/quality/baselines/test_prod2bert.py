"""Prod2BERT predicts masked products after pre-training, and a session is the mean of its positions."""

from itertools import permutations

import numpy as np
import pytest
import torch

from benchmarks.quality.baselines.item_sequences import ItemSequences
from benchmarks.quality.baselines.prod2bert import MaskedItems, Prod2BERT, pretrain_masked_items
from tests.rounding import LAYER, rounding_error
from ubm_embed.errors import InvalidData


def small(products, **settings):
    torch.manual_seed(0)
    return Prod2BERT(products, dimension=32, layers=2, heads=2, **settings)


def pretrain(tower, sessions, steps, seed=0, **settings):
    return pretrain_masked_items(tower, sessions, steps=steps, batch=64, learning_rate=1e-2, seed=seed, **settings)


@pytest.fixture
def triples(table_of):
    """Products in groups of three, in some orders for training and in others for testing."""
    every = [[3 * group + member for member in order] for group in range(8) for order in permutations(range(3))]
    order = np.random.default_rng(0).permutation(len(every))
    return table_of([every[index] for index in order[12:]]), table_of([every[index] for index in order[:12]])


def test_masked_pretraining_alone_predicts_masked_products(triples):
    training, test = triples
    tower = small(24, dropout=0.0)
    losses = pretrain(tower, training, steps=100)
    sequences = tower.read(test)
    mask = torch.zeros_like(sequences.filled)
    mask[:, 1] = True
    masked = ItemSequences(sequences.items.masked_fill(mask, tower.mask), sequences.lengths)
    tower.eval()
    with torch.no_grad():
        hits = tower.fill(masked, mask).argmax(dim=1) == sequences.items[mask]
    assert hits.float().mean() > 0.5, "chance is 1 in 24"
    assert losses[-10:].mean() < losses[:10].mean() / 2


def test_a_session_is_the_mean_of_its_positions(stir, table_of):
    tower = small(6).eval()
    stir(tower)
    table = table_of([[1, 2, 3], [0, 1, 2, 3, 4]])
    outputs = tower.outputs(tower.read(table))
    assert torch.allclose(tower.sessions(table)[0], outputs[0, :3].mean(dim=0), atol=rounding_error(2 * LAYER, 128))


def test_the_same_seed_gives_the_same_weights(walks, world_products):
    runs = [small(world_products) for _ in range(3)]
    losses = [pretrain(run, walks[0].sessions, steps=3, seed=seed) for run, seed in zip(runs, (1, 1, 2), strict=True)]
    assert losses[0].tolist() == losses[1].tolist() != losses[2].tolist()
    weights = [run.items.weight for run in runs]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_progress_is_reported(walks, world_products):
    calls = []
    pretrain(small(world_products), walks[0].sessions, steps=2, progress=lambda *call: calls.append(call[:3]))
    assert calls == [("masked items", 1, 2), ("masked items", 2, 2)]


@pytest.mark.parametrize("sessions", [[[1], [2, 9]], [[8, 9]], []])
def test_sessions_too_short_to_mask_are_an_error(table_of, sessions):
    with pytest.raises(InvalidData, match="no session has two products"):
        pretrain(small(6), table_of(sessions), steps=1)


class TestMaskedItems:
    PRODUCTS = 40

    def draw(self, masking_rate=0.15, sessions=1000, length=10):
        rng = np.random.default_rng(0)
        items = torch.from_numpy(rng.integers(self.PRODUCTS, size=(sessions, length)))
        lengths = torch.from_numpy(rng.integers(1, length + 1, size=sessions))
        sequences = ItemSequences(items, lengths)
        sequences.items[~sequences.filled] = self.PRODUCTS
        before = sequences.items.clone()
        masked = MaskedItems.draw(sequences, Prod2BERT(self.PRODUCTS, dimension=8), masking_rate, rng)
        assert torch.equal(sequences.items, before), "the caller's sequences stay"
        return sequences, masked

    def test_only_masked_positions_change_and_their_products_are_the_targets(self):
        sequences, masked = self.draw()
        assert torch.equal(masked.sequences.items[~masked.mask], sequences.items[~masked.mask])
        assert torch.equal(masked.targets, sequences.items[masked.mask])
        assert masked.targets.max() < self.PRODUCTS, "padding is never masked"

    def test_each_session_has_at_least_one_mask(self):
        _, masked = self.draw(masking_rate=0.0)
        assert (masked.mask.sum(dim=1) == 1).all()

    def test_masks_random_and_kept_products_have_bert_s_rates(self):
        sequences, masked = self.draw(masking_rate=0.5)
        assert masked.mask[sequences.filled].float().mean() == pytest.approx(0.53, abs=0.04)
        inputs = masked.sequences.items[masked.mask]
        assert (inputs == self.PRODUCTS + 1).float().mean() == pytest.approx(0.8, abs=0.03)
        assert (inputs == masked.targets).float().mean() == pytest.approx(0.1, abs=0.03)
