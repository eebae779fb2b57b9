"""Settings: their bounds and the paper's defaults."""

import pytest

from ubm_embed.data.tasks.task import SplitKind
from ubm_embed.model.precision import Precision
from ubm_embed.training.pretraining.config import ITEM_LOSSES, LOSSES, SESSION_LOSSES, PretrainingConfig


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"item_batch": 1}, "item_batch must be at least 2, got 1"),
        ({"session_batch": 0}, "session_batch must be at least 2, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"pairs_per_session": 0}, "pairs_per_session must be at least 1, got 0"),
        ({"checkpoint_steps": -1}, "checkpoint_steps must be at least 1, got -1"),
        ({"max_steps": -1}, "max_steps must be at least 0, got -1"),
        ({"session_max_steps": -1}, "session_max_steps must be at least 0, got -1"),
        ({"session_learning_rate": 0.0}, "session_learning_rate must be above 0, got 0.0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number, got nan"),
        ({"temperature": -0.1}, "temperature must be above 0, got -0.1"),
        ({"max_gradient_norm": 0.0}, "max_gradient_norm must be above 0, got 0.0"),
        ({"warmup": 1.0}, "warmup must be below 1, got 1.0"),
        ({"holdout": -0.1}, "holdout must be at least 0, got -0.1"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0, got -1.0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"epochs": True}, "epochs must be an integer, got True"),
        ({"epochs": "3"}, "epochs must be an integer, got '3'"),
        ({"split": "day"}, "split must be 'auto', 'time', 'session' or 'leave-one-out', got 'day'"),
        ({"precision": "float16"}, "precision must be 'auto', 'float32' or 'bfloat16', got 'float16'"),
        ({"stages": ()}, r"stages must be .*, got \(\)"),
        ({"stages": (3,)}, r"stages must be .*, got \(3,\)"),
        ({"stages": (2, 1)}, r"stages must be .*, got \(2, 1\)"),
        ({"losses": ("masking",)}, r"losses\[0\] must be 'item_token_masking', .*, got 'masking'"),
        ({"losses": ITEM_LOSSES}, "for stage 2, got .*item_token_masking"),
        ({"losses": SESSION_LOSSES}, "for stage 1, got .*interaction_reordering"),
    ],
)
def test_a_bad_value_names_the_setting_and_its_value(settings, problem):
    with pytest.raises(ValueError, match=problem):
        PretrainingConfig(**settings)


def test_a_setting_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="batch_size is unknown"):
        PretrainingConfig(batch_size=3)


def test_words_become_members_of_their_enums():
    config = PretrainingConfig(split="time", precision="float32")
    assert (config.split, config.precision) == (SplitKind.TIME, Precision.FLOAT32)
    assert PretrainingConfig(losses=tuple(map(str, LOSSES[1:3]))).losses == LOSSES[1:3]


def test_stage_2_has_its_own_limit_and_rate_or_those_of_both():
    both = PretrainingConfig(max_steps=7, learning_rate=0.1)
    assert [(both.max_steps_of(stage), both.learning_rate_of(stage)) for stage in (1, 2)] == [(7, 0.1), (7, 0.1)]
    own = both.replace(session_max_steps=3, session_learning_rate=0.2)
    assert [(own.max_steps_of(stage), own.learning_rate_of(stage)) for stage in (1, 2)] == [(7, 0.1), (3, 0.2)]


def test_the_defaults_are_the_paper_s():
    config = PretrainingConfig()
    assert (config.stages, config.losses) == ((1, 2), LOSSES)
    assert (config.item_batch, config.session_batch, config.epochs) == (512, 128, 1)
    assert (config.learning_rate, config.warmup, config.temperature) == (3e-5, 0.1, 0.05)
