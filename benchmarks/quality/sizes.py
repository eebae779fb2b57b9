"""How large the models of a table are and how long they train: seconds in CI, minutes on two cores, hours on a GPU."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ubm_embed.training.recipes import Recipe

# The paper's 30 epochs of single questions would take days on two cores.
_RECIPES: dict[Recipe, dict[str, dict[str, Any]]] = {
    Recipe.SHOP: {},
    Recipe.PAPER: {
        "pretraining": {"max_steps": 100, "session_max_steps": 25},
        "finetuning": {"max_steps": 400, "validation_steps": 100},
    },
}


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a table spends on each row.

    Attributes:
        encoder: layers, width, dimension, session_layers and vocab_size of models from scratch.
        bert: the same for a UBM that starts from pre-trained layers.
        bert_mini, bert_8layer: layers of the BERT rows, up to the number in their checkpoints.
        max_interactions: every row reads this many last interactions of a session.
        items: dimension of the rows over product ids.
        pretraining, bert_pretraining: settings of `PretrainingConfig`.
        item_layers: layers of Prod2BERT.
        adaptation, masked_items: steps of domain adaptation and of Prod2BERT's pre-training.
        finetuning: settings of `FinetuningConfig` by family: "all" rows, "next item" for NIP, rows over "ids", "masked
            ids" (Prod2BERT), "static" text, "language" models, UBM from "scratch" and from "bert"; "FAMILY, products
            trained" adds to a family's.
        recipes: for rows of a recipe, limits of its "model", "pretraining" and "finetuning".
        questions: the maximum number of test questions.
    """

    encoder: dict[str, Any]
    bert: dict[str, Any]
    bert_mini: int = 4
    bert_8layer: int = 8
    max_interactions: int = 32
    items: int = 256
    item_layers: int = 8
    pretraining: dict[str, Any] = field(default_factory=dict)
    bert_pretraining: dict[str, Any] = field(default_factory=dict)
    adaptation: int = 2000
    masked_items: int = 5000
    finetuning: dict[str, dict[str, Any]] = field(default_factory=dict)
    recipes: dict[Recipe, dict[str, dict[str, Any]]] = field(default_factory=lambda: dict(_RECIPES))
    questions: int = 10_000


SIZES = {
    "smoke": Size(
        encoder={"layers": 1, "width": 16, "dimension": 16, "session_layers": 1, "vocab_size": 512},
        bert={"layers": 1, "dimension": 16, "session_layers": 1},
        bert_mini=1,
        bert_8layer=2,
        max_interactions=8,
        items=16,
        item_layers=1,
        pretraining={"item_batch": 8, "session_batch": 8, "max_steps": 2},
        bert_pretraining={"item_batch": 8, "session_batch": 8, "max_steps": 2},
        adaptation=2,
        masked_items=2,
        finetuning={"all": {"max_steps": 3, "batch": 8, "validation_steps": 2}},
        recipes={
            key: {
                "model": {"layers": 1, "width": 16, "dimension": 16, "session_layers": 1, "vocab_size": 512},
                "pretraining": {"item_batch": 8, "session_batch": 8, "max_steps": 2, "session_max_steps": 2},
                "finetuning": {"max_steps": 3, "batch": 8, "validation_steps": 2},
            }
            for key in Recipe
        },
        questions=100,
    ),
    "small": Size(
        encoder={"layers": 2, "width": 128, "dimension": 128, "session_layers": 2, "vocab_size": 4096},
        bert={"layers": 4, "dimension": 256, "session_layers": 2},
        bert_mini=4,
        bert_8layer=6,
        max_interactions=16,
        items=128,
        item_layers=4,
        pretraining={
            "item_batch": 256,
            "session_batch": 32,
            "max_steps": 250,
            "session_max_steps": 25,
            "learning_rate": 1e-3,
            "session_learning_rate": 1e-4,
            "epochs": 4,
        },
        bert_pretraining={
            "item_batch": 128,
            "session_batch": 32,
            "max_steps": 60,
            "session_max_steps": 15,
            "learning_rate": 2e-4,
            "session_learning_rate": 1e-4,
        },
        adaptation=60,
        masked_items=400,
        finetuning={
            "all": {"batch": 128, "validation_steps": 50, "max_validation_examples": 1024, "patience": 5},
            "ids": {"max_steps": 1200, "learning_rate": 4e-3},
            "masked ids": {"max_steps": 1200, "learning_rate": 1e-3},
            "static": {"max_steps": 600, "learning_rate": 1e-3},
            "language": {"max_steps": 600, "learning_rate": 1e-3, "only_session_encoder": True},
            "scratch": {"max_steps": 600, "learning_rate": 1e-3, "only_session_encoder": True},
            "scratch, products trained": {"max_steps": 600, "only_session_encoder": False, "negatives": 1024},
            "bert": {"max_steps": 400, "learning_rate": 1e-3, "only_session_encoder": True},
            "bert, products trained": {"max_steps": 200, "negatives": 1024},
        },
        questions=4000,
    ),
    "full": Size(
        recipes={key: {} for key in Recipe},
        encoder={"layers": 4, "width": 256, "dimension": 256, "session_layers": 4, "vocab_size": 8192},
        bert={"layers": 4, "dimension": 256, "session_layers": 4},
        pretraining={
            "learning_rate": 5e-4,
            "session_learning_rate": 1e-4,
            "epochs": 4,
            "max_steps": 2000,
            "session_max_steps": 100,
        },
        bert_pretraining={
            "learning_rate": 1e-4,
            "session_learning_rate": 3e-5,
            "epochs": 2,
            "max_steps": 1000,
            "session_max_steps": 100,
        },
        adaptation=1000,
        masked_items=3000,
        finetuning={
            "all": {"batch": 256, "max_steps": 1500, "validation_steps": 250},
            "ids": {"learning_rate": 1e-3},
            "masked ids": {"learning_rate": 5e-4},
            "static": {"learning_rate": 1e-3},
            "language": {"learning_rate": 1e-4},
            "scratch": {"learning_rate": 3e-4},
            "bert": {"learning_rate": 1e-4},
        },
    ),
}
# A third of small, for rows that are compared only with each other, such as those of table 2.
SIZES["quick"] = replace(
    SIZES["small"],
    pretraining=SIZES["small"].pretraining | {"max_steps": 80},
    bert_pretraining=SIZES["small"].bert_pretraining | {"max_steps": 20},
    masked_items=130,
    adaptation=20,
    finetuning={
        family: settings | ({"max_steps": settings["max_steps"] // 3} if "max_steps" in settings else {})
        for family, settings in SIZES["small"].finetuning.items()
    },
)
# Our recipe beside baselines with the same means: session length, answers, positions, steps until they gain no more.
_UNTIL_NO_GAIN = {
    "max_steps": 2000,
    "cooldown": 0.3,
    "patience": 4,
    "validation_steps": 100,
    "max_validation_examples": 2048,
}
SIZES["shop"] = replace(
    SIZES["small"],
    max_interactions=32,
    finetuning={
        family: {name: value for name, value in settings.items() if name != "max_steps"}
        for family, settings in SIZES["small"].finetuning.items()
    }
    | {"all": {"batch": 128, **_UNTIL_NO_GAIN}, "next item": {"min_count": 1, "selection_metric": "hit@10"}},
    questions=10_000,
)
