"""Large batches keep no scores, and cost the same."""

import pytest
import torch

from ubm_embed.training.pretraining import view_losses as module
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.view_losses import view_losses
from ubm_embed.training.pretraining.views import Pairs, Views

PAIRS = 40


@pytest.fixture
def views():
    rows, labels = torch.arange(PAIRS), torch.arange(PAIRS) // 2
    return Views(None, {"one": Pairs(rows, rows + PAIRS, labels, labels), "two": Pairs(rows, rows, labels, labels)})


def losses(views):
    """Losses, gradient and the largest tensor kept."""
    vectors = torch.randn(2 * PAIRS, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda kept: (sizes.append(kept.numel()), kept)[1], lambda kept: kept
    ):
        found = view_losses(vectors, views, PretrainingConfig())
    sum(found.values()).backward()
    return {name: loss.item() for name, loss in found.items()}, vectors.grad, max(sizes, default=0)


def test_scores_are_computed_again_where_there_are_many(views, monkeypatch):
    kept = losses(views)
    monkeypatch.setattr(module, "_MANY_PAIRS", PAIRS)
    again = losses(views)
    assert again[0] == kept[0]
    assert torch.equal(again[1], kept[1])
    assert kept[2] >= PAIRS * (PAIRS - 1)
    assert again[2] < PAIRS * PAIRS / 2
