"""Pre-training of fresh tiny models on the toy sessions."""

import pytest

from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.pretrain import pretrain

# Two epochs of the toy sessions: 8 steps or more of each stage.
CONFIG = PretrainingConfig(
    item_batch=16,
    session_batch=8,
    epochs=2,
    learning_rate=1e-3,
    holdout=0.1,
    precision="float32",
    checkpoint_steps=3,
)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "model"


@pytest.fixture
def train(corpus, tokenizer, fresh, out):
    """Pre-train a fresh model into `out`."""

    def train(config=CONFIG, *, seed=0, corpus=corpus, out=out, **settings):
        return pretrain(corpus, fresh(seed=seed), tokenizer, out, config, **settings)

    return train
