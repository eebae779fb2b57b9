"""Settings of fine-tuning: their bounds, the paper's defaults, and how many products a step draws."""

import pytest

from ubm_embed.data.tasks.examples import Task
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
        ({"most_validation": 0}, "most_validation must be at least 1, got 0"),
        ({"least_count": 0}, "least_count must be at least 1, got 0"),
        ({"per_session": 0}, "per_session must be at least 1, got 0"),
        ({"least": 0}, "least must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"learning_rate": NAN}, "learning_rate must be positive, got nan"),
        ({"max_gradient_norm": 0.0}, "max_gradient_norm must be positive, got 0.0"),
        ({"lookup_rate": 0.0}, "lookup_rate must be positive, got 0.0"),
        ({"cooldown": 0.0}, "cooldown must be positive, got 0.0"),
        ({"cooldown": 1.0}, r"cooldown must be in \[0, 1\), got 1.0"),
        ({"known_text_dropout": 1.0}, r"known_text_dropout must be in \[0, 1\), got 1.0"),
        ({"known_texts": True}, "known_texts asks for train_products, without only_session_encoder"),
        (
            {"known_texts": True, "train_products": True, "only_session_encoder": True},
            "known_texts asks for train_products, without only_session_encoder",
        ),
        ({"holdout": 0.0}, "holdout must be positive, got 0.0"),
        ({"holdout": 1.0}, r"holdout must be in \[0, 1\), got 1.0"),
        ({"warmup": 1.0}, r"warmup must be in \[0, 1\), got 1.0"),
        ({"weight_decay": -0.1}, "weight_decay must not be negative, got -0.1"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"negatives": -1}, "negatives must not be negative, got -1"),
        ({"split": "day"}, "split must be one of auto, time, session, leave-one-out, got 'day'"),
        ({"precision": "float16"}, "precision must be one of auto, float32, bfloat16, got 'float16'"),
    ],
)
def test_a_bad_value_names_the_setting_and_its_value(settings, problem):
    with pytest.raises(ValueError, match=problem):
        FinetuningConfig(task=Task.NIP, **settings)


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        (Task.PIP, {"train_products": True}),
        (Task.RLP, {"negatives": 0}),
        (Task.PIP, {"least_count": 2}),
        (Task.RLP, {"per_session": 3}),
        (Task.PIP, {"repeats": True}),
        (Task.PIP, {"every_place": True}),
        (Task.RLP, {"known_texts": True}),
        (Task.PIP, {"known_text_dropout": 0.1}),
        (Task.NIP, {"least": 4}),
    ],
)
def test_a_setting_of_another_task_is_not_passed_over(task, settings):
    (name, value), *_ = settings.items()
    with pytest.raises(ValueError, match=f"{name} is not for {task}, got {value}"):
        FinetuningConfig(task=task, **settings)


def test_the_defaults_are_the_paper_s():
    config = FinetuningConfig(task=Task.NIP)
    assert (config.epochs, config.batch, config.learning_rate, config.warmup) == (30, 32, 3e-5, 0.1)
    assert (config.least_count, config.least) == (5, 5)
    assert not config.only_session_encoder
    assert not config.train_products
    assert not config.every_place
    assert not config.known_texts
    assert (config.cooldown, config.lookup_rate) == (None, 1.0)


def test_what_the_questions_take():
    config = FinetuningConfig(task=Task.NIP, least_count=2, per_session=3, repeats=True)
    assert config.questions == {"least_count": 2, "per_session": 3, "repeats": True, "least": 5}
    assert FinetuningConfig(task=Task.PIP, least=4).questions["least"] == 4


FROZEN: dict[str, bool] = {}
CACHED = {"train_products": True, "only_session_encoder": True}
READ = {"train_products": True}


class TestDraws:
    @pytest.mark.parametrize(
        ("settings", "products", "draws"),
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
    def test_follow_what_a_product_costs(self, settings, products, draws):
        assert FinetuningConfig(task=Task.NIP, **settings).draws(products) == draws

    @pytest.mark.parametrize("settings", [FROZEN, CACHED, READ])
    def test_as_many_as_were_asked_for_and_0_takes_all(self, settings):
        assert FinetuningConfig(task=Task.NIP, negatives=17, **settings).draws(100) == 17
        assert FinetuningConfig(task=Task.NIP, negatives=17, **settings).draws(17) is None, "no sample of all"
        assert FinetuningConfig(task=Task.NIP, negatives=0, **settings).draws(1_000_000) is None
