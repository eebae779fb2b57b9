"""Fine-tuning leaves a model for each task, with a record of how it came about, the same for the same seed."""

import json
import math

import numpy as np
import pytest
import torch

from tests.ubm_embed.training.finetuning.conftest import (
    BOTH,
    FILES,
    LOSS_ROUNDING,
    NIP,
    PIP,
    RLP,
    equal,
    weights_of,
)
from tests.ubm_embed.training.runs import metrics_of, without_times
from ubm_embed.counts.ranking_weights import COUNTS_FILE, CountWeights
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import Task
from ubm_embed.inference.predictor import Predictor
from ubm_embed.model.folder import PRODUCT_TOWER, model_id_of
from ubm_embed.training.finetuning.finetune import objective_of


class TestNextItem:
    def test_leaves_a_session_tower_beside_the_product_tower(self, tune, out, base, read):
        checkpoint = tune()
        assert sorted(file.name for file in out.iterdir()) == sorted([*FILES, COUNTS_FILE, PRODUCT_TOWER])
        assert [path.name for path in out.parent.iterdir()] == ["model"], "the work in hand is gone"
        config = checkpoint.model.config
        assert (config.task, config.product_tower, checkpoint.model.head) == ("nip", base.model_id, None)
        assert checkpoint.model_id == model_id_of(out) != base.model_id
        (products, sessions), (old_products, old_sessions) = read(checkpoint), read(base)
        assert np.array_equal(products, old_products)
        assert np.abs(sessions - old_sessions).max() > 1e-4

    def test_with_products_trained_leaves_one_model_for_both(self, tune, out, base, read):
        checkpoint = tune(BOTH.replace(max_steps=60))
        assert checkpoint.record["finetuning"]["step"] > 0
        assert sorted(file.name for file in out.iterdir()) == sorted([*FILES, COUNTS_FILE])
        assert (checkpoint.model.config.task, checkpoint.model.config.product_tower) == ("nip", None)
        assert np.abs(read(checkpoint)[0] - read(base)[0]).max() > 1e-4

    def test_fits_what_counts_weigh_for_every_product_that_was_seen(self, tune, out):
        checkpoint = tune()
        weights = checkpoint.count_weights
        assert weights == CountWeights.load(out)
        assert weights != CountWeights()
        assert len(weights.by_seen) > 1

    def test_a_tuned_model_tuned_again_keeps_its_product_tower(self, tune, base, tmp_path):
        first = tune()
        second = tune(base=first, out=tmp_path / "second")
        assert second.model.config.product_tower == second.products.model_id == base.model_id
        assert sorted(file.name for file in (tmp_path / "second" / PRODUCT_TOWER).iterdir()) == [
            name for name in FILES if name not in ("metrics.jsonl", "training_ids.safetensors")
        ]

    def test_over_itself(self, tune, base, out):
        first = tune()
        second = tune(base=first, overwrite=True)
        assert second.model_id != first.model_id
        assert second.products.model_id == base.model_id
        assert second.folder == out

    @pytest.mark.parametrize("settings", [{}, {"train_products": True}])
    def test_sampled_products(self, tune, out, settings):
        tune(NIP.replace(negatives=4, **settings))
        assert all(math.isfinite(step.get("loss", 0)) for step in metrics_of(out))


class TestHeads:
    @pytest.mark.parametrize("config", [PIP, RLP], ids=["pip", "rlp"])
    def test_leaves_a_model_with_a_head(self, tune, out, base, config, read):
        checkpoint = tune(config.replace(max_steps=24))
        assert sorted(file.name for file in out.iterdir()) == FILES
        assert (checkpoint.model.config.task, checkpoint.model.config.product_tower) == (config.task, None)
        assert checkpoint.model.head is not None
        assert np.abs(read(checkpoint)[1] - read(base)[1]).max() > 1e-4
        assert Predictor.from_pretrained(out, device="cpu").task is config.task

    @pytest.mark.parametrize("config", [PIP, RLP], ids=["pip", "rlp"])
    def test_the_head_alone_leaves_every_vector_as_it_is(self, tune, base, config, read):
        checkpoint = tune(config.replace(only_head=True, session_features=True, max_steps=24))
        assert np.abs(read(checkpoint)[1] - read(base)[1]).max() == 0
        assert checkpoint.model.head.layers[-1].weight.abs().max() > 0

    def test_pip_knows_the_share_of_purchases_in_training(self, tune, dataset_of):
        dataset = dataset_of(PIP)
        shares = [dataset.unbalanced_training(np.random.default_rng(seed)).targets.mean() for seed in range(20)]
        assert float(tune(PIP).model.head.purchase_share) == pytest.approx(
            np.mean(shares), rel=float(np.finfo(np.float32).eps)
        )
        assert 0 < np.mean(shares) < 1

    def test_rlp_knows_the_mean_and_the_standard_deviation_of_lengths(self, tune, dataset_of):
        dataset = dataset_of(RLP)
        epochs = [dataset.unbalanced_training(np.random.default_rng(seed)).targets for seed in range(50)]
        lengths = np.concatenate(epochs)
        head = tune(RLP).model.head
        assert float(head.mean) == pytest.approx(lengths.mean(), abs=0.5)
        assert float(head.std) == pytest.approx(lengths.std(), abs=0.5)


@pytest.mark.parametrize("config", [NIP, BOTH, PIP, RLP], ids=["nip", "both", "pip", "rlp"])
class TestOnlySessionEncoder:
    def test_leaves_the_interaction_encoder_as_it_is(self, tune, base, config):
        checkpoint = tune(config.replace(only_session_encoder=True, max_steps=60))
        assert equal(weights_of(checkpoint, "interaction_encoder."), weights_of(base, "interaction_encoder."))
        gained = checkpoint.record["finetuning"]["step"] > 0
        assert gained or config is PIP, "sixty steps on vectors of a random encoder are too few for PIP"
        assert gained != equal(weights_of(checkpoint, "session_encoder."), weights_of(base, "session_encoder."))

    def test_else_it_is_trained(self, tune, base, config):
        checkpoint = tune(config.replace(max_steps=60))
        assert not equal(weights_of(checkpoint, "interaction_encoder."), weights_of(base, "interaction_encoder."))

    def test_loses_the_same_as_reading_the_texts(self, corpus, dataset_of, base, config):
        dataset = dataset_of(config)
        examples = dataset.validation(max_examples=100, seed=0)
        losses = []
        for cached in (False, True):
            everything = {"negatives": 0} if config.task is Task.NIP else {}
            one = config.replace(only_session_encoder=cached, **everything)
            _, objective = objective_of(corpus, base, dataset, one)
            losses.append(objective.eval().loss(examples, np.random.default_rng(0)).item())
        assert losses[0] == pytest.approx(losses[1], rel=LOSS_ROUNDING)


class TestChunkTokens:
    @pytest.mark.parametrize("config", [NIP, BOTH, PIP, RLP], ids=["nip", "both", "pip", "rlp"])
    def test_validation_reads_no_more_tokens_at_once_than_training_does(self, corpus, base, dataset_of, config):
        dataset, most = dataset_of(config), 8
        examples = dataset.validation(max_examples=100, seed=0)
        objectives = [
            objective_of(corpus, base, dataset, config.replace(chunk_tokens=tokens))[1] for tokens in (most, None)
        ]
        chunked, whole = (objective.eval() for objective in objectives)
        calls = {chunked: [], whole: []}
        for objective, lengths in calls.items():
            encoder = objective.tower.interactions.encoder
            encoder.register_forward_pre_hook(
                lambda _, tokens, lengths=lengths: lengths.append(tokens[0].packing.lengths)
            )
        assert chunked.validate(examples).key == pytest.approx(whole.validate(examples).key, rel=LOSS_ROUNDING)
        # A chunk is counted without [CLS], [SEP] and the action, and exceeded by less than one text.
        longest = int(dataset.corpus.texts.lengths.max())
        assert max(int((lengths - 3).clamp(min=0).sum()) for lengths in calls[chunked]) < most + longest
        assert max(int((lengths - 3).clamp(min=0).sum()) for lengths in calls[whole]) > 2 * (most + longest)


class TestRecord:
    def test_tells_how_it_came_about(self, tune, base, tokenized, out):
        record = tune().record
        assert json.loads((out / "training.json").read_text()) == record
        tuning = record["finetuning"]
        assert (tuning["task"], tuning["learning_rate"], tuning["batch"]) == ("nip", 1e-2, 8)
        evaluations = {line["step"]: line for line in metrics_of(out) if "validation_loss" in line}
        assert list(evaluations) == [0, 2, 4, 6, 7]
        best = evaluations[tuning["step"]]
        assert tuning["validation_hit_at_10"] == best["validation_hit_at_10"]
        assert tuning["validation_hit_at_10"] == max(
            evaluation["validation_hit_at_10"] for evaluation in evaluations.values()
        )
        assert tuning["validation_loss"] == best["validation_loss"]
        assert record["initial_model"] == base.model_id
        assert record["pretraining"] == {"seed": 7}, "what pre-training wrote is kept"
        assert record["split"] == {"kind": "session", "holdout": 0.5}
        assert record["corpus"] == tokenized.fingerprint()

    @pytest.mark.parametrize("config", [PIP, RLP], ids=["pip", "rlp"])
    def test_of_a_head_tells_of_the_least_loss(self, tune, out, config):
        tuning = tune(config).record["finetuning"]
        evaluations = {line["step"]: line["validation_loss"] for line in metrics_of(out) if "validation_loss" in line}
        assert tuning["validation_loss"] == evaluations[tuning["step"]] == min(evaluations.values())
        assert "validation_hit_at_10" not in tuning

    def test_holds_the_leak_report(self, tune, tokenized):
        leaks = tune(PIP).record["leaks"]
        parts = Split.choose(tokenized, holdout=0.5).parts(tokenized)
        assert leaks["training"] == len(parts.training)
        assert leaks["test"] == len(parts.test.sessions)
        assert (leaks["split"], leaks["pretraining_respects_split"]) == ("session", False)
        assert leaks["pretraining_problem"] == "unknown"

    def test_the_model_that_was_given_is_as_it_was(self, tune, base):
        before = {name: value.clone() for name, value in base.model.state_dict().items()}
        tune()
        assert equal(before, base.model.state_dict())
        assert (base.model.config.task, base.model_id) == (None, model_id_of(base.folder))


class TestRepeatability:
    @pytest.mark.parametrize("config", [NIP.replace(negatives=4), PIP], ids=["nip", "pip"])
    def test_the_same_seed_makes_the_same_model_and_another_another(self, tune, tmp_path, config):
        first = tune(config, out=tmp_path / "first")
        torch.rand(7)
        np.random.default_rng().random(7)
        second = tune(config, out=tmp_path / "second")
        other = tune(config.replace(seed=1), out=tmp_path / "other")
        assert first.model_id == second.model_id != other.model_id
        assert without_times(metrics_of(tmp_path / "first")) == without_times(metrics_of(tmp_path / "second"))
