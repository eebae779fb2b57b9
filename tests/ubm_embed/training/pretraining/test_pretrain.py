"""Pre-training leaves a model with its metrics and record, the same for the same seed, and never one that is broken."""

import math

import numpy as np
import polars as pl
import pytest
import torch

from tests.ubm_embed.training.pretraining.conftest import CONFIG
from tests.ubm_embed.training.runs import metrics_of, without_times
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import ATTRIBUTES, Corpus
from ubm_embed.data.session import Action
from ubm_embed.data.tasks.split import Split, held_out
from ubm_embed.errors import InvalidData, QualityGateFailed
from ubm_embed.model.folder import model_id_of
from ubm_embed.training.pretraining import pretrainer, stages
from ubm_embed.training.pretraining.config import ITEM_LOSSES, LOSSES, SESSION_LOSSES
from ubm_embed.training.pretraining.pretrain import pretrain, stages_of, training_sessions
from ubm_embed.training.step import learning_rate


class TestRun:
    def test_leaves_a_model_its_metrics_and_its_record(self, train, out, tokenizer):
        checkpoint = train()
        assert sorted(path.name for path in out.iterdir()) == [
            "config.json",
            "graphs",
            "metrics.jsonl",
            "model.safetensors",
            "tokenizer.json",
            "training.json",
            "training_ids.safetensors",
        ]
        assert [path.name for path in out.parent.iterdir()] == ["model"], "the work in hand is gone"
        assert checkpoint.model_id == model_id_of(out)
        assert not checkpoint.model.training
        assert checkpoint.tokenizer.vocab_size == tokenizer.vocab_size
        assert checkpoint.record["model_id"] == checkpoint.model_id
        assert checkpoint.record["pretraining"]["holdout"] == CONFIG.holdout

    def test_logs_every_step(self, train, out):
        train()
        metrics = metrics_of(out)
        for stage, losses in ((1, ITEM_LOSSES), (2, SESSION_LOSSES)):
            of_stage = [step for step in metrics if step["stage"] == stage]
            assert [step["step"] for step in of_stage] == list(range(1, of_stage[0]["steps"] + 1))
            for step in of_stage:
                assert step["loss"] == pytest.approx(
                    sum(step[name] for name in losses), rel=4 * float(np.finfo(np.float32).eps)
                )
                assert 0 <= step["alignment"] <= 4
                assert -8 <= step["uniformity"] <= 0
                assert step["negatives"] > 0
                assert step["gradient_norm"] > 0
                assert step["examples_per_second"] > 0
                assert step["tokens_per_second"] > step["examples_per_second"], "an interaction has several tokens"
                assert {f"{name}_chance" for name in losses} <= step.keys()
        repeats = sum(step["num_masked"] for step in metrics if step["stage"] == 1)
        assert repeats > 0, "eight products come again within a batch"

    def test_logs_the_loss_of_a_model_to_which_all_candidates_look_alike(self, train, out):
        train(CONFIG.replace(max_steps=1))
        items, sessions = metrics_of(out)
        # Sixteen pairs, and twice as many that are masked; in stage 2, eight sessions, none of them equal to another.
        assert items["candidates"] == pytest.approx(1 + items["negatives"] / (16 + 32))
        assert items["item_token_masking_chance"] < math.log(32), "eight products come again within a batch"
        assert sessions["candidates"] == 8
        assert [sessions[f"{name}_chance"] for name in SESSION_LOSSES] == pytest.approx(2 * [math.log(8)])

    def test_the_chance_level_without_the_positive_in_the_denominator(self, train, out):
        train(CONFIG.replace(max_steps=1, stages=(2,), positive_in_denominator=False))
        (step,) = metrics_of(out)
        assert step["interaction_reordering_chance"] == pytest.approx(math.log(7))

    def test_tells_its_progress(self, train):
        entries = []
        train(progress=lambda what, done, total, note="": entries.append((what, done, total, note)))
        for stage in (1, 2):
            of_stage = [entry for entry in entries if entry[0] == f"pre-training, stage {stage}"]
            assert [entry[1] for entry in of_stage] == list(range(1, of_stage[0][2] + 1))
            assert all("loss" in entry[3] for entry in of_stage)

    @pytest.mark.parametrize("chosen", [(1,), (2,)])
    def test_one_stage_alone(self, train, out, chosen):
        train(CONFIG.replace(stages=chosen, max_steps=2))
        assert {step["stage"] for step in metrics_of(out)} == set(chosen)

    @pytest.mark.parametrize("name", LOSSES)
    def test_one_loss_alone(self, train, out, name):
        chosen = (1,) if name in ITEM_LOSSES else (2,)
        train(CONFIG.replace(stages=chosen, losses=(name,), max_steps=2))
        for step in metrics_of(out):
            assert set(LOSSES) & step.keys() == {name}
            assert step["loss"] == step[name] > 0

    def test_stage_1_leaves_the_session_encoder_alone(self, train, fresh):
        before = fresh().state_dict()
        after = train(CONFIG.replace(stages=(1,))).model.state_dict()
        changed = {name for name, weights in before.items() if not torch.equal(weights, after[name])}
        assert changed
        assert all(name.startswith("interaction_encoder.") for name in changed)

    def test_max_steps_ends_each_stage(self, train, out):
        train(CONFIG.replace(max_steps=3))
        steps = [(step["stage"], step["step"], step["steps"]) for step in metrics_of(out)]
        assert steps == [(1, 1, 3), (1, 2, 3), (1, 3, 3), (2, 1, 3), (2, 2, 3), (2, 3, 3)]

    def test_without_a_step_the_model_is_left_as_it_is(self, train, fresh, out):
        made = train(CONFIG.replace(max_steps=0))
        before, after = fresh().state_dict(), made.model.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        assert metrics_of(out) == []

    def test_stage_2_may_have_steps_and_a_rate_of_its_own(self, train, out):
        train(CONFIG.replace(max_steps=3, session_max_steps=2, session_learning_rate=5e-4, warmup=0.0))
        peaks = {step["stage"]: step["learning_rate"] for step in reversed(metrics_of(out))}
        assert [step["steps"] for step in metrics_of(out)] == [3, 3, 3, 2, 2]
        assert peaks == pytest.approx({1: CONFIG.learning_rate, 2: 5e-4})

    def test_items_are_read_with_their_actions_unless_told_otherwise(self, train):
        config = CONFIG.replace(stages=(1,), max_steps=1)
        made = [train(config.replace(item_actions=given), overwrite=True).model_id for given in (True, False)]
        assert made[0] != made[1]

    def test_known_next_items_are_masked_unless_told_otherwise(self, train, tmp_path):
        config = CONFIG.replace(stages=(1,), losses=("next_item_pairing",), max_steps=1)
        folders = [tmp_path / name for name in ("masked", "unmasked")]
        for mask, folder in zip((True, False), folders, strict=True):
            train(config.replace(mask_known_next_items=mask), out=folder)
        masked, unmasked = (metrics_of(folder)[0] for folder in folders)
        assert masked["num_masked"] > unmasked["num_masked"]
        assert masked["num_masked"] + masked["negatives"] == unmasked["num_masked"] + unmasked["negatives"] == 16 * 15
        assert masked["loss"] < unmasked["loss"], "fewer terms in the denominator"

    def test_trains_at_the_rates_of_the_schedule(self, train, out):
        train(CONFIG.replace(max_steps=5, warmup=0.4))
        rates = [step["learning_rate"] for step in metrics_of(out)]
        expected = [learning_rate(step, 5, peak=1e-3, warmup=0.4) for step in range(5)]
        assert rates == pytest.approx(expected * 2)

    def test_a_batch_larger_than_the_corpus_reads_all_of_it(self, train, out):
        train(CONFIG.replace(item_batch=10_000, session_batch=10_000))
        assert [step["steps"] for step in metrics_of(out)] == [2, 2, 2, 2]

    def test_reads_no_more_of_a_session_than_the_model_has_positions_for(self, corpus, tokenizer, fresh, out):
        model = fresh(max_interactions=3)
        assert pretrain(corpus, model, tokenizer, out, CONFIG.replace(max_steps=2)).model.config.max_interactions == 3


class TestRepeatability:
    def test_the_same_seed_makes_the_same_model_and_another_another(self, train, tmp_path):
        config = CONFIG.replace(max_steps=3)
        first, second = (train(config, out=tmp_path / name) for name in ("first", "second"))
        other = train(config.replace(seed=1), out=tmp_path / "other")
        assert first.model_id == second.model_id != other.model_id
        assert without_times(metrics_of(tmp_path / "first")) == without_times(metrics_of(tmp_path / "second"))

    def test_whatever_the_caller_has_drawn_before(self, train, tmp_path):
        config = CONFIG.replace(max_steps=2)
        first = train(config, out=tmp_path / "first")
        torch.rand(7)
        np.random.default_rng().random(7)
        assert train(config, out=tmp_path / "second").model_id == first.model_id


class TestQualityGate:
    def test_a_loss_that_is_not_finite_stops_the_run(self, train, out):
        advice = r"the step was not taken: lower --learning-rate and start over with --restart"
        with pytest.raises(QualityGateFailed, match=rf"the loss of stage 1, step \d+ is not finite .*; {advice}"):
            train(CONFIG.replace(learning_rate=1e30))
        assert not out.exists()
        last = metrics_of(out.with_name("model.training"))[-1]
        assert last["failed"].startswith(f"the loss of stage 1, step {last['step']} is not finite"), "why the log ends"

    @pytest.mark.parametrize("place", [(1, 5), (1, "last"), (2, "last")])
    def test_a_gradient_that_is_not_finite_never_reaches_a_model(self, train, out, monkeypatch, place):
        # The loss itself is finite, and after the last step no other loss would tell.
        real = pretrainer.batch_losses
        counted = {1: 0, 2: 0}

        def spoiled(vectors, views, config):
            losses = real(vectors, views, config)
            stage = 1 if set(losses) <= set(ITEM_LOSSES) else 2
            counted[stage] += 1
            last = 3 if place[1] == "last" else place[1]
            if (stage, counted[stage]) == (place[0], last):
                name = next(iter(losses))
                losses[name] = losses[name] + (vectors.sum() * 0).sqrt()
            return losses

        monkeypatch.setattr(pretrainer, "batch_losses", spoiled)
        config = CONFIG.replace(max_steps=3 if place[1] == "last" else 8)
        with pytest.raises(QualityGateFailed, match="gradient of stage"):
            train(config)
        assert not out.exists()
        state = out.with_name("model.training") / "state.pt"
        if state.is_file():
            saved = torch.load(state, weights_only=True)["model"]
            assert all(torch.isfinite(weights).all() for weights in saved.values())

    @pytest.mark.parametrize("purchases_only", [True, False])
    @pytest.mark.parametrize("sessions", [0, 1])
    def test_too_few_sessions_are_named(self, train, corpus, out, sessions, purchases_only):
        ids = corpus.interactions["session_id"].unique(maintain_order=True)[:sessions]
        with pytest.raises(InvalidData, match=r"sessions of two or more interactions to train on, out of"):
            train(CONFIG.replace(holdout=0.0, purchases_only=purchases_only), corpus=corpus.select_sessions(ids))
        assert not out.with_name("model.training").exists()

    def test_a_corpus_that_is_all_held_out_is_named(self, train, corpus):
        ids = [name for name in corpus.interactions["session_id"].unique() if held_out(np.array([name]), 0.5)]
        with pytest.raises(InvalidData, match=r"holdout 0\.5"):
            train(
                CONFIG.replace(holdout=0.5, purchases_only=True),
                corpus=corpus.select_sessions(pl.Series(ids)),
            )


class TestHoldout:
    HOLDOUT = 0.4

    @pytest.fixture
    def told_apart(self, corpus):
        """The toy sessions, but p8 stands in held-out ones only."""
        frame = corpus.interactions
        out = held_out(frame["session_id"].to_numpy(), self.HOLDOUT)
        with_p8 = pl.when(pl.Series(out) & pl.col("product_id").is_not_null()).then(pl.lit("p8"))
        others = pl.when(pl.col("product_id") == "p8").then(pl.lit("p1"))
        products = with_p8.otherwise(others.otherwise("product_id")).alias("product_id")
        return Corpus(corpus.products, frame.with_columns(products))

    def test_held_out_sessions_are_never_read(self, train, told_apart, monkeypatch):
        read = []

        def spy(name):
            real = getattr(stages, name)

            def views(tokenizer, texts, first, *rest):
                tables = (first, rest[0]) if name == "item_views" else (first.rows,)
                read.extend(int(row) for table in tables for row in table)
                return real(tokenizer, texts, first, *rest)

            monkeypatch.setattr(stages, name, views)

        spy("item_views")
        spy("session_views")
        train(CONFIG.replace(holdout=self.HOLDOUT), corpus=told_apart)
        assert 7 not in read
        assert set(range(7)) <= set(read)

    def test_only_pairs_of_training_sessions_are_known(self, tokenizer, tokenized):
        config = CONFIG.replace(holdout=self.HOLDOUT)

        def pairs_of(sessions):
            first, second = sessions.next_item_pairs(tokenized.is_product)
            return set(zip(sessions.rows[first].tolist(), sessions.rows[second].tolist(), strict=True))

        known = stages_of(tokenized, tokenizer, config)[0].known
        items = np.repeat(np.arange(len(tokenized.texts)), np.diff(known.offsets))
        pairs = set(zip(items.tolist(), known.next_items.tolist(), strict=True))
        assert pairs == pairs_of(training_sessions(tokenized, config)) < pairs_of(tokenized.sessions)

    def test_without_a_holdout_they_are(self, tokenizer, told_apart):
        tokenized = TokenizedCorpus.from_corpus(told_apart, tokenizer)
        assert 7 not in training_sessions(tokenized, CONFIG.replace(holdout=self.HOLDOUT)).rows
        assert 7 in training_sessions(tokenized, CONFIG.replace(holdout=0.0)).rows

    def test_products_with_one_text_are_one(self, tokenizer, corpus):
        twins = corpus.products.with_columns(title=pl.lit("socks"), category=None, attributes=pl.lit([], ATTRIBUTES))
        read = training_sessions(TokenizedCorpus.from_corpus(Corpus(twins, corpus.interactions), tokenizer), CONFIG)
        products = read.rows < corpus.products.height
        assert products.any()
        assert set(read.rows[products].tolist()) == {0}

    def test_sessions_of_one_interaction_are_left_out(self, tokenized):
        assert training_sessions(tokenized, CONFIG).lengths.min() == 2

    def test_purchases_only_reads_segments_that_end_in_one(self, tokenized):
        sessions = training_sessions(tokenized, CONFIG.replace(purchases_only=True))
        assert (sessions.actions[sessions.offsets[1:] - 1] == Action.BUY.code).all()
        assert len(sessions) < len(training_sessions(tokenized, CONFIG))


class TestSplit:
    """Which sessions were held out stands in the record, for all who ask the model later."""

    def test_stands_in_the_record_with_the_data_it_is_of(self, train, corpus, tokenizer):
        checkpoint = train(CONFIG.replace(max_steps=1, holdout=0.4))
        tokenized = TokenizedCorpus.from_corpus(corpus, tokenizer)
        assert checkpoint.record["split"] == {"kind": "session", "holdout": 0.4}
        assert checkpoint.record["corpus"] == tokenized.fingerprint()
        assert Split.from_record(checkpoint.record, tokenized) == Split.choose(tokenized, holdout=0.4)

    def test_by_time_the_latest_sessions_are_never_read(self, train, timed, tokenizer):
        config = CONFIG.replace(max_steps=1, holdout=0.4)
        record = train(config, corpus=timed).record
        assert record["split"] == {
            "kind": "time",
            "holdout": 0.4,
            "validation_from": "2024-05-25T00:00:00",
            "test_from": "2024-06-02T00:00:00",
        }
        tokenized = TokenizedCorpus.from_corpus(timed, tokenizer)
        assert 7 not in training_sessions(tokenized, config).rows
        assert 7 in training_sessions(tokenized, config.replace(split="session")).rows

    def test_another_kind_may_be_asked_for(self, train, timed):
        config = CONFIG.replace(max_steps=1, split="leave-one-out")
        assert train(config, corpus=timed).record["split"]["kind"] == "leave-one-out"

    def test_by_time_without_times_is_named(self, train, out):
        with pytest.raises(InvalidData, match="needs a timestamp in every session"):
            train(CONFIG.replace(split="time"))
        assert not out.with_name("model.training").exists()

    @pytest.fixture
    def timed(self, corpus):
        """The toy sessions, a day apart; p8 stands in the last ones only."""
        number = pl.col("session_id").str.slice(1).cast(pl.Int64)
        late = number >= 24
        with_p8 = pl.when(late & pl.col("product_id").is_not_null()).then(pl.lit("p8"))
        others = pl.when(pl.col("product_id") == "p8").then(pl.lit("p1"))
        products = with_p8.otherwise(others.otherwise("product_id")).alias("product_id")
        timestamp = (pl.datetime(2024, 5, 1) + pl.duration(days=number)).alias("timestamp")
        return Corpus(corpus.products, corpus.interactions.with_columns(products, timestamp))
