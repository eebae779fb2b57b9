"""Heads predict at the real odds, and in interactions."""

import pytest
import torch

from ubm_embed.data.tasks.task import Task
from ubm_embed.model.heads import PurchaseIntentionHead, RemainingLengthHead, build_head

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


@pytest.mark.parametrize("make", [PurchaseIntentionHead, RemainingLengthHead])
def test_no_sessions_have_no_predictions(make):
    with torch.no_grad():
        assert make(WIDTH).predict(torch.empty(0, WIDTH)).shape == (0,)


@pytest.mark.parametrize(
    ("task", "kind"), [(Task.PIP, PurchaseIntentionHead), (Task.RLP, RemainingLengthHead), (Task.NIP, type(None))]
)
def test_each_task_has_its_head(task, kind):
    assert type(build_head(task, WIDTH)) is kind
