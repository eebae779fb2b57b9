"""Heads predict at the real odds, and in interactions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.tasks.task import Task
from ubm_embed.model.heads import (
    LENGTH_EDGES,
    LengthDistributionHead,
    PurchaseIntentionHead,
    RemainingLengthHead,
    build_head,
)

WIDTH = 6


@pytest.fixture
def sessions():
    return 3 * torch.randn(50, WIDTH, generator=torch.Generator().manual_seed(0))


def purchase_head(share):
    torch.manual_seed(0)
    head = PurchaseIntentionHead(WIDTH)
    head.purchase_share.fill_(share)
    return head


def length_head(mean, std):
    torch.manual_seed(0)
    head = RemainingLengthHead(WIDTH)
    head.mean.fill_(mean)
    head.std.fill_(std)
    return head


class TestPurchaseIntention:
    @pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
    @torch.no_grad()
    def test_a_posterior_of_equal_odds_is_corrected_to_the_real_odds(self, sessions, share):
        head = purchase_head(share)
        balanced = torch.sigmoid(head(sessions))
        # Bayes: sessions with a purchase are the fraction `share` of all, and were half of the training set.
        expected = balanced * share / (balanced * share + (1 - balanced) * (1 - share))
        torch.testing.assert_close(head.predict(sessions), expected)

    @pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
    @torch.no_grad()
    def test_the_threshold_is_where_equal_odds_tip(self, sessions, share):
        head = purchase_head(share)
        assert torch.equal(head.predict(sessions) > head.threshold, head(sessions) > 0)
        assert head.threshold == pytest.approx(share)

    @torch.no_grad()
    def test_a_fresh_head_predicts_equal_odds(self, sessions):
        head = PurchaseIntentionHead(WIDTH)
        assert head.threshold == 0.5
        torch.testing.assert_close(head.predict(sessions), torch.sigmoid(head(sessions)))

    def test_is_two_feed_forward_layers_and_a_linear_one(self, sessions):
        head = purchase_head(0.5)
        one, two, last = (layer for layer in head.layers if isinstance(layer, torch.nn.Linear))
        hidden = torch.relu(two(torch.relu(one(sessions))))
        torch.testing.assert_close(head(sessions), last(hidden)[:, 0])


class TestRemainingLength:
    @torch.no_grad()
    def test_without_weights_it_predicts_the_mean(self, sessions):
        head = length_head(7.5, 3.0)
        for weights in head.parameters():
            weights.zero_()
        torch.testing.assert_close(head.predict(sessions), torch.full((50,), 7.5))

    @torch.no_grad()
    def test_predicts_in_standard_deviations_and_never_below_0(self, sessions):
        head = length_head(0.5, 20.0)
        expected = head(sessions) * 20 + 0.5
        assert expected.min() < 0
        torch.testing.assert_close(head.predict(sessions), expected.clamp(min=0))

    def test_is_one_feed_forward_layer_and_a_linear_one(self, sessions):
        head = length_head(0.0, 1.0)
        one, last = (layer for layer in head.layers if isinstance(layer, torch.nn.Linear))
        torch.testing.assert_close(head(sessions), last(torch.relu(one(sessions)))[:, 0])


FEATURES = 3


class TestFeatures:
    @pytest.fixture
    def head(self):
        torch.manual_seed(0)
        head = PurchaseIntentionHead(WIDTH, FEATURES).eval()
        torch.nn.init.normal_(head.layers[-1].weight)
        return head

    def test_scale_and_origin_of_a_feature_do_not_matter(self, head, sessions):
        rng = np.random.default_rng(0)
        features = rng.normal(size=(50, FEATURES)).astype(np.float32)
        scaled = 20 * features + np.float32(7)
        outputs = []
        for one in (features, scaled):
            head.features.fit(one)
            outputs.append(head(torch.cat([sessions, torch.from_numpy(one)], dim=1)))
        torch.testing.assert_close(*outputs, rtol=1e-3, atol=1e-3)

    def test_one_that_hardly_varied_in_training_does_not_swamp_the_others(self, head, sessions):
        head.features.fit(np.ones((50, FEATURES), np.float32))
        far, farther = (torch.cat([sessions, torch.full((50, FEATURES), value)], dim=1) for value in (9.0, 1e6))
        torch.testing.assert_close(head(far), head(farther))

    def test_a_fresh_head_predicts_the_share_of_purchases(self, sessions):
        head = PurchaseIntentionHead(WIDTH, FEATURES)
        head.purchase_share.fill_(0.3)
        inputs = torch.cat([sessions, torch.rand(50, FEATURES)], dim=1)
        torch.testing.assert_close(head.predict(inputs), torch.full((50,), 0.3))


class TestLengthDistribution:
    LENGTHS = np.array([1, 1, 2, 3, 3, 3, 8, 12, 12, 40])

    def head(self, lengths):
        head = LengthDistributionHead(WIDTH, FEATURES).eval()
        head.fit(np.asarray(lengths))
        return head

    @torch.no_grad()
    def test_a_fresh_head_predicts_the_lengths_of_training(self, sessions):
        inputs = torch.cat([sessions, torch.rand(50, FEATURES)], dim=1)
        mean, median, logarithmic = self.head(np.repeat(self.LENGTHS, 100)).predict(inputs)[0].tolist()
        assert mean == pytest.approx(self.LENGTHS.mean(), rel=0.01)
        assert logarithmic == pytest.approx(np.expm1(np.log1p(self.LENGTHS).mean()), rel=0.01)
        assert 2.5 <= median <= 3.5

    @given(lengths=st.lists(st.integers(1, 10), min_size=1, max_size=30))
    @torch.no_grad()
    def test_half_of_the_lengths_are_below_the_median(self, lengths):
        # Up to 10 a bin is one length, which covers half a length to both sides.
        median = self.head(np.repeat(lengths, 1000)).predict(torch.zeros(1, WIDTH + FEATURES))[0, 1].item()
        below, above = np.mean(np.array(lengths) < median - 0.51), np.mean(np.array(lengths) > median + 0.51)
        assert max(below, above) <= 0.5

    @torch.no_grad()
    def test_lengths_that_training_never_saw_stay_possible(self, sessions):
        head = self.head([3, 3, 4])
        shares = torch.softmax(head(torch.zeros(1, WIDTH + FEATURES)), dim=1)
        assert (shares > 0).all()
        assert LENGTH_EDGES[-1] >= 1000


@pytest.mark.parametrize("make", [PurchaseIntentionHead, RemainingLengthHead])
def test_no_sessions_have_no_predictions(make):
    with torch.no_grad():
        assert make(WIDTH).predict(torch.empty(0, WIDTH)).shape == (0,)


@pytest.mark.parametrize(
    ("task", "kind"), [(Task.PIP, PurchaseIntentionHead), (Task.RLP, RemainingLengthHead), (Task.NIP, type(None))]
)
def test_each_task_has_its_head(task, kind):
    assert type(build_head(task, WIDTH)) is kind


@pytest.mark.parametrize(
    ("task", "kind"), [(Task.PIP, PurchaseIntentionHead), (Task.RLP, LengthDistributionHead), (Task.NIP, type(None))]
)
def test_each_task_has_its_head_over_features(task, kind):
    assert type(build_head(task, WIDTH, FEATURES)) is kind
