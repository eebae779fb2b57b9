"""The contrastive loss against equations 1 to 4, written as loops; large batches keep no scores, and cost the same."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.training.pretraining.config import TEMPERATURE, PretrainingConfig
from ubm_embed.training.pretraining.losses import batch_losses, contrastive_loss
from ubm_embed.training.pretraining.views import Pairs, Views

# A cosine is rounded a few times, and then divided by the temperature.
ROUNDING = 8 / TEMPERATURE


def equation(anchors, positives, false_negatives, temperature, positive_in_denominator):
    """-1/N sum_i log( exp(sim(a_i, p_i)/t) / sum_j exp(sim(a_i, p_j)/t) ), over rows that have a denominator."""

    def sim(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    losses = []
    for i, anchor in enumerate(anchors):
        columns = [j for j in range(len(positives)) if not false_negatives[i][j] and j != i]
        if positive_in_denominator:
            columns.append(i)
        if columns:
            total = sum(math.exp(sim(anchor, positives[j]) / temperature) for j in columns)
            losses.append(-math.log(math.exp(sim(anchor, positives[i]) / temperature) / total))
    return sum(losses) / len(losses) if losses else 0.0


@given(
    pairs=st.integers(1, 6),
    seed=st.integers(0, 1000),
    share=st.sampled_from([0.0, 0.4, 1.0]),
    temperature=st.sampled_from([0.05, 0.5, 2.0]),
    positive_in_denominator=st.booleans(),
)
def test_is_the_paper_s_equation(pairs, seed, share, temperature, positive_in_denominator):
    generator = torch.Generator().manual_seed(seed)
    anchors, positives = 3 * torch.randn(2, pairs, 4, generator=generator, dtype=torch.float64)
    false_negatives = torch.rand(pairs, pairs, generator=generator) < share
    settings = {"temperature": temperature, "positive_in_denominator": positive_in_denominator}
    loss = contrastive_loss(anchors, positives, false_negatives, **settings)
    expected = equation(anchors.tolist(), positives.tolist(), false_negatives.tolist(), *settings.values())
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, abs=ROUNDING * torch.finfo(torch.float64).eps)


class TestByHand:
    # Two pairs at right angles: an anchor has cosine 1 with its positive and 0 with the other.
    VECTORS = torch.tensor([[2.0, 0.0], [0.0, 5.0]])

    @pytest.mark.parametrize(
        ("positive_in_denominator", "expected"), [(True, math.log(1 + math.exp(-2))), (False, -2.0)]
    )
    def test_two_pairs_at_right_angles(self, positive_in_denominator, expected):
        loss = contrastive_loss(
            self.VECTORS,
            self.VECTORS,
            torch.eye(2, dtype=torch.bool),
            temperature=0.5,
            positive_in_denominator=positive_in_denominator,
        )
        assert loss.item() == pytest.approx(expected, abs=ROUNDING * torch.finfo(torch.float32).eps)

    def test_vectors_that_are_all_equal_cost_the_log_of_their_number(self):
        loss = contrastive_loss(torch.ones(7, 3), torch.ones(7, 3), torch.zeros(7, 7, dtype=torch.bool))
        assert loss.item() == pytest.approx(math.log(7), abs=ROUNDING * torch.finfo(torch.float32).eps)

    def test_the_same_pair_twice_costs_what_it_costs_once(self):
        twice = self.VECTORS[[0, 0, 1]]
        false_negatives = torch.tensor([[True, True, False], [True, True, False], [False, True, True]])
        masked = contrastive_loss(twice, twice, false_negatives, temperature=0.5)
        counted = contrastive_loss(twice, twice, torch.eye(3, dtype=torch.bool), temperature=0.5)
        assert masked.item() == pytest.approx(math.log(1 + math.exp(-2)), abs=ROUNDING * torch.finfo(torch.float32).eps)
        assert counted.item() > math.log(2) / 2, "as negatives of each other, the two would be pushed apart"

    def test_the_temperature_is_the_paper_s(self):
        assert TEMPERATURE == 0.05


@pytest.mark.parametrize("positive_in_denominator", [True, False])
class TestWithoutNegatives:
    def test_nothing_but_false_negatives_is_a_loss_of_0_with_a_gradient(self, positive_in_denominator):
        anchors = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
        false_negatives = torch.ones(3, 3, dtype=torch.bool)
        loss = contrastive_loss(
            anchors, anchors.detach(), false_negatives, positive_in_denominator=positive_in_denominator
        )
        loss.backward()
        assert loss.item() == 0.0
        assert torch.equal(anchors.grad, torch.zeros(3, 2))

    def test_a_row_without_negatives_leaves_every_gradient_finite(self, positive_in_denominator):
        anchors = torch.randn(3, 2, generator=torch.Generator().manual_seed(1), requires_grad=True)
        positives = torch.randn(3, 2, generator=torch.Generator().manual_seed(2), requires_grad=True)
        false_negatives = torch.zeros(3, 3, dtype=torch.bool)
        false_negatives[0] = True
        loss = contrastive_loss(anchors, positives, false_negatives, positive_in_denominator=positive_in_denominator)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(anchors.grad).all()
        assert torch.isfinite(positives.grad).all()
        assert anchors.grad[1:].abs().min() > 0

    def test_a_batch_of_one_pair_teaches_nothing(self, positive_in_denominator):
        one = torch.ones(1, 2)
        loss = contrastive_loss(
            one, one, torch.zeros(1, 1, dtype=torch.bool), positive_in_denominator=positive_in_denominator
        )
        assert loss.item() == 0.0


def test_the_gradient_is_the_difference_quotient():
    anchors, positives = torch.randn(
        2, 4, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64, requires_grad=True
    )
    false_negatives = torch.eye(4, dtype=torch.bool).roll(1, 0)

    def loss(a, p):
        return contrastive_loss(a, p, false_negatives, temperature=0.5)

    assert torch.autograd.gradcheck(loss, (anchors, positives))


PAIRS = 40


@pytest.fixture
def views():
    rows, labels = torch.arange(PAIRS), torch.arange(PAIRS) // 2
    return Views(None, {"one": Pairs(rows, rows + PAIRS, labels, labels), "two": Pairs(rows, rows, labels, labels)})


def losses(views, **settings):
    """Losses, gradient and the largest tensor kept."""
    vectors = torch.randn(2 * PAIRS, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: (sizes.append(tensor.numel()), tensor)[1], lambda tensor: tensor
    ):
        found = batch_losses(vectors, views, PretrainingConfig(), **settings)
    sum(found.values()).backward()
    return {name: loss.item() for name, loss in found.items()}, vectors.grad, max(sizes, default=0)


def test_scores_are_computed_again_where_there_are_many(views):
    once = losses(views)
    again = losses(views, recomputed_pairs=PAIRS)
    assert again[0] == once[0]
    assert torch.equal(again[1], once[1])
    assert once[2] >= PAIRS * (PAIRS - 1)
    assert again[2] < PAIRS * PAIRS / 2
