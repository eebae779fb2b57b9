"""A recipe fills in the settings that are not given, and no others."""

import pytest

from ubm_embed.data.tasks.task import Task
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.model_sizes import ModelSizes
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.recipes import Recipe, finetuning_config, model_sizes, pretraining_config

EVERYTHING = [(recipe, task) for recipe in Recipe for task in Task]


def changed(config, other):
    """Fields in which two configurations differ."""
    return {name for name, value in config if value != getattr(other, name)}


@pytest.mark.parametrize("recipe", Recipe)
class TestGiven:
    def test_values_win_over_the_recipe_and_none_does_not(self, recipe):
        plain = pretraining_config(recipe)
        given = pretraining_config(recipe, learning_rate=0.5, item_batch=7, item_actions=None, max_steps=None, seed=3)
        assert (given.learning_rate, given.item_batch, given.seed) == (0.5, 7, 3)
        assert changed(given, plain) == {"learning_rate", "item_batch", "seed"}

    def test_false_and_0_are_values(self, recipe):
        assert pretraining_config(recipe, item_actions=False).item_actions is False
        assert pretraining_config(recipe, holdout=0.0).holdout == 0.0
        given = finetuning_config(recipe, Task.NIP, all_positions=False, item_embeddings=False, negatives=0)
        assert (given.all_positions, given.item_embeddings, given.negatives) == (False, False, 0)

    @pytest.mark.parametrize("task", Task)
    def test_values_win_in_fine_tuning_too(self, recipe, task):
        plain = finetuning_config(recipe, task)
        given = finetuning_config(recipe, task, batch=5, learning_rate=None, patience=None, max_steps=2)
        assert (given.batch, given.max_steps, given.task) == (5, 2, task)
        assert changed(given, plain) == {"batch", "max_steps"}

    def test_epochs_override_the_recipe_s_steps_and_steps_those_of_stage_2(self, recipe):
        assert finetuning_config(recipe, Task.NIP, epochs=2).max_steps is None
        config = pretraining_config(recipe, epochs=2)
        assert (config.max_steps_of(1), config.max_steps_of(2)) == (None, None)
        config = pretraining_config(recipe, max_steps=7)
        assert (config.max_steps_of(1), config.max_steps_of(2)) == (7, 7)
        config = pretraining_config(recipe, max_steps=7, session_max_steps=3)
        assert (config.max_steps_of(1), config.max_steps_of(2)) == (7, 3)

    def test_sizes_of_a_model(self, recipe):
        given = model_sizes(recipe, layers=7, width=None, dropout=0.3)
        assert given == model_sizes(recipe).replace(layers=7, dropout=0.3)

    def test_a_bad_value_is_named(self, recipe):
        with pytest.raises(ValueError, match=r"learning_rate must be above 0, got 0"):
            pretraining_config(recipe, learning_rate=0)
        with pytest.raises(ValueError, match="train_products is not for pip, got True"):
            finetuning_config(recipe, Task.PIP, train_products=True)


class TestPaper:
    def test_has_the_paper_s_model(self):
        # 4.2.1: four layers in each encoder, 256 wide; a session is the mean, an interaction its [CLS].
        sizes = model_sizes(Recipe.PAPER)
        assert sizes == ModelSizes()
        assert (sizes.layers, sizes.width, sizes.session_layers) == (4, 256, 4)
        assert (sizes.causal, sizes.mean_of_tokens) == (False, False)

    def test_pre_trains_as_the_paper_does(self):
        config = pretraining_config(Recipe.PAPER)
        assert (config.item_batch, config.session_batch, config.learning_rate, config.warmup) == (512, 128, 3e-5, 0.1)
        assert (config.epochs, config.max_steps, config.temperature) == (1, None, 0.05)
        assert (config.item_actions, config.purchases_only, config.positive_in_denominator) == (False, True, False)
        assert config.mask_known_next_items is False
        assert config.losses == PretrainingConfig().losses

    @pytest.mark.parametrize("task", Task)
    def test_fine_tunes_as_the_paper_does(self, task):
        config = finetuning_config(Recipe.PAPER, task)
        assert config == FinetuningConfig(task=task)
        assert (config.epochs, config.batch, config.learning_rate, config.warmup) == (30, 32, 3e-5, 0.1)
        assert (config.train_products, config.cooldown, config.patience) == (False, None, None)


class TestShop:
    def test_leaves_out_every_known_next_item_of_an_item(self):
        assert pretraining_config(Recipe.SHOP).mask_known_next_items

    def test_session_encoder_alone_learns_no_item_embeddings_unless_given(self):
        config = finetuning_config(Recipe.SHOP, Task.NIP, only_session_encoder=True)
        assert (config.item_embeddings, config.negatives, config.train_products) == (False, None, True)
        config = finetuning_config(Recipe.SHOP, Task.NIP, train_products=False, negatives=5)
        assert (config.item_embeddings, config.negatives) == (False, 5)
        with pytest.raises(ValueError, match="item_embeddings needs train_products"):
            finetuning_config(Recipe.SHOP, Task.NIP, only_session_encoder=True, item_embeddings=True)

    def test_makes_a_model_that_predicts_at_all_positions(self):
        assert model_sizes(Recipe.SHOP).causal
        assert finetuning_config(Recipe.SHOP, Task.NIP).all_positions

    @pytest.mark.parametrize("task", Task)
    def test_ends_by_itself(self, task):
        config = finetuning_config(Recipe.SHOP, task)
        assert config.cooldown is not None
        assert config.patience is not None
        # Else patience could not run out before the steps do.
        assert (config.patience + 1) * config.validation_steps < config.max_steps / (1 + config.cooldown)

    def test_learns_from_every_product_seen_in_training(self):
        config = finetuning_config(Recipe.SHOP, Task.NIP)
        assert (config.min_count, config.train_products, config.item_embeddings) == (1, True, True)
