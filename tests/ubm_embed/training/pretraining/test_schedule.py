"""The learning rate's way, and what each step reads."""

import numpy as np
import pytest

from ubm_embed.training.pretraining.config import SESSION_LOSSES, PretrainingConfig
from ubm_embed.training.pretraining.stages import SessionStage, batches, learning_rate, stage_steps


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing():
    rates = [learning_rate(step, 10, peak=9.0, warmup=0.2) for step in range(10)]
    assert rates == pytest.approx([4.5, 9, 8, 7, 6, 5, 4, 3, 2, 1])


@pytest.mark.parametrize(("total", "warmup"), [(1, 0.1), (1, 0.0), (2, 0.9), (7, 0.0), (7, 0.99), (1000, 0.1)])
def test_the_rate_is_never_zero_and_never_beyond_the_peak(total, warmup):
    rates = [learning_rate(step, total, peak=2.0, warmup=warmup) for step in range(total)]
    assert max(rates) == pytest.approx(2.0)
    assert min(rates) > 0
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)


@pytest.fixture
def stage(tokenizer, tokenized):
    return SessionStage(tokenizer, tokenized, tokenized.sessions, 12, frozenset(SESSION_LOSSES))


def test_every_epoch_reads_whole_batches_of_different_sessions(stage):
    config = PretrainingConfig(epochs=3)
    taken = list(batches(stage, config))
    assert [step for step, _ in taken] == list(range(stage_steps(stage, config))) == list(range(9))
    epochs = [np.concatenate([chosen for _, chosen in taken[start : start + 3]]) for start in (0, 3, 6)]
    for epoch in epochs:
        assert np.unique(epoch).size == 36
    assert epochs[0].tolist() != epochs[1].tolist()


@pytest.mark.parametrize("first", [0, 1, 3, 5, 9])
def test_a_later_start_reads_what_is_left(stage, first):
    config = PretrainingConfig(epochs=3)
    whole = [(step, chosen.tolist()) for step, chosen in batches(stage, config)]
    assert [(step, chosen.tolist()) for step, chosen in batches(stage, config, first)] == whole[first:]
