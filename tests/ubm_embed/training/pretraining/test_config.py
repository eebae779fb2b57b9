"""Settings: their bounds and the paper's defaults."""

import pytest

from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.stages import ITEM_LOSSES, LOSSES, SESSION_LOSSES


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"item_batch": 1}, "item_batch must be at least 2 .*, got 1"),
        ({"session_batch": 0}, "session_batch must be at least 2 .*, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"pairs_per_session": 0}, "pairs_per_session must be at least 1, got 0"),
        ({"checkpoint_steps": -1}, "checkpoint_steps must be at least 1, got -1"),
        ({"max_steps": 0}, "max_steps must be at least 1, got 0"),
        ({"session_max_steps": 0}, "session_max_steps must be at least 1, got 0"),
        ({"session_learning_rate": 0.0}, "session_learning_rate must be positive, got 0.0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive, got nan"),
        ({"temperature": -0.1}, "temperature must be positive, got -0.1"),
        ({"max_gradient_norm": 0.0}, "max_gradient_norm must be positive, got 0.0"),
        ({"warmup": 1.0}, r"warmup must be in \[0, 1\), got 1.0"),
        ({"holdout": -0.1}, r"holdout must be in \[0, 1\), got -0.1"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative, got -1.0"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"precision": "float16"}, "precision must be one of auto, float32, bfloat16, got 'float16'"),
        ({"stages": ()}, r"stages must be .*, got \(\)"),
        ({"stages": (3,)}, r"stages must be .*, got \(3,\)"),
        ({"stages": (2, 1)}, r"stages must be .*, got \(2, 1\)"),
        ({"losses": ("masking",)}, "losses must be of .*; got masking"),
        ({"losses": ITEM_LOSSES}, "for stage 2, got .*item_token_masking"),
        ({"losses": SESSION_LOSSES}, "for stage 1, got .*interaction_reordering"),
    ],
)
def test_a_bad_value_names_the_setting_and_its_value(settings, problem):
    with pytest.raises(ValueError, match=problem):
        PretrainingConfig(**settings)


def test_the_defaults_are_the_paper_s():
    config = PretrainingConfig()
    assert (config.stages, config.losses) == ((1, 2), LOSSES)
    assert (config.item_batch, config.session_batch, config.epochs) == (512, 128, 1)
    assert (config.learning_rate, config.warmup, config.temperature) == (3e-5, 0.1, 0.05)
