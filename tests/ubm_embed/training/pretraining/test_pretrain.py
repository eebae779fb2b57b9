"""Pre-training learns, repeats itself, goes on where it was cut off, and publishes nothing that is broken."""

import itertools
import json

import numpy as np
import polars as pl
import pytest
import torch
from ubm_embed.training.pretraining.schedule import learning_rate

from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import ATTRIBUTES, PRODUCT_SCHEMA, Corpus
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.data.tasks.split import Split, held_out
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import Conflict, InvalidData, NotFound, QualityGateFailed
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint, model_id_of
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining import pretrain as pretraining
from ubm_embed.training.pretraining import pretrainer, stages
from ubm_embed.training.pretraining.config import ITEM_LOSSES, LOSSES, SESSION_LOSSES, PretrainingConfig
from ubm_embed.training.pretraining.pretrain import pretrain, training_sessions

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


def metrics_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_times(metrics):
    return [{name: value for name, value in step.items() if name != "examples_per_second"} for step in metrics]


class Cut(Exception):  # noqa: N818 - it stands for a kill
    pass


def cut_at(stage, step):
    """A progress under which the run dies once this step is taken."""

    def progress(what, done, total, note=""):
        if (what, done) == (f"pre-training, stage {stage}", step):
            raise Cut

    return progress


class TestRun:
    def test_leaves_a_model_its_metrics_and_its_record(self, train, out, tokenizer):
        checkpoint = train()
        assert sorted(path.name for path in out.iterdir()) == [
            "config.json",
            "metrics.jsonl",
            "model.safetensors",
            "tokenizer.json",
            "training.json",
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
                assert step["loss"] == pytest.approx(sum(step[name] for name in losses), abs=1e-4)
                assert 0 <= step["alignment"] <= 4
                assert -8 <= step["uniformity"] <= 0
                assert step["negatives"] > 0
                assert step["gradient_norm"] > 0
        repeats = sum(step["false_negatives_left_out"] for step in metrics if step["stage"] == 1)
        assert repeats > 0, "eight products come again within a batch"

    def test_tells_its_progress(self, train):
        told = []
        train(progress=lambda what, done, total, note="": told.append((what, done, total, note)))
        for stage in (1, 2):
            of_stage = [entry for entry in told if entry[0] == f"pre-training, stage {stage}"]
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

    def test_stage_2_may_have_steps_and_a_rate_of_its_own(self, train, out):
        train(CONFIG.replace(max_steps=3, session_max_steps=2, session_learning_rate=5e-4, warmup=0.0))
        peaks = {step["stage"]: step["learning_rate"] for step in reversed(metrics_of(out))}
        assert [step["steps"] for step in metrics_of(out)] == [3, 3, 3, 2, 2]
        assert peaks == pytest.approx({1: CONFIG.learning_rate, 2: 5e-4})

    def test_items_are_read_with_their_actions_unless_told_otherwise(self, train):
        config = CONFIG.replace(stages=(1,), max_steps=1)
        made = [train(config.replace(item_actions=given), overwrite=True).model_id for given in (True, False)]
        assert made[0] != made[1]

    def test_trains_at_the_rates_of_the_schedule(self, train, out):
        train(CONFIG.replace(max_steps=5, warmup=0.4))
        rates = [step["learning_rate"] for step in metrics_of(out)]
        expected = [learning_rate(step, 5, peak=1e-3, warmup=0.4) for step in range(5)]
        assert rates == pytest.approx(expected * 2)

    def test_a_batch_larger_than_the_corpus_reads_all_of_it(self, train, out):
        train(CONFIG.replace(item_batch=10_000, session_batch=10_000))
        assert [step["steps"] for step in metrics_of(out)] == [2, 2, 2, 2]

    def test_reads_no_more_of_a_session_than_the_model_has_places_for(self, corpus, tokenizer, fresh, out):
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


@pytest.fixture(scope="module")
def whole(corpus, tokenizer, tmp_path_factory):
    """A run without a cut: its model id and its metrics."""
    torch.manual_seed(0)
    sizes = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 1}
    model = UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size, **sizes)
    folder = tmp_path_factory.mktemp("whole") / "model"
    return pretrain(corpus, model, tokenizer, folder, CONFIG).model_id, without_times(metrics_of(folder))


class TestResume:
    @pytest.mark.parametrize(
        ("stage", "step"),
        [(1, 1), (1, 3), (1, 5), (1, -1), (2, 1), (2, 4), (2, -1)],
        ids=lambda value: "last" if value == -1 else str(value),
    )
    def test_ends_as_if_it_had_never_been_cut(self, train, out, whole, stage, step):
        last = next(entry["steps"] for entry in whole[1] if entry["stage"] == stage)
        with pytest.raises(Cut):
            train(progress=cut_at(stage, last if step == -1 else step))
        assert not out.exists()
        assert train(resume=True).model_id == whole[0]
        assert without_times(metrics_of(out)) == whole[1]
        assert not out.with_name("model.training").exists()

    def test_goes_on_from_the_last_kept_state(self, train):
        with pytest.raises(Cut):
            train(progress=cut_at(1, 5))
        taken = []
        train(resume=True, progress=lambda what, done, *_: taken.append(done))
        assert taken[0] == 4, "three steps were kept, the fourth and fifth are taken again"

    def test_can_be_cut_more_than_once(self, train, whole):
        with pytest.raises(Cut):
            train(progress=cut_at(1, 4))
        for place in ((1, 6), (1, 7), (2, 2), (2, 5)):
            with pytest.raises(Cut):
                train(progress=cut_at(*place), resume=True)
        assert train(resume=True).model_id == whole[0]

    def test_trained_to_the_end_but_not_written(self, train, whole, monkeypatch):
        def die(*_):
            raise Cut

        with monkeypatch.context() as patch:
            patch.setattr(pretraining, "save_checkpoint", die)
            with pytest.raises(Cut):
                train()
        taken = []
        assert train(resume=True, progress=lambda *entry: taken.append(entry)).model_id == whole[0]
        assert taken == []

    @pytest.fixture
    def cut_off(self, train):
        with pytest.raises(Cut):
            train(progress=cut_at(1, 2))

    @pytest.mark.usefixtures("cut_off")
    @pytest.mark.parametrize(
        ("change", "name"),
        [({"learning_rate": 2e-3}, "learning_rate"), ({"seed": 1}, "seed"), ({"losses": LOSSES[1:]}, "losses")],
    )
    def test_with_other_settings_is_refused(self, train, change, name):
        with pytest.raises(Conflict, match=f"cannot resume .* {name} was"):
            train(CONFIG.replace(**change), resume=True)

    @pytest.mark.usefixtures("cut_off")
    def test_with_another_starting_model_is_refused(self, train, corpus, tokenizer, fresh, out):
        with pytest.raises(Conflict, match="initial_model was"):
            train(seed=1, resume=True)
        with pytest.raises(Conflict, match="initial_model was"):
            pretrain(corpus, fresh(dropout=0.3), tokenizer, out, CONFIG, resume=True)

    @pytest.mark.usefixtures("cut_off")
    def test_with_other_data_is_refused(self, train, corpus):
        added = pl.when(pl.col("action") == "view").then(pl.lit("add")).otherwise("action").alias("action")
        for frame in (corpus.interactions.with_columns(added), corpus.interactions[:-1]):
            with pytest.raises(Conflict, match="corpus was"):
                train(corpus=Corpus(corpus.products, frame), resume=True)

    @pytest.mark.usefixtures("cut_off")
    def test_an_unfinished_run_is_not_run_over(self, train, whole):
        with pytest.raises(Conflict, match="unfinished run"):
            train()
        assert train(overwrite=True).model_id == whole[0]

    def test_there_must_be_something_to_resume(self, train, out):
        with pytest.raises(NotFound, match="nothing to resume"):
            train(resume=True)
        assert not out.exists()

    def test_a_taken_place_is_refused_before_any_work(self, train, out):
        out.mkdir()
        (out / "precious").touch()
        with pytest.raises(Conflict, match="exists already"):
            train()
        assert not out.with_name("model.training").exists()


class TestQualityGate:
    def test_a_loss_that_is_not_finite_stops_the_run(self, train, out):
        with pytest.raises(QualityGateFailed, match=r"the loss of stage 1, step \d+ is not finite"):
            train(CONFIG.replace(learning_rate=1e30))
        assert not out.exists()

    @pytest.mark.parametrize("place", [(1, 5), (1, "last"), (2, "last")])
    def test_a_gradient_that_is_not_finite_never_reaches_a_model(self, train, out, monkeypatch, place):
        # The loss itself is finite, and after the last step no other loss would tell.
        real = pretrainer.view_losses
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

        monkeypatch.setattr(pretrainer, "view_losses", spoiled)
        config = CONFIG.replace(max_steps=3 if place[1] == "last" else 8)
        with pytest.raises(QualityGateFailed, match="gradient of stage"):
            train(config)
        assert not out.exists()
        state = out.with_name("model.training") / "state.pt"
        if state.is_file():
            kept = torch.load(state, weights_only=True)["model"]
            assert all(torch.isfinite(weights).all() for weights in kept.values())

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


class World:
    """Eight products in two groups, and sessions that never leave a group."""

    WORDS = tuple("".join(letters) for letters in itertools.product("bdkt", "aei", "lmn", "ou"))
    GROUP = np.arange(8) // 4

    def __init__(self, shared=("", "")):
        self.titles = [f"{shared[group]} {self.WORDS[row]}".strip() for row, group in enumerate(self.GROUP)]
        rows = [
            {"product_id": f"p{row}", "title": title, "category": None, "attributes": []}
            for row, title in enumerate(self.titles)
        ]
        self.tokenizer = InteractionTokenizer.train(self.titles * 5, [], vocab_size=200)
        self.corpus = Corpus(pl.DataFrame(rows, schema=PRODUCT_SCHEMA), self._interactions())

    def _interactions(self):
        rng = np.random.default_rng(0)
        chosen = [
            rng.permutation(np.flatnonzero(number % 2 == self.GROUP))[: rng.integers(2, 5)] for number in range(120)
        ]
        rows = [
            (f"s{number}", place, "view", f"p{row}", None)
            for number, session in enumerate(chosen)
            for place, row in enumerate(session)
        ]
        columns = {"session_id": str, "position": int, "action": str, "product_id": str, "query": str}
        return pl.DataFrame(rows, schema=columns, orient="row")

    def model(self, **settings):
        torch.manual_seed(0)
        return UserBehaviorModel.from_scratch(vocab_size=self.tokenizer.vocab_size, **settings)

    def neighbours_in_group(self, model):
        """Share of the products whose nearest other product is of their own group."""
        vectors = Embedder(Checkpoint(model, self.tokenizer, "")).embed_products(self.corpus.products)
        scores = vectors @ vectors.T
        np.fill_diagonal(scores, -2)
        return (self.GROUP[scores.argmax(axis=1)] == self.GROUP).mean()

    def sessions_in_group(self, model):
        """Share of two-product sessions that score every unseen product of their group above all of the other's."""
        embedder = Embedder(Checkpoint(model, self.tokenizer, ""))
        vectors = embedder.embed_products(self.corpus.products)
        right = []
        for first, second in ((a, b) for a in range(8) for b in range(8) if a != b and self.GROUP[a] == self.GROUP[b]):
            seen = [Interaction(Action.VIEW, product=Product(self.titles[row])) for row in (first, second)]
            scores = vectors @ embedder.embed_sessions([Session(tuple(seen))])[0]
            own = self.GROUP[first] == self.GROUP
            own_unseen = np.setdiff1d(np.flatnonzero(own), [first, second])
            right.append(scores[own_unseen].min() > scores[~own].max())
        return np.mean(right)


class TestLearning:
    """A world whose right answer is known."""

    def test_stage_1_learns_who_is_seen_with_whom_from_nothing_else(self, out):
        # No two products share a word: only next item pairing can tell the groups.
        world = World()
        sizes = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 1, "dropout": 0.0}
        config = PretrainingConfig(
            stages=(1,),
            losses=("next_item_pairing",),
            item_batch=32,
            epochs=6,
            learning_rate=1e-2,
            temperature=0.2,
            precision="float32",
        )
        assert world.neighbours_in_group(world.model(**sizes)) < 1
        trained = pretrain(world.corpus, world.model(**sizes), world.tokenizer, out, config).model
        assert world.neighbours_in_group(trained) == 1
        losses = [step["loss"] for step in metrics_of(out)]
        assert np.mean(losses[-5:]) < losses[0] - 0.5

    def test_both_stages_put_a_session_near_the_products_of_its_kind(self, out):
        world = World(shared=("camping tent", "kitchen lamp"))
        sizes = {"layers": 2, "width": 32, "dimension": 32, "session_layers": 1}
        config = PretrainingConfig(
            item_batch=32, session_batch=16, epochs=4, learning_rate=3e-3, temperature=0.1, precision="float32", seed=1
        )
        assert world.sessions_in_group(world.model(**sizes)) < 0.8
        trained = pretrain(world.corpus, world.model(**sizes), world.tokenizer, out, config).model
        assert world.neighbours_in_group(trained) == 1
        assert world.sessions_in_group(trained) == 1
        for stage in (1, 2):
            losses = [step["loss"] for step in metrics_of(out) if step["stage"] == stage]
            assert np.mean(losses[-5:]) < np.mean(losses[:3]) - 0.2
