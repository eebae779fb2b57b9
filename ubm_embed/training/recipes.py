"""Recipes: what a model is made of and how it is trained, where nothing else is asked for.

`paper` is the paper's, made for millions of sessions and a pre-trained BERT. `shop` is ours, made for the tens of
thousands of sessions that a shop begins with; docs/training.md says what each of its ingredients brings.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from ubm_embed.data.tasks.examples import Task
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.pretraining.config import PretrainingConfig


class Recipe(enum.StrEnum):
    """Which one."""

    SHOP = "shop"
    PAPER = "paper"


# Of a fresh model: layers and width of the interaction encoder, and fields of `UBMConfig`.
_MODEL: Mapping[Recipe, dict[str, Any]] = {
    Recipe.SHOP: {"layers": 2, "width": 128, "session_layers": 2, "causal": True, "mean_of_tokens": True},
    Recipe.PAPER: {"layers": 4, "width": 256, "session_layers": 4},
}

_PRETRAINING: Mapping[Recipe, dict[str, Any]] = {
    Recipe.SHOP: {
        "learning_rate": 1e-3,
        "session_learning_rate": 1e-4,
        "item_batch": 256,
        "session_batch": 64,
        "epochs": 10,
        "max_steps": 200,
        "session_max_steps": 25,
    },
    Recipe.PAPER: {"item_actions": False, "purchases_only": True, "positive_in_denominator": False},
}

_SHOP: dict[str, Any] = {
    "batch": 128,
    "learning_rate": 1e-3,
    "warmup": 0.03,
    "cooldown": 0.3,
    "patience": 3,
    "epochs": 1000,
}
_SHOP_HEAD = _SHOP | {"max_steps": 600, "validation_steps": 50}
_FINETUNING: Mapping[tuple[Recipe, Task], dict[str, Any]] = {
    (Recipe.SHOP, Task.NIP): {
        **_SHOP,
        "max_steps": 2000,
        "validation_steps": 100,
        "best_by": "hit@10",
        "lookup_rate": 2.0,
        "train_products": True,
        "every_place": True,
        "known_texts": True,
        "negatives": 1024,
        "least_count": 1,
    },
    (Recipe.SHOP, Task.PIP): _SHOP_HEAD,
    (Recipe.SHOP, Task.RLP): _SHOP_HEAD,
}
# What is asked for gives way to no limit of the recipe's.
_LIMITS = {"epochs": ("max_steps", "session_max_steps"), "max_steps": ("session_max_steps",)}


def model_settings(recipe: Recipe, **asked: Any) -> dict[str, Any]:
    """Sizes of a fresh model: those asked for, the recipe's for those that are None."""
    return _filled(_MODEL[recipe], asked)


def pretraining_config(recipe: Recipe, **asked: Any) -> PretrainingConfig:
    """How to pre-train: what is asked for, the recipe's for what is None.

    Raises:
        ValueError: names the setting that is out of bounds.
    """
    return PretrainingConfig(**_filled(_PRETRAINING[recipe], asked))


def finetuning_config(recipe: Recipe, task: Task, **asked: Any) -> FinetuningConfig:
    """How to fine-tune: what is asked for, the recipe's for what is None.

    Where products are not trained as a whole, texts are not known one by one, and how many products a step draws is
    left to what they cost.

    Raises:
        ValueError: names the setting that is out of bounds, or not for this task.
    """
    settings = _filled(_FINETUNING.get((recipe, task), {}), asked)
    if task is Task.NIP and (asked.get("only_session_encoder") or not settings.get("train_products")):
        settings |= {"known_texts": bool(asked.get("known_texts")), "negatives": asked.get("negatives")}
    return FinetuningConfig(task=task, **settings)


def _filled(recipe: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in asked.items() if value is not None}
    lifted = {limit for name, limits in _LIMITS.items() if name in given for limit in limits}
    return {**{name: value for name, value in recipe.items() if name not in lifted}, **given}
