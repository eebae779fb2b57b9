"""Alignment and uniformity against loops over pairs."""

import math

import pytest
import torch

from ubm_embed.evaluation.uniformity import alignment, uniformity

# Sums of fewer than a hundred terms of float32.
ROUNDING = 100 * torch.finfo(torch.float32).eps


@pytest.fixture
def vectors():
    return 3 * torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))


def unit(row):
    return [value / math.hypot(*row) for value in row]


def squared_distance(x, y):
    return sum((a - b) ** 2 for a, b in zip(unit(x), unit(y), strict=True))


def test_alignment_is_the_mean_squared_distance_of_pairs(vectors):
    distances = [squared_distance(x, y) for x, y in zip(*vectors.tolist(), strict=True)]
    assert alignment(*vectors).item() == pytest.approx(sum(distances) / len(distances), abs=ROUNDING)


def test_uniformity_is_the_log_of_the_mean_kernel_over_different_rows(vectors):
    rows = vectors[0].tolist()
    kernels = [math.exp(-2 * squared_distance(x, y)) for i, x in enumerate(rows) for y in rows[:i]]
    assert uniformity(vectors[0]).item() == pytest.approx(math.log(sum(kernels) / len(kernels)), abs=ROUNDING)


def test_by_hand():
    right, up, left = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]), torch.tensor([[-2.0, 0.0]])
    assert alignment(right, 5 * right).item() == pytest.approx(0.0, abs=ROUNDING)
    assert alignment(right, up).item() == pytest.approx(2.0, abs=ROUNDING)
    assert alignment(right, left).item() == pytest.approx(4.0, abs=ROUNDING)
    assert uniformity(torch.cat([right, left])).item() == pytest.approx(-8.0, abs=ROUNDING)
    assert uniformity(torch.cat([right, 5 * right])).item() == pytest.approx(0.0, abs=ROUNDING)


def test_the_caller_s_vectors_stay(vectors):
    before = vectors.clone()
    alignment(*vectors)
    uniformity(vectors[0])
    assert torch.equal(vectors, before)
