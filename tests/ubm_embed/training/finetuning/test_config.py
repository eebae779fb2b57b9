"""Settings of fine-tuning: their bounds, the paper's defaults, and how many negatives a step draws."""

import pytest

from ubm_embed.data.tasks.task import Task
from ubm_embed.training.finetuning.config import FinetuningConfig

NAN = float("nan")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"max_steps": 0}, "max_steps must be at least 1, got 0"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"validation_steps": 0}, "validation_steps must be at least 1, got 0"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"max_validation_examples": 0}, "max_validation_examples must be at least 1, got 0"),
        ({"min_count": 0}, "min_count must be at least 1, got 0"),
        ({"max_per_session": 0}, "max_per_session must be at least 1, got 0"),
        ({"min_interactions": 0}, "min_interactions must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ({"learning_rate": NAN}, "learning_rate must be a finite number, got nan"),
        ({"max_gradient_norm": 0.0}, "max_gradient_norm must be above 0, got 0.0"),
        ({"embedding_rate_multiplier": 0.0}, "embedding_rate_multiplier must be above 0, got 0.0"),
        ({"cooldown": 0.0}, "cooldown must be above 0, got 0.0"),
        ({"cooldown": 1.0}, "cooldown must be below 1, got 1.0"),
        ({"item_embedding_dropout": 1.0}, "item_embedding_dropout must be below 1, got 1.0"),
        ({"item_embeddings": True}, "item_embeddings needs train_products, and no only_session_encoder"),
        (
            {"item_embeddings": True, "train_products": True, "only_session_encoder": True},
            "item_embeddings needs train_products, and no only_session_encoder",
        ),
        ({"task": Task.PIP, "only_head": True, "read_texts_every": 1}, "only_head trains nothing below the head"),
        ({"task": Task.RLP, "only_head": True, "only_session_encoder": True}, "only_head trains nothing below"),
        ({"holdout": 0.0}, "holdout must be above 0, got 0.0"),
        ({"holdout": 1.0}, "holdout must be below 1, got 1.0"),
        ({"warmup": 1.0}, "warmup must be below 1, got 1.0"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"negatives": -1}, "negatives must be at least 0, got -1"),
        ({"selection_metric": "mrr"}, "selection_metric must be 'hit@10' or 'loss', got 'mrr'"),
        ({"split": "day"}, "split must be 'auto', 'time', 'session' or 'leave-one-out', got 'day'"),
        ({"precision": "float16"}, "precision must be 'auto', 'float32' or 'bfloat16', got 'float16'"),
    ],
)
def test_a_bad_value_names_the_setting_and_its_value(settings, problem):
    with pytest.raises(ValueError, match=problem):
        FinetuningConfig(**{"task": Task.NIP} | settings)


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        (Task.PIP, {"train_products": True}),
        (Task.RLP, {"negatives": 0}),
        (Task.PIP, {"min_count": 2}),
        (Task.RLP, {"max_per_session": 3}),
        (Task.PIP, {"repeats": True}),
        (Task.NIP, {"session_features": True}),
        (Task.NIP, {"only_head": True}),
        (Task.RLP, {"item_embeddings": True}),
        (Task.PIP, {"item_embedding_dropout": 0.1}),
        (Task.NIP, {"min_interactions": 4}),
    ],
)
def test_a_setting_of_another_task_is_refused(task, settings):
    (name, value), *_ = settings.items()
    with pytest.raises(ValueError, match=f"{name} is not for {task}, got {value}"):
        FinetuningConfig(task=task, **settings)


def test_the_defaults_are_the_paper_s():
    config = FinetuningConfig(task=Task.NIP)
    assert (config.epochs, config.batch, config.learning_rate, config.warmup) == (30, 32, 3e-5, 0.1)
    assert (config.min_count, config.min_interactions) == (5, 5)
    assert not config.only_session_encoder
    assert not config.train_products
    assert not config.all_positions
    assert not config.item_embeddings
    assert (config.cooldown, config.embedding_rate_multiplier) == (None, 1.0)


def test_the_settings_of_the_dataset():
    config = FinetuningConfig(task=Task.NIP, min_count=2, max_per_session=3, repeats=True)
    assert config.dataset_settings == {"min_count": 2, "max_per_session": 3, "repeats": True, "min_interactions": 5}
    assert FinetuningConfig(task=Task.PIP, min_interactions=4).dataset_settings["min_interactions"] == 4


FROZEN: dict[str, bool] = {}
CACHED = {"train_products": True, "only_session_encoder": True}
READ = {"train_products": True}


class TestNegatives:
    @pytest.mark.parametrize(
        ("settings", "products", "negatives"),
        [
            (FROZEN, 200_000, None),
            (FROZEN, 200_001, 8192),
            ({"only_session_encoder": True}, 200_000, None),
            (CACHED, 5_000, None),
            (CACHED, 5_001, 4096),
            (READ, 1_000_000, 256),
            (READ, 100, None),
        ],
    )
    def test_follow_what_a_product_costs(self, settings, products, negatives):
        assert FinetuningConfig(task=Task.NIP, **settings).num_negatives(products) == negatives

    @pytest.mark.parametrize("settings", [FROZEN, CACHED, READ])
    def test_are_as_many_as_given_and_0_takes_all(self, settings):
        assert FinetuningConfig(task=Task.NIP, negatives=17, **settings).num_negatives(100) == 17
        assert FinetuningConfig(task=Task.NIP, negatives=17, **settings).num_negatives(17) is None, "no sample of all"
        assert FinetuningConfig(task=Task.NIP, negatives=0, **settings).num_negatives(1_000_000) is None
