"""Fine-tuning that reads texts once, or at some steps only, leaves an ordinary model."""

import pytest

from tests.ubm_embed.training.finetuning.conftest import PIP, SEQUENCES, equal, weights_of
from tests.ubm_embed.training.runs import Cut, cut_at, metrics_of, without_times
from ubm_embed.training.finetuning.finetune import finetune, objective_of
from ubm_embed.training.finetuning.finetuner import Finetuner

ONCE = SEQUENCES.replace(read_texts_every=0, max_steps=9, negatives=8)
ENCODER = "interaction_encoder.encoder."


@pytest.fixture(scope="module")
def tuned(corpus, causal, tmp_path_factory):
    return finetune(corpus, causal, tmp_path_factory.mktemp("once") / "model", ONCE)


class TestOnce:
    def test_all_but_the_text_encoder_is_trained(self, causal, tuned):
        assert equal(weights_of(tuned, ENCODER), weights_of(causal, ENCODER))
        assert tuned.model.config.projected, "which an encoder as wide as the model lacks"
        for part in ("session_encoder.", "interaction_encoder.item_embeddings."):
            assert all(value.isfinite().all() for value in weights_of(tuned, part).values())

    def test_the_model_that_is_written_is_the_one_that_was_validated(self, corpus, tuned, dataset_of):
        reading = ONCE.replace(read_texts_every=1)
        dataset = dataset_of(ONCE)
        _, objective = objective_of(corpus, tuned, dataset, reading)
        examples = dataset.validation(max_examples=ONCE.max_validation_examples, seed=ONCE.seed)
        found = objective.eval().validate(examples).metrics
        # What was read of each text was kept in float16.
        assert found["validation_loss"] == pytest.approx(tuned.record["finetuning"]["validation_loss"], rel=0.01)

    def test_item_embeddings_learn_at_a_rate_of_their_own(self, corpus, causal, dataset_of):
        config = ONCE.replace(embedding_rate_multiplier=3.0)
        tuner = Finetuner(objective_of(corpus, causal, dataset_of(config), config)[1], dataset_of(config), config)
        fast = [group["params"] for group in tuner.optimizer.param_groups if group["rate_factor"] == 3.0]
        assert [[tuple(one.shape) for one in group] for group in fast] == [
            [tuple(tuner.module.tower.interactions.trained["item_embeddings"].vectors.shape)]
        ]

    def test_heads_can_be_trained_so_too(self, tune, causal):
        tuned = tune(PIP.replace(read_texts_every=0), base=causal)
        assert equal(weights_of(tuned, ENCODER), weights_of(causal, ENCODER))


@pytest.mark.parametrize("cut", [3, 6])
def test_cut_off_it_ends_as_if_it_had_never_been(tune, causal, tmp_path, out, cut):
    config = SEQUENCES.replace(read_texts_every=3, cooldown=0.5, max_steps=9, negatives=8)
    whole = tune(config, base=causal, out=tmp_path / "whole")
    with pytest.raises(Cut):
        tune(config, base=causal, progress=cut_at("fine-tuning", cut))
    assert tune(config, base=causal, resume=True).model_id == whole.model_id
    assert without_times(metrics_of(out)) == without_times(metrics_of(tmp_path / "whole"))
