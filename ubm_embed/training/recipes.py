"""Recipes: the values of all settings that the caller does not give.

`paper` is the paper's, made for millions of sessions and a pre-trained BERT. `shop` is ours, made for the tens of
thousands of sessions that a shop begins with; docs/training.md says what each of its ingredients brings. The values
stand beside the settings, as `Setting(shop=..., paper=...)`.
"""

from __future__ import annotations

import enum
from typing import Any

from ubm_embed.data.tasks.task import Task
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.model_sizes import ModelSizes
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.settings import Settings


class Recipe(enum.StrEnum):
    """Where the settings that are not given come from."""

    SHOP = "shop"
    PAPER = "paper"


def model_sizes(recipe: Recipe, **given: Any) -> ModelSizes:
    """The sizes of a fresh model: those given, and the recipe's for those missing or None.

    Raises:
        ValueError: names the setting that is out of bounds.
    """
    return ModelSizes(**_filled(ModelSizes, recipe, None, given))


def pretraining_config(recipe: Recipe, **given: Any) -> PretrainingConfig:
    """How to pre-train: the settings given, and the recipe's for those missing or None.

    Raises:
        ValueError: names the setting that is out of bounds.
    """
    return PretrainingConfig(**_filled(PretrainingConfig, recipe, None, given))


def finetuning_config(recipe: Recipe, task: Task, **given: Any) -> FinetuningConfig:
    """How to fine-tune: the settings given, and the recipe's for those missing or None.

    Where the product vectors are not trained along with the whole model, the recipe learns no item embeddings, and the
    number of negatives follows from what a product costs.

    Raises:
        ValueError: names the setting that is out of bounds, or not for this task.
    """
    values = _filled(FinetuningConfig, recipe, task, given)
    if values.get("only_session_encoder") or not values.get("train_products"):
        for name in ("item_embeddings", "negatives"):
            if given.get(name) is None:
                values.pop(name, None)
    return FinetuningConfig(task=task, **values)


def _filled(settings: type[Settings], recipe: Recipe, task: Task | None, given: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in given.items() if value is not None}
    return {**settings.recipe_values(recipe, task, **given), **given}
