"""Heads asked at all positions of a session, against the same prefixes one by one."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from tests.ubm_embed.training.finetuning.test_objectives import ROUNDING, UNREAD, WIDTH, CausalToyTower, table
from ubm_embed.data.tasks.examples import TargetSequences
from ubm_embed.data.tasks.session_features import FEATURES, session_features
from ubm_embed.model.heads import LENGTH_EDGES, LengthDistributionHead, PurchaseIntentionHead
from ubm_embed.training.finetuning.head_objectives import LengthDistribution, PurchaseIntention

# The first session is longer than the tower reads: its window begins at the third interaction.
SESSIONS = ([0, 1, 1, 2, 3, 1, 5], [4, 3])
POSITIONS = np.array([4, 5, 6, 8])
PREFIXES = ([0, 1, 1, 2, 3], [0, 1, 1, 2, 3, 1], [0, 1, 1, 2, 3, 1, 5], [4, 3])
READ = ([1, 2, 3], [1, 2, 3, 1], [1, 2, 3, 1, 5], [4, 3])
WEIGHTS = torch.tensor([1 / 6, 1 / 6, 1 / 6, 1 / 2])


def stirred(head):
    torch.manual_seed(0)
    torch.nn.init.normal_(head.layers[-1].weight)
    head.features.fit(session_features(table(PREFIXES)))
    return head


def inputs(tower):
    """What the head reads of each prefix: the vector of its window, and the features of all of it."""
    return torch.cat([tower.sessions(table(READ)), torch.from_numpy(session_features(table(PREFIXES)))], dim=1)


def sequences(targets):
    return TargetSequences(table(SESSIONS), POSITIONS, np.array(targets))


class TestPurchaseIntention:
    BOUGHT = (True, True, True, False)

    @pytest.fixture
    def objective(self):
        head = stirred(PurchaseIntentionHead(WIDTH, len(FEATURES)))
        head.purchase_share.fill_(0.2)
        return PurchaseIntention(CausalToyTower(), head, all_positions=True).eval()

    def test_each_session_weighs_the_same_at_the_real_odds(self, objective):
        logits = objective.head(inputs(objective.tower)) + math.log(0.2 / 0.8)
        losses = binary_cross_entropy_with_logits(logits, torch.tensor(self.BOUGHT).float(), reduction="none")
        loss = objective.loss(sequences(self.BOUGHT), UNREAD)
        assert loss.item() == pytest.approx((losses @ WEIGHTS).item(), rel=ROUNDING)

    def test_chance_is_the_share_of_purchases_for_everybody(self, objective):
        objective.head.layers[-1].weight.data.zero_()
        losses = [objective.loss(sequences([bought] * 4), UNREAD).item() for bought in (True, False)]
        assert 0.2 * losses[0] + 0.8 * losses[1] == pytest.approx(objective.chance, rel=ROUNDING)

    def test_gradients_reach_tower_and_head(self, objective):
        objective.loss(sequences(self.BOUGHT), UNREAD).backward()
        assert objective.tower.texts.grad.abs().max() > 0
        assert all(weights.grad.abs().max() > 0 for weights in objective.head.parameters())


class TestLengthDistribution:
    LENGTHS, TRAINING = (3, 2, 1, 500), np.array([1, 1, 2, 3, 9, 500])

    @pytest.fixture
    def objective(self):
        head = stirred(LengthDistributionHead(WIDTH, len(FEATURES)))
        head.fit(self.TRAINING)
        return LengthDistribution(CausalToyTower(), head, all_positions=True).eval()

    def test_is_the_cross_entropy_of_bins_and_the_squared_error_and_each_session_weighs_the_same(self, objective):
        bins = torch.tensor([sum(edge <= length for edge in LENGTH_EDGES) - 1 for length in self.LENGTHS])
        read = inputs(objective.tower)
        errors = objective.head.predict(read)[:, 0] - torch.tensor(self.LENGTHS)
        losses = cross_entropy(objective.head(read), bins, reduction="none") + errors**2 / self.TRAINING.var()
        loss = objective.loss(sequences(self.LENGTHS), UNREAD)
        assert loss.item() == pytest.approx((losses @ WEIGHTS).item(), rel=ROUNDING)

    @pytest.mark.parametrize("batch", [1, 512])
    def test_predictions_are_three_numbers_a_prefix(self, objective, batch):
        objective.batch = batch
        prefixes = table(READ)
        with torch.no_grad():
            read = torch.cat([objective.tower.sessions(prefixes), torch.from_numpy(session_features(prefixes))], dim=1)
            expected = objective.head.predict(read).numpy()
        assert expected.shape == (4, 3)
        assert objective.predict(prefixes) == pytest.approx(expected, rel=10 * ROUNDING)
