"""A step of sentence-transformers' trainer equals ours in tokens, losses and weights; it runs one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from benchmarks.training.padded_views import LONGEST, PaddedViews
from benchmarks.training.step_variants import OURS, TOLERANCES, ModelVariant, require_equal_losses, unmasked
from benchmarks.training.trainer_variant import TrainerVariant, missing_packages
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import QualityGateFailed
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import ITEM_LOSSES, PretrainingConfig
from ubm_embed.training.pretraining.views import Views, item_views

pytestmark = pytest.mark.skipif(bool(missing_packages()), reason=f"not installed: {', '.join(missing_packages())}")
CONFIG = PretrainingConfig(learning_rate=0.1, max_gradient_norm=1e9)
STEPS = 2


@pytest.fixture
def steps(products: pl.DataFrame, tokenizer: InteractionTokenizer) -> list[Views]:
    """Steps of four pairs, in which a product repeats."""
    texts, rng = tokenizer.product_texts(products), np.random.default_rng(0)
    items, next_items = np.array([0, 1, 4, 0]), np.array([1, 4, 5, 2])
    losses = frozenset(ITEM_LOSSES)
    return [item_views(tokenizer, texts, items, next_items, losses, rng) for _ in range(STEPS)]


@pytest.fixture
def trainer(model: UserBehaviorModel, tokenizer: InteractionTokenizer, steps: list[Views]) -> Iterator[TrainerVariant]:
    """In training mode, without dropout."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.interaction_encoder.encoder.config.hidden_dropout_prob = 0.0
    model.interaction_encoder.encoder.config.attention_probs_dropout_prob = 0.0
    variant = TrainerVariant("float32", model.train(), tokenizer, CONFIG, steps)
    yield variant
    variant.close()


def test_its_losses_are_ours_with_false_negatives_left_in(
    model: UserBehaviorModel, trainer: TrainerVariant, steps: list[Views]
) -> None:
    ours = ModelVariant(OURS, "float32", model, CONFIG)
    expected = ours.losses_without_dropout(unmasked(steps[0]))
    tolerance = TOLERANCES["float32"]
    assert trainer.losses_without_dropout(steps[0]) == pytest.approx(expected, abs=tolerance)
    assert ours.losses_without_dropout(steps[0]) != pytest.approx(expected, abs=tolerance), "a product repeats"
    require_equal_losses([ours, trainer], ours, steps[0])


def test_losses_that_differ_are_refused(
    model: UserBehaviorModel, trainer: TrainerVariant, steps: list[Views], stir: Callable[[nn.Module], None]
) -> None:
    ours = ModelVariant(OURS, "float32", model, CONFIG)
    stir(ours.model)
    with pytest.raises(QualityGateFailed, match="sentence-transformers float32"):
        require_equal_losses([trainer], ours, steps[0])


def test_a_step_changes_weights_as_ours_does(
    model: UserBehaviorModel, trainer: TrainerVariant, steps: list[Views]
) -> None:
    before, padded = weights_of(model.interaction_encoder.encoder), ModelVariant("longest", "float32", model, CONFIG)
    padded.step(padded.prepare(unmasked(steps[0])))
    result = trainer.run_step(steps[0])
    assert min(result["seconds"], result["reading_seconds"]) > 0
    ours, theirs = weights_of(padded.model.get_submodule("encoder")) - before, weights_of(trainer.model) - before
    assert ours.norm() > 1
    # AdamW's first step is the gradient's sign, and rounding decides that sign where the gradient is almost 0.
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.99


def weights_of(module: nn.Module) -> Tensor:
    """All weights, concatenated, without the keys' biases, which do not change attention."""
    weights = [value.detach().flatten() for name, value in module.named_parameters() if not name.endswith("key.bias")]
    return torch.cat(weights)


def test_it_runs_only_the_steps_that_are_requested(trainer: TrainerVariant, steps: list[Views]) -> None:
    assert len(steps) > 1
    trainer.run_step(steps[0])
    trainer.close()
    assert trainer.steps_run == 1


def test_an_error_in_a_step_is_raised_by_that_step(trainer: TrainerVariant, steps: list[Views]) -> None:
    trainer.loss.forward = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer.run_step(steps[0])


def test_it_encodes_all_columns_padded_to_the_longest(trainer: TrainerVariant, steps: list[Views]) -> None:
    work, padded = trainer.work(steps[0]), PaddedViews.from_packed(steps[0], LONGEST)
    lengths = torch.cat([view.lengths for view in padded.sequences])
    assert work["sequences"] == 4 * 4
    assert work["token_slots"] == 16 * lengths.max()
    assert work["tokens"] == lengths.sum()
