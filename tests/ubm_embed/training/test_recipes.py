"""A recipe fills in what was not asked for, and nothing else."""

from dataclasses import asdict

import pytest

from ubm_embed.data.tasks.examples import Task
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.recipes import Recipe, finetuning_config, model_settings, pretraining_config

EVERYTHING = [(recipe, task) for recipe in Recipe for task in Task]


def changed(config, other):
    """Fields in which two configurations differ."""
    return {name for name, value in asdict(config).items() if value != getattr(other, name)}


@pytest.mark.parametrize("recipe", Recipe)
class TestAsked:
    def test_wins_over_the_recipe_and_none_does_not(self, recipe):
        plain = pretraining_config(recipe)
        asked = pretraining_config(recipe, learning_rate=0.5, item_batch=7, item_actions=None, max_steps=None, seed=3)
        assert (asked.learning_rate, asked.item_batch, asked.seed) == (0.5, 7, 3)
        assert changed(asked, plain) == {"learning_rate", "item_batch", "seed"}

    def test_false_and_0_are_asked_for(self, recipe):
        assert pretraining_config(recipe, item_actions=False).item_actions is False
        assert pretraining_config(recipe, holdout=0.0).holdout == 0.0
        asked = finetuning_config(recipe, Task.NIP, every_place=False, known_texts=False, negatives=0)
        assert (asked.every_place, asked.known_texts, asked.negatives) == (False, False, 0)

    @pytest.mark.parametrize("task", Task)
    def test_wins_in_fine_tuning_too(self, recipe, task):
        plain = finetuning_config(recipe, task)
        asked = finetuning_config(recipe, task, batch=5, learning_rate=None, patience=None, max_steps=2)
        assert (asked.batch, asked.max_steps, asked.task) == (5, 2, task)
        assert changed(asked, plain) == {"batch", "max_steps"}

    def test_epochs_lift_the_recipes_steps_and_steps_those_of_stage_2(self, recipe):
        assert finetuning_config(recipe, Task.NIP, epochs=2).max_steps is None
        config = pretraining_config(recipe, epochs=2)
        assert (config.most_steps(1), config.most_steps(2)) == (None, None)
        config = pretraining_config(recipe, max_steps=7)
        assert (config.most_steps(1), config.most_steps(2)) == (7, 7)
        config = pretraining_config(recipe, max_steps=7, session_max_steps=3)
        assert (config.most_steps(1), config.most_steps(2)) == (7, 3)

    def test_sizes_of_a_model(self, recipe):
        plain = model_settings(recipe)
        asked = model_settings(recipe, layers=7, width=None, dropout=0.3)
        assert asked == plain | {"layers": 7, "dropout": 0.3}

    def test_a_bad_value_is_named(self, recipe):
        with pytest.raises(ValueError, match="learning_rate must be positive, got 0"):
            pretraining_config(recipe, learning_rate=0)
        with pytest.raises(ValueError, match="train_products is not for pip, got True"):
            finetuning_config(recipe, Task.PIP, train_products=True)


class TestPaper:
    def test_has_the_paper_s_model(self):
        # 4.2.1: four layers in each encoder, 256 wide; a session is the mean, an interaction its [CLS].
        assert model_settings(Recipe.PAPER) == {"layers": 4, "width": 256, "session_layers": 4}

    def test_pre_trains_as_the_paper_does(self):
        config = pretraining_config(Recipe.PAPER)
        assert (config.item_batch, config.session_batch, config.learning_rate, config.warmup) == (512, 128, 3e-5, 0.1)
        assert (config.epochs, config.max_steps, config.temperature) == (1, None, 0.05)
        assert (config.item_actions, config.purchases_only, config.positive_in_denominator) == (False, True, False)
        assert config.losses == PretrainingConfig().losses

    @pytest.mark.parametrize("task", Task)
    def test_fine_tunes_as_the_paper_does(self, task):
        config = finetuning_config(Recipe.PAPER, task)
        assert config == FinetuningConfig(task=task)
        assert (config.epochs, config.batch, config.learning_rate, config.warmup) == (30, 32, 3e-5, 0.1)
        assert (config.train_products, config.cooldown, config.patience) == (False, None, None)


class TestShop:
    def test_makes_a_model_that_can_be_asked_at_every_place(self):
        assert model_settings(Recipe.SHOP)["causal"]
        assert finetuning_config(Recipe.SHOP, Task.NIP).every_place

    @pytest.mark.parametrize("task", Task)
    def test_ends_by_itself(self, task):
        config = finetuning_config(Recipe.SHOP, task)
        assert config.cooldown is not None
        assert config.patience is not None
        # Else so many looks without a gain would never come.
        assert (config.patience + 1) * config.validation_steps < config.max_steps / (1 + config.cooldown)

    def test_learns_from_every_product_that_was_seen_at_all(self):
        config = finetuning_config(Recipe.SHOP, Task.NIP)
        assert (config.least_count, config.train_products, config.known_texts) == (1, True, True)
