"""sentence-transformers' trainer does the same step as ours: the same tokens, losses and weights, a step a turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from benchmarks.training.padded_views import LONGEST, PaddedViews
from benchmarks.training.trainer_form import TrainerForm, lacking_packages
from benchmarks.training.training_form import OURS, ModelForm, equal_losses, unmasked
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import QualityGateFailed
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.stages import ITEM_LOSSES
from ubm_embed.training.pretraining.views import Views, item_views

pytestmark = pytest.mark.skipif(bool(lacking_packages()), reason=f"not installed: {', '.join(lacking_packages())}")
CONFIG = PretrainingConfig(learning_rate=0.1, max_gradient_norm=1e9)
STEPS = 2


@pytest.fixture
def steps(products: pl.DataFrame, tokenizer: InteractionTokenizer) -> list[Views]:
    """Steps of four pairs, in which a product comes again."""
    texts, rng = tokenizer.product_texts(products), np.random.default_rng(0)
    items, next_items = np.array([0, 1, 4, 0]), np.array([1, 4, 5, 2])
    losses = frozenset(ITEM_LOSSES)
    return [item_views(tokenizer, texts, items, next_items, losses, rng) for _ in range(STEPS)]


@pytest.fixture
def trainer(model: UserBehaviorModel, tokenizer: InteractionTokenizer, steps: list[Views]) -> Iterator[TrainerForm]:
    """In training, without dropout."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.interaction_encoder.encoder.config.hidden_dropout_prob = 0.0
    model.interaction_encoder.encoder.config.attention_probs_dropout_prob = 0.0
    form = TrainerForm("float32", model.train(), tokenizer, CONFIG, steps)
    yield form
    form.close()


def test_its_losses_are_ours_with_false_negatives_left_in(
    model: UserBehaviorModel, trainer: TrainerForm, steps: list[Views]
) -> None:
    ours = ModelForm(OURS, "float32", model, CONFIG)
    expected = ours.losses_without_dropout(unmasked(steps[0]))
    assert trainer.losses_without_dropout(steps[0]) == pytest.approx(expected, abs=1e-4)
    assert ours.losses_without_dropout(steps[0]) != pytest.approx(expected, abs=1e-4), "a product comes again"
    equal_losses([ours, trainer], ours, steps[0])


def test_losses_that_differ_are_refused(
    model: UserBehaviorModel, trainer: TrainerForm, steps: list[Views], stir: Callable[[nn.Module], None]
) -> None:
    ours = ModelForm(OURS, "float32", model, CONFIG)
    stir(ours.model)
    with pytest.raises(QualityGateFailed, match="sentence-transformers float32"):
        equal_losses([trainer], ours, steps[0])


def test_a_turn_is_a_step_of_ours(model: UserBehaviorModel, trainer: TrainerForm, steps: list[Views]) -> None:
    before, plain = weights_of(model.interaction_encoder.encoder), ModelForm("longest", "float32", model, CONFIG)
    plain.step(plain.lay_out(unmasked(steps[0])))
    taken = trainer.take(steps[0])
    assert min(taken["seconds"], taken["reading_seconds"]) > 0
    ours, theirs = weights_of(plain.model.get_submodule("encoder")) - before, weights_of(trainer.model) - before
    assert ours.norm() > 1
    # AdamW's first step is a gradient's sign, which rounding decides where the gradient is next to nothing.
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.99


def weights_of(module: nn.Module) -> Tensor:
    """All of them, end to end; not the keys' biases, which no score depends on."""
    kept = [value.detach().flatten() for name, value in module.named_parameters() if not name.endswith("key.bias")]
    return torch.cat(kept)


def test_it_waits_for_its_turn_and_can_be_closed_before(trainer: TrainerForm, steps: list[Views]) -> None:
    trainer.take(steps[0])
    trainer._thread.join(timeout=0.5)  # far longer than the second step takes, after which the thread would end
    assert trainer._thread.is_alive()
    trainer.close()
    assert not trainer._thread.is_alive()


def test_what_goes_wrong_in_a_turn_is_told(trainer: TrainerForm, steps: list[Views]) -> None:
    trainer.loss.forward = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer.take(steps[0])


def test_it_encodes_all_columns_padded_to_the_longest(trainer: TrainerForm, steps: list[Views]) -> None:
    work, padded = trainer.work(steps[0]), PaddedViews.of(steps[0], LONGEST)
    lengths = torch.cat([view.lengths for view in padded.sequences])
    assert work["sequences"] == 4 * 4
    assert work["places"] == 16 * lengths.max()
    assert work["tokens"] == lengths.sum()
