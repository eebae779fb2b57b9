"""A step follows the gradient, clipped, and is not taken where its numbers are not finite."""

import math

import pytest
import torch
from torch import nn

from ubm_embed.errors import QualityGateFailed
from ubm_embed.training.step import learning_rate, take_step


@pytest.fixture
def layer():
    layer = nn.Linear(2, 1, bias=False)
    nn.init.ones_(layer.weight)
    return layer


def step(layer, loss, **settings):
    optimizer = torch.optim.SGD(layer.parameters(), lr=9.0)
    return take_step(layer, optimizer, loss, rate=0.1, max_gradient_norm=1.0, name="step 3", **settings)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing():
    rates = [learning_rate(step, 10, peak=9.0, warmup=0.2) for step in range(10)]
    assert rates == pytest.approx([4.5, 9, 8, 7, 6, 5, 4, 3, 2, 1])


@pytest.mark.parametrize(("total", "warmup"), [(1, 0.1), (1, 0.0), (2, 0.9), (7, 0.0), (7, 0.99), (1000, 0.1)])
def test_the_rate_is_never_zero_and_never_beyond_the_peak(total, warmup):
    rates = [learning_rate(step, total, peak=2.0, warmup=warmup) for step in range(total)]
    assert max(rates) == pytest.approx(2.0)
    assert min(rates) > 0
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_it_is_clipped_and_returns_the_norm_before(layer):
    assert step(layer, layer(torch.tensor([3.0, 4.0])).sum()) == pytest.approx(5.0)
    assert layer.weight.tolist()[0] == pytest.approx([1 - 0.1 * 0.6, 1 - 0.1 * 0.8])


def test_a_group_goes_by_its_own_factor_of_the_rate(layer):
    other = nn.Linear(1, 1, bias=False)
    nn.init.ones_(other.weight)
    groups = [{"params": layer.parameters()}, {"params": other.parameters(), "rate_factor": 2.0}]
    optimizer, both = torch.optim.SGD(groups, lr=9.0), nn.ModuleList([layer, other])
    loss = layer(torch.tensor([1.0, 0.0])).sum() + other(torch.tensor([1.0])).sum()
    take_step(both, optimizer, loss, rate=0.1, max_gradient_norm=10.0, name="step 1")
    assert layer.weight.tolist()[0] == pytest.approx([0.9, 1.0])
    assert other.weight.item() == pytest.approx(0.8)


@pytest.mark.parametrize("details", ["", "item stage"])
@pytest.mark.parametrize(
    ("what", "spoil"), [("loss", lambda weight: weight.sum() * math.inf), ("gradient", lambda w: (w * 0).sqrt().sum())]
)
def test_a_number_that_is_not_finite_leaves_the_weights(layer, what, spoil, details):
    numbers = " (item stage)" if details else ""
    with pytest.raises(QualityGateFailed) as error:
        step(layer, spoil(layer.weight), details=lambda: details)
    assert str(error.value) == (
        f"the {what} of step 3 is not finite{numbers}; the step was not taken: lower the learning rate"
    )
    assert layer.weight.tolist() == [[1.0, 1.0]]
