"""Fine-tuning learns each task, keeps its best weights, repeats itself, and goes on where it was cut off."""

import itertools
import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from tests.ubm_embed.training.conftest import interactions
from ubm_embed import outputs
from ubm_embed.data.batches.distinct_batches import NO_ACTION, TokenBatch, interaction_sequences
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import PRODUCT_SCHEMA, Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.data.tasks.examples import Examples, Task, Walks
from ubm_embed.data.tasks.questions import Questions
from ubm_embed.data.tasks.split import Split, SplitKind
from ubm_embed.errors import Conflict, InvalidData, NotFound, QualityGateFailed
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.predictor import Predictor
from ubm_embed.model.checkpoint import PRODUCT_TOWER, Checkpoint, copy_checkpoint, model_id_of, save_checkpoint
from ubm_embed.model.start import fresh_model
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.finetuning import finetune as finetuning
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.finetuning.finetune import agreed_split, finetune, objective_of
from ubm_embed.training.finetuning.finetuner import Finetuner
from ubm_embed.training.finetuning.objectives import Look
from ubm_embed.training.pretraining.schedule import learning_rate
from ubm_embed.training.recipes import Recipe, finetuning_config, model_settings
from ubm_embed.training.run import TrainingRun

PRODUCTS = 24
SETTINGS = {
    "batch": 8,
    "max_steps": 7,
    "learning_rate": 1e-2,
    "validation_steps": 2,
    "holdout": 0.5,
    "precision": "float32",
}
NIP = FinetuningConfig(task=Task.NIP, per_session=2, least_count=1, best_by="hit@10", **SETTINGS)
BOTH = replace(NIP, train_products=True, learning_rate=3e-3)
WALKING = replace(BOTH, every_place=True, known_texts=True)
PIP, RLP = (FinetuningConfig(task=task, least=1, **SETTINGS) for task in (Task.PIP, Task.RLP))


class Cut(Exception):  # noqa: N818 - it stands for a kill
    pass


def cut_at(step):
    """A progress under which the run dies once this step is taken."""

    def progress(what, done, total, note=""):
        if what.startswith("fine-tuning") and done == step:
            raise Cut

    return progress


def die(*_, **__):
    raise Cut


def metrics_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_times(metrics):
    return [{name: value for name, value in step.items() if name != "examples_per_second"} for step in metrics]


class Slope(nn.Module):
    """Training pushes its one weight up, step by step; validation has its own opinion of where it should be."""

    def __init__(self, best, spoiled_at=None, spoil=None):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.best, self.spoiled_at, self.spoil, self.taken = best, spoiled_at, spoil, 0

    def epoch(self, questions, rng):
        return questions.training(rng)

    def loss(self, examples, rng):
        assert self.training
        self.taken += 1
        return self.spoil(self.weight) if self.taken == self.spoiled_at else -self.weight

    def look(self, examples):
        assert not self.training
        loss = (self.weight.item() - self.best) ** 2
        return Look((loss,), {"validation_loss": loss})


class ToyQuestions:
    """Eight sessions of one view."""

    def training(self, rng):
        return Examples(SessionTable(np.ones(8, np.uint8), np.zeros(8, np.int32), np.arange(9)), np.zeros(8, int))

    def validation(self, *, most, seed):
        return self.training(None)


class TestFinetuner:
    """The loop, with an objective whose every look is known."""

    # Steps of 0.1 and less: the rate falls.
    CONFIG = FinetuningConfig(
        task=Task.NIP, epochs=10, batch=8, learning_rate=0.1, warmup=0.0, weight_decay=0.0, precision="float32"
    )

    def tuner(self, slope, run=None, progress=lambda *_: None, **settings):
        tuner = Finetuner(slope, ToyQuestions(), replace(self.CONFIG, **settings), progress)
        tuner.train = partial(tuner.train, run)
        return tuner

    @pytest.fixture
    def run(self, tmp_path):
        return TrainingRun.start(tmp_path / "model", {}, overwrite=False)

    def weight_after(self, step):
        """A gradient of one sign moves Adam by the learning rate."""
        return sum(learning_rate(taken, 10, peak=0.1, warmup=0.0) for taken in range(step))

    def test_a_run_that_only_gets_worse_gives_back_the_weights_it_began_with(self):
        slope = Slope(best=-1.0)
        best = self.tuner(slope).train()
        assert (best.step, best.cost, best.looks, best.shown) == (0, (1.0,), 10, {"validation_loss": 1.0})
        assert slope.weight.item() == 0.0
        assert not slope.training

    @pytest.mark.parametrize("step", [1, 4, 10])
    def test_keeps_the_weights_of_the_least_validation_loss(self, step):
        slope = Slope(best=self.weight_after(step))
        best = self.tuner(slope).train()
        assert (best.step, best.looks) == (step, 10 - step)
        assert best.cost[0] == best.shown["validation_loss"] == pytest.approx(0.0, abs=1e-8)
        assert slope.weight.item() == pytest.approx(self.weight_after(step), abs=1e-5)

    def test_of_equal_looks_the_first_is_best(self):
        slope = Slope(best=0.0)
        slope.look = lambda examples: Look((0.25,), {"validation_loss": slope.weight.item()})
        best = self.tuner(slope).train()
        assert slope.taken == 10
        assert (best.step, best.cost, best.looks, slope.weight.item()) == (0, (0.25,), 10, 0.0)
        assert best.to_dict() == {"step": 0, "looks": 10, "validation_loss": 0.0}

    def test_what_is_kept_is_what_costs_least_whatever_else_is_shown(self):
        costs = iter([3.0, 2.0, 1.0, 2.5])
        slope = Slope(best=0.0)
        slope.look = lambda examples: Look((next(costs),), {"validation_loss": slope.weight.item()})
        best = self.tuner(slope, max_steps=3).train()
        assert (best.step, best.cost) == (2, (1.0,))
        assert best.to_dict() == {"step": 2, "looks": 1, "validation_loss": slope.weight.item()}
        assert slope.weight.item() > 0

    def test_a_look_that_is_not_a_number_is_never_best(self):
        costs = iter([2.0, math.nan, 1.0, math.nan])
        slope = Slope(best=0.0)
        slope.look = lambda examples: Look((next(costs),), {})
        assert self.tuner(slope, max_steps=3).train().step == 2

    @pytest.mark.parametrize(("patience", "last"), [(1, 3), (3, 5), (8, 10), (None, 10)])
    def test_patience_counts_looks_without_a_new_best(self, patience, last):
        slope, taken = Slope(best=self.weight_after(2)), []
        best = self.tuner(slope, progress=lambda what, done, *_: taken.append(done), patience=patience).train()
        assert taken == list(range(1, last + 1))
        assert best.step == 2

    def test_as_long_as_either_hits_or_loss_gain_patience_waits_and_hits_choose(self):
        # Misses are fewest after 3 steps, the loss is least after 5.
        looks = iter([(0.5, 9.0), (0.4, 8.0), (0.3, 8.5), (0.3, 7.0), (0.4, 6.0), (0.4, 5.0), *[(0.4, 5.0)] * 5])
        slope, taken = Slope(best=0.0), []
        slope.look = lambda examples: Look(next(looks), {})
        best = self.tuner(slope, progress=lambda what, done, *_: taken.append(done), patience=2).train()
        assert (best.step, best.cost, best.looks) == (3, (0.3, 7.0), 2)
        assert taken[-1] == 7

    @pytest.mark.parametrize(
        ("settings", "looks"),
        [({}, [0, *range(1, 11)]), ({"validation_steps": 4}, [0, 4, 8, 10]), ({"max_steps": 3}, [0, 1, 2, 3])],
    )
    def test_looks_before_training_then_every_so_often_and_at_the_end(self, run, settings, looks):
        self.tuner(Slope(best=0.5), run, **settings).train()
        metrics = metrics_of(run.folder)
        assert [line["step"] for line in metrics if "validation_loss" in line] == looks
        steps = [line for line in metrics if "loss" in line]
        assert [line["step"] for line in steps] == list(range(1, looks[-1] + 1))
        total = looks[-1]
        expected = [learning_rate(step, total, peak=0.1, warmup=0.0) for step in range(total)]
        assert [line["learning_rate"] for line in steps] == pytest.approx(expected)

    def test_tells_its_progress(self):
        told = []
        self.tuner(Slope(best=0.5), progress=lambda *entry: told.append(entry)).train()
        assert [entry[:3] for entry in told] == [("fine-tuning, nip", step, 10) for step in range(1, 11)]
        assert all("loss" in entry[3] for entry in told)
        assert "validation loss 0.250, best at step 0" in told[0][3], "what the last look showed"

    @pytest.mark.parametrize("cut", range(1, 11))
    def test_cut_off_it_ends_as_if_it_had_never_been(self, run, cut):
        whole = Slope(best=self.weight_after(6))
        expected = self.tuner(whole, validation_steps=3).train()
        with pytest.raises(Cut):
            self.tuner(Slope(best=whole.best), run, cut_at(cut), validation_steps=3).train()
        slope = Slope(best=whole.best)
        assert self.tuner(slope, run, validation_steps=3).train() == expected
        assert slope.weight.item() == whole.weight.item()
        assert [line["step"] for line in metrics_of(run.folder) if "loss" in line] == list(range(1, 11))

    def test_patience_that_ran_out_before_a_cut_stays_out(self, run):
        expected = self.tuner(Slope(best=self.weight_after(2)), run, patience=2).train()
        slope, taken = Slope(best=self.weight_after(2)), []
        again = self.tuner(slope, run, lambda *entry: taken.append(entry), patience=2)
        assert again.train() == expected
        assert slope.weight.item() == pytest.approx(self.weight_after(2), abs=1e-6)
        assert taken == []

    @pytest.mark.parametrize("step", [1, 5, 10])
    @pytest.mark.parametrize(
        ("what", "spoil"),
        [("loss", lambda weight: weight * math.inf), ("gradient", lambda weight: (weight * 0).sqrt())],
    )
    def test_what_is_not_finite_stops_the_run_before_the_step_is_taken(self, run, step, what, spoil):
        slope = Slope(best=9.0, spoiled_at=step, spoil=spoil)
        with pytest.raises(QualityGateFailed, match=f"the {what} of step {step} is not finite"):
            self.tuner(slope, run).train()
        assert slope.weight.item() == pytest.approx(self.weight_after(step - 1), abs=1e-5)

    def test_a_model_with_nothing_to_train_is_named(self):
        slope = Slope(best=0.0).requires_grad_(False)
        with pytest.raises(InvalidData, match="nothing else is to be trained"):
            self.tuner(slope)

    @pytest.mark.parametrize("cut", [None, 4, 7])
    def test_an_epoch_shorter_than_the_first_still_gives_every_step_something_to_read(self, run, cut):
        slope, read = Slope(best=9.0), []
        step = slope.loss
        slope.loss = lambda examples, rng: (read.append(len(examples)), step(examples, rng))[1]

        def epoch(questions, rng):
            # As runs of long sessions are drawn anew, some of them come without a question.
            many = 8 if rng.random() == np.random.default_rng([0, 4, 0]).random() else 3
            return ToyQuestions().training(rng).take(np.arange(many))

        slope.epoch = epoch
        settings = {"batch": 2, "max_steps": 10, "validation_steps": 3}
        if cut is not None:
            with pytest.raises(Cut):
                self.tuner(slope, run, cut_at(cut), **settings).train()
        self.tuner(slope, run, **settings).train()
        assert set(read) == {2}
        assert [line["step"] for line in metrics_of(run.folder) if "loss" in line] == list(range(1, 11))


class TestCooldown:
    """Up, along the peak until looks gain no more, and down to nothing."""

    # Looks after 5, 10, 15 ... steps.
    CONFIG = FinetuningConfig(
        task=Task.NIP, epochs=1000, max_steps=100, batch=8, learning_rate=0.1, warmup=0.1, weight_decay=0.0,
        cooldown=0.4, patience=2, validation_steps=5, precision="float32",
    )  # fmt: skip

    @pytest.fixture
    def run(self, tmp_path):
        return TrainingRun.start(tmp_path / "model", {}, overwrite=False)

    def tuner(self, slope, run=None, progress=lambda *_: None, **settings):
        tuner = Finetuner(slope, ToyQuestions(), replace(self.CONFIG, **settings), progress)
        tuner.train = partial(tuner.train, run)
        return tuner

    def rates(self, run):
        return [line["learning_rate"] for line in metrics_of(run.folder) if "loss" in line]

    def best_after(self, steps):
        """Where the weight is then: the rate goes up over 10 steps, and stays."""
        return sum(min(1.0, (step + 1) / 10) * 0.1 for step in range(steps))

    def require_down(self, rates):
        """From the peak in equal steps to the last one before nothing."""
        assert rates[0] < 0.1
        drops = -np.diff([0.1, *rates, 0.0])
        assert drops == pytest.approx(np.full(drops.size, 0.1 / (len(rates) + 1)))

    def test_goes_down_once_patience_runs_out_and_ends_by_itself(self, run):
        best = self.tuner(Slope(best=self.best_after(15)), run).train()
        rates = self.rates(run)
        assert rates[:10] == pytest.approx([0.01 * step for step in range(1, 11)])
        assert rates[10:25] == pytest.approx([0.1] * 15)
        assert len(rates) == 25 + 10, "0.4 of the 25 steps until the second look without a gain"
        self.require_down(rates[25:])
        assert best.step == 15
        assert [line["step"] for line in metrics_of(run.folder) if "validation_loss" in line] == list(range(0, 36, 5))

    def test_goes_down_from_the_best_weights(self):
        slope, seen = Slope(best=self.best_after(15)), []
        step = slope.loss
        slope.loss = lambda *asked: (seen.append(slope.weight.item()), step(*asked))[1]
        self.tuner(slope).train()
        assert seen[24] == pytest.approx(self.best_after(24), rel=1e-3)
        assert seen[25] == pytest.approx(self.best_after(15), rel=1e-3)

    @pytest.mark.parametrize("patience", [2, None])
    def test_goes_down_in_time_where_every_look_gains(self, run, patience):
        best = self.tuner(Slope(best=99.0), run, patience=patience).train()
        rates = self.rates(run)
        assert len(rates) == best.step == 100
        assert rates[10:71] == pytest.approx([0.1] * 61)
        assert len(rates[72:]) == pytest.approx(0.4 * 72, abs=1)
        self.require_down(rates[72:])

    def test_looks_at_the_end_wherever_that_is(self, run):
        self.tuner(Slope(best=self.best_after(15)), run, cooldown=0.28).train()
        looks = [line["step"] for line in metrics_of(run.folder) if "validation_loss" in line]
        assert looks == [0, 5, 10, 15, 20, 25, 30, 32]

    def test_what_is_best_on_the_way_down_is_kept(self):
        costs = iter([5.0, 4.0, 4.5, 4.2, 1.0, 2.0])
        slope = Slope(best=0.0)
        slope.look = lambda examples: Look((next(costs),), {})
        best = self.tuner(slope, cooldown=0.6).train()
        assert (best.step, best.looks) == (20, 1)
        assert slope.taken == 15 + 9, "a gain on the way down does not prolong it"

    def test_tells_when_it_will_end_as_soon_as_it_knows(self):
        told = []
        self.tuner(Slope(best=self.best_after(15)), progress=lambda what, *entry: told.append(entry[:2])).train()
        assert told == [(step, 100 if step <= 25 else 35) for step in range(1, 36)]

    # On the way up, along the peak, at its last step, and on the way down, with and without a look in between.
    @pytest.mark.parametrize("cut", [3, 12, 15, 25, 26, 30, 32, 35])
    def test_cut_off_in_each_part_it_ends_as_if_it_had_never_been(self, run, cut):
        whole = Slope(best=self.best_after(15))
        told = []
        expected = self.tuner(whole, None, lambda what, *entry: told.append(entry)).train()
        with pytest.raises(Cut):
            self.tuner(Slope(best=whole.best), run, cut_at(cut)).train()
        slope, again = Slope(best=whole.best), []
        assert self.tuner(slope, run, lambda what, *entry: again.append(entry)).train() == expected
        assert slope.weight.item() == whole.weight.item()
        kept = cut - 1 - (cut - 1) % 5
        assert again == told[kept:]
        rates = self.rates(run)
        assert len(rates) == 35
        self.require_down(rates[25:])

    @pytest.mark.parametrize("cut", [70, 73, 80, 99])
    def test_cut_off_where_the_steps_are_up_it_does_too(self, run, cut):
        expected, whole = self.tuner(Slope(best=99.0)).train(), Slope(best=99.0)
        self.tuner(whole).train()
        with pytest.raises(Cut):
            self.tuner(Slope(best=99.0), run, cut_at(cut)).train()
        slope = Slope(best=99.0)
        assert self.tuner(slope, run).train() == expected
        assert slope.weight.item() == whole.weight.item()
        self.require_down(self.rates(run)[72:])

    def test_done_and_asked_again_takes_no_step(self, run):
        expected = self.tuner(Slope(best=self.best_after(15)), run).train()
        taken = []
        assert self.tuner(Slope(best=self.best_after(15)), run, lambda *told: taken.append(told)).train() == expected
        assert taken == []


class TestLookupRate:
    class TwoSlopes(Slope):
        """A weight, and one that is looked up by a known text."""

        def __init__(self):
            super().__init__(best=99.0)
            self.known = nn.Module()
            self.known.vectors = nn.Parameter(torch.zeros(2, 3))

        def loss(self, examples, rng):
            return -self.weight - self.known.vectors.sum()

    @pytest.mark.parametrize("cooldown", [None, 0.5])
    def test_moves_what_is_looked_up_by_so_many_times_the_rate(self, cooldown):
        slope = self.TwoSlopes()
        config = replace(TestFinetuner.CONFIG, lookup_rate=3.0, cooldown=cooldown, max_gradient_norm=100.0)
        Finetuner(slope, ToyQuestions(), config).train()
        assert slope.weight.item() > 0.4
        expected = torch.full((2, 3), 3 * slope.weight.item())
        torch.testing.assert_close(slope.known.vectors.detach(), expected, rtol=1e-4, atol=0)

    def test_is_of_words_and_known_texts_alone(self, corpus, tokenized, causal):
        config = replace(WALKING, lookup_rate=3.0)
        questions = Questions.of(Task.NIP, tokenized, Split.choose(tokenized, holdout=0.5), **config.questions)
        _, objective = objective_of(corpus, causal, questions, config)
        names = {id(weights): name for name, weights in objective.named_parameters()}
        groups = Finetuner(objective, questions, config).optimizer.param_groups
        fast = [names[id(weights)] for group in groups if group["rate_factor"] == 3.0 for weights in group["params"]]
        slow = [names[id(weights)] for group in groups if group["rate_factor"] == 1.0 for weights in group["params"]]
        assert sorted(name.split("encoder.", 2)[-1] for name in fast) == [
            "embeddings.word_embeddings.weight",
            "known.vectors",
        ]
        assert sorted([*fast, *slow]) == sorted(names.values())


@pytest.fixture(scope="module")
def corpus_of():
    """A maker of corpora of a shop with more products than the ten that are looked at, of words the tokenizer knows."""
    colours, kinds = ("red", "blue", "leather", "walking"), ("shoes", "shirt", "boots", "belt", "socks", "road")
    rows = [
        {"product_id": f"p{number + 1}", "title": f"{colour} {kind}", "category": None, "attributes": []}
        for number, (kind, colour) in enumerate(itertools.product(kinds, colours))
    ]
    wide = pl.DataFrame(rows, schema=PRODUCT_SCHEMA)
    return lambda sessions: Corpus(wide, interactions(sessions))


@pytest.fixture(scope="module")
def corpus(corpus_of):
    """Sixty sessions in which a few steps of training gain something for each task."""
    rng = np.random.default_rng(5)
    sessions = []
    for number in range(60):
        # Products follow each other in a ring, and only short sessions begin with p1.
        length = int(rng.integers(3, 9))
        start = 0 if length < 5 else int(rng.integers(1, PRODUCTS))
        session = [("view", f"p{(start + place) % PRODUCTS + 1}") for place in range(length)]
        if number % 3 == 0:
            session = [*(("add", product) for _, product in session[:-1]), ("buy", session[-1][1])]
        sessions.append([("search", "red shoes"), *session] if number % 2 else session)
    return corpus_of(sessions)


@pytest.fixture(scope="module")
def tokenized(corpus, tokenizer):
    return TokenizedCorpus.of(corpus, tokenizer)


@pytest.fixture(scope="module")
def base(tokenizer, tmp_path_factory):
    """A tiny model in a folder, in which every layer does something; no test may change it."""
    return kept(tokenizer, tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def causal(tokenizer, tmp_path_factory):
    """The same, as the recipe for shops makes it: causal, and an interaction is the mean of its tokens."""
    return kept(tokenizer, tmp_path_factory.mktemp("causal") / "model", causal=True, mean_of_tokens=True)


def kept(tokenizer, folder, **settings):
    torch.manual_seed(0)
    sizes = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 1}
    model = UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size, **sizes, **settings)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.1 * torch.randn_like(weights)
    folder.mkdir()
    save_checkpoint(folder, model, tokenizer, {"pretraining": {"seed": 7}})
    return Checkpoint.from_pretrained(folder)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "model"


@pytest.fixture
def tune(corpus, base, out):
    """Fine-tune the base model into `out`."""

    def tune(config=NIP, *, corpus=corpus, base=base, out=out, **settings):
        return finetune(corpus, base, out, config, **settings)

    return tune


@pytest.fixture
def read(tokenized, corpus):
    """Vectors of the toy shop's products and of all its sessions by a model."""

    def read(checkpoint):
        embedder = Embedder(checkpoint, device="cpu")
        return embedder.embed_products(corpus.products), embedder.embed_table(tokenized.texts, tokenized.sessions)

    return read


def weights_of(checkpoint, part):
    return {name: value for name, value in checkpoint.model.state_dict().items() if name.startswith(part)}


def equal(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(value, second[name]) for name, value in first.items())


FILES = ["config.json", "metrics.jsonl", "model.safetensors", "tokenizer.json", "training.json"]


class TestNextItem:
    def test_leaves_a_session_tower_beside_the_product_tower(self, tune, out, base, read):
        checkpoint = tune()
        assert sorted(file.name for file in out.iterdir()) == sorted([*FILES, PRODUCT_TOWER])
        assert [path.name for path in out.parent.iterdir()] == ["model"], "the work in hand is gone"
        config = checkpoint.model.config
        assert (config.task, config.product_tower, checkpoint.model.head) == ("nip", base.model_id, None)
        assert checkpoint.model_id == model_id_of(out) != base.model_id
        (products, sessions), (old_products, old_sessions) = read(checkpoint), read(base)
        assert np.array_equal(products, old_products)
        assert np.abs(sessions - old_sessions).max() > 1e-4

    def test_with_products_trained_leaves_one_model_for_both(self, tune, out, base, read):
        checkpoint = tune(replace(BOTH, max_steps=60))
        assert checkpoint.record["finetuning"]["step"] > 0
        assert sorted(file.name for file in out.iterdir()) == FILES
        assert (checkpoint.model.config.task, checkpoint.model.config.product_tower) == ("nip", None)
        assert np.abs(read(checkpoint)[0] - read(base)[0]).max() > 1e-4

    def test_a_tuned_model_tuned_again_keeps_its_product_tower(self, tune, base, tmp_path):
        first = tune()
        second = tune(base=first, out=tmp_path / "second")
        assert second.model.config.product_tower == second.products.model_id == base.model_id
        assert sorted(file.name for file in (tmp_path / "second" / PRODUCT_TOWER).iterdir()) == [
            name for name in FILES if name != "metrics.jsonl"
        ]

    def test_over_itself(self, tune, base, out):
        first = tune()
        second = tune(base=first, overwrite=True)
        assert second.model_id != first.model_id
        assert second.products.model_id == base.model_id
        assert second.folder == out

    @pytest.mark.parametrize("settings", [{}, {"train_products": True}])
    def test_sampled_products(self, tune, out, settings):
        tune(replace(NIP, negatives=4, **settings))
        assert all(math.isfinite(step.get("loss", 0)) for step in metrics_of(out))


class TestEveryPlace:
    """Sessions asked at all of their places at once, by a causal model that learns vectors of products it has seen."""

    @pytest.fixture
    def objective(self, corpus, tokenized, causal):
        def objective(**settings):
            config = replace(WALKING, negatives=0, **settings)
            questions = Questions.of(Task.NIP, tokenized, Split.choose(tokenized, holdout=0.5), **config.questions)
            return questions, objective_of(corpus, causal, questions, config)[1]

        return objective

    @torch.no_grad()
    def test_costs_what_its_questions_cost_one_by_one(self, objective, stir):
        questions, asked = objective()
        stir(asked)
        walks = asked.epoch(questions, np.random.default_rng(0))
        assert isinstance(walks, Walks)
        together = asked.eval().loss(walks, np.random.default_rng(0)).item()
        assert together == pytest.approx(asked.loss(walks.examples, np.random.default_rng(0)).item(), rel=1e-4)

    def test_knows_the_products_that_training_has_seen_often_enough(self, objective, monkeypatch):
        for least in (1, 5, 9):
            monkeypatch.setattr(finetuning, "KNOWN_COUNT", least)
            questions, asked = objective()
            known = asked.tower.interactions.encoder.known
            seen = int((questions.counts >= least).sum())
            assert 0 < seen < PRODUCTS or least == 1
            assert known.keys.numel() == seen
            assert known.dropout == 0.5

    def test_starts_them_among_their_neighbours_and_later_ones_at_nothing(self, corpus, tokenized, causal, monkeypatch):
        questions = Questions.of(Task.NIP, tokenized, Split.choose(tokenized, holdout=0.5), **WALKING.questions)
        first, _ = objective_of(corpus, causal, questions, WALKING)
        known, seen = first.interaction_encoder.known, np.flatnonzero(questions.counts >= finetuning.KNOWN_COUNT)
        lengths = known.vectors.detach().norm(dim=1)
        with torch.no_grad():
            sequences = interaction_sequences(causal.tokenizer, tokenized.texts, np.full(seen.size, NO_ACTION), seen)
            words = causal.model.interaction_encoder.eval()(TokenBatch.of(sequences)).norm(dim=1)
        assert lengths[lengths > 0].mean().item() == pytest.approx(words.mean().item(), rel=1e-4)
        monkeypatch.setattr(finetuning, "KNOWN_COUNT", 1)
        second, _ = objective_of(corpus, Checkpoint(first, causal.tokenizer, "first"), questions, WALKING)
        after = second.interaction_encoder.known
        before = torch.isin(after.keys, known.keys)
        assert torch.equal(after.vectors[before], known.vectors)
        assert not before.all()
        assert not after.vectors[~before].any()

    def test_leaves_one_model_that_knows_them(self, tune, causal, out, read, monkeypatch):
        monkeypatch.setattr(finetuning, "KNOWN_COUNT", 1)
        tuned = tune(replace(WALKING, max_steps=60), base=causal)
        assert sorted(file.name for file in out.iterdir()) == FILES
        config = tuned.model.config
        assert (config.task, config.causal, config.mean_of_tokens, config.product_tower) == ("nip", True, True, None)
        assert config.known_texts == PRODUCTS
        assert tuned.model.interaction_encoder.known.vectors.abs().amax(dim=1).min() > 0
        assert np.isfinite(read(tuned)[1]).all()
        assert causal.model.config.known_texts == 0, "the model that was given is as it was"

    def test_tuned_again_keeps_what_it_knows(self, tune, causal, tmp_path):
        first = tune(replace(WALKING, max_steps=60), base=causal)
        again = replace(BOTH, max_steps=2, learning_rate=1e-9)
        second = tune(replace(again, known_texts=True), base=first, out=tmp_path / "second")
        third = tune(again, base=first, out=tmp_path / "third")
        assert (third.model.config.known_texts, third.model.interaction_encoder.known) == (0, None), "by words alone"
        before, after = (one.model.interaction_encoder.known for one in (first, second))
        assert torch.equal(after.keys, before.keys)
        torch.testing.assert_close(after.vectors, before.vectors, atol=1e-6, rtol=0)

    def test_the_same_seed_makes_the_same_model(self, tune, causal, tmp_path):
        ids = [
            tune(replace(WALKING, negatives=8, seed=seed), base=causal, out=tmp_path / name).model_id
            for name, seed in (("first", 0), ("second", 0), ("other", 1))
        ]
        assert ids[0] == ids[1] != ids[2]

    # Six steps up and along the peak, and three down.
    @pytest.mark.parametrize("cut", [2, 6, 7, 8, 9])
    def test_cut_off_in_each_part_of_its_way_it_ends_as_if_it_had_never_been(self, tune, causal, tmp_path, out, cut):
        config = replace(WALKING, cooldown=0.5, max_steps=9, negatives=8, lookup_rate=2.0)
        whole = tune(config, base=causal, out=tmp_path / "whole")
        with pytest.raises(Cut):
            tune(config, base=causal, progress=cut_at(cut))
        assert tune(config, base=causal, resume=True).model_id == whole.model_id
        assert without_times(metrics_of(out)) == without_times(metrics_of(tmp_path / "whole"))

    def test_of_a_model_that_reads_both_ways_is_refused_with_what_to_do(self, tune, out):
        problem = r"only a causal session encoder .* --recipe shop, or fine-tune with --one-by-one or --recipe paper"
        with pytest.raises(InvalidData, match=problem):
            tune(replace(WALKING, known_texts=False))
        assert not out.exists()
        assert not out.with_name("model.training").exists()


STEPS = 6
FEW_STEPS = finetuning_config(
    Recipe.SHOP,
    Task.NIP,
    max_steps=STEPS,
    validation_steps=2,
    learning_rate=1e-2,
    batch=32,
    negatives=32,
    precision="float32",
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A sample shop."""
    folder = tmp_path_factory.mktemp("sample") / "shop"
    write_sample_shop(folder, products=80, sessions=200, seed=1)
    return Corpus.open(folder)


@pytest.fixture(scope="module")
def tuned(shop, tmp_path_factory):
    """A fresh model, fine-tuned on it by a few steps of the recipe for shops."""
    folder = tmp_path_factory.mktemp("sample model")
    sizes = model_settings(Recipe.SHOP, layers=1, width=16, session_layers=1)
    model, tokenizer = fresh_model(shop, vocab_size=512, dimension=16, **sizes)
    (folder / "base").mkdir()
    save_checkpoint(folder / "base", model, tokenizer, {})
    return finetune(shop, Checkpoint.from_pretrained(folder / "base"), folder / "nip", FEW_STEPS)


class TestSampleShop:
    """The whole way with the recipe for shops."""

    def test_is_a_model_that_gained(self, tuned):
        tuning = tuned.record["finetuning"]
        assert (tuning["every_place"], tuning["known_texts"], tuning["train_products"]) == (True, True, True)
        assert 0 < tuning["step"] <= STEPS
        steps = [line["step"] for line in metrics_of(tuned.folder) if "loss" in line]
        assert steps == list(range(1, STEPS + 1))

    def test_learned_more_of_the_products_it_knows_than_where_they_start(self, tuned, shop):
        base = Checkpoint.from_pretrained(tuned.folder.parent / "base")
        tokenized = TokenizedCorpus.of(shop, base.tokenizer)
        questions = Questions.of(Task.NIP, tokenized, agreed_split(base, tokenized, FEW_STEPS)[0])
        start = objective_of(shop, base, questions, FEW_STEPS)[0].interaction_encoder.known
        known = tuned.model.interaction_encoder.known
        assert torch.equal(known.keys, start.keys)
        moved = (known.vectors - start.vectors).norm(dim=1) / start.vectors.norm(dim=1).mean()
        assert moved.mean() > 0.01

    def test_answers_the_next_product(self, tuned, shop):
        embedder = Embedder.from_pretrained(tuned.folder, device="cpu")
        viewed = [Product(title) for title in shop.products["title"].head(2)]
        session = Session((*(Interaction(Action.VIEW, product=one) for one in viewed),))
        scores = embedder.embed_products(shop.products) @ embedder.embed_sessions([session])[0]
        assert np.isfinite(scores).all()
        assert scores.std() > 1e-3

    def test_reads_a_product_text_never_seen_by_its_words_alone(self, tuned, shop):
        seen = shop.products.head(20)
        new = seen.with_columns(title=pl.col("title") + " another")
        deaf = Checkpoint.from_pretrained(tuned.folder)
        deaf.model.interaction_encoder.known = None
        both, words = (Embedder(one, device="cpu") for one in (tuned, deaf))
        assert np.array_equal(both.embed_products(new), words.embed_products(new))
        told_more = np.abs(both.embed_products(seen) - words.embed_products(seen)).max(axis=1) > 1e-5
        assert told_more.mean() > 0.5, "what was seen in training has a vector beside its words"


class TestHeads:
    @pytest.mark.parametrize("config", [PIP, RLP], ids=["pip", "rlp"])
    def test_leaves_a_model_with_a_head(self, tune, out, base, config, read):
        checkpoint = tune(replace(config, max_steps=24))
        assert sorted(file.name for file in out.iterdir()) == FILES
        assert (checkpoint.model.config.task, checkpoint.model.config.product_tower) == (config.task, None)
        assert checkpoint.model.head is not None
        assert np.abs(read(checkpoint)[1] - read(base)[1]).max() > 1e-4
        assert Predictor.from_pretrained(out, device="cpu").task is config.task

    def test_pip_knows_the_share_of_purchases_in_training(self, tune, tokenized):
        questions = Questions.of(Task.PIP, tokenized, Split.choose(tokenized, holdout=0.5), least=1)
        shares = [questions.drawn(np.random.default_rng(seed)).targets.mean() for seed in range(20)]
        assert float(tune(PIP).model.head.purchase_share) == pytest.approx(np.mean(shares), abs=1e-6)
        assert 0 < np.mean(shares) < 1

    def test_rlp_knows_the_mean_and_the_spread_of_lengths(self, tune, tokenized):
        questions = Questions.of(Task.RLP, tokenized, Split.choose(tokenized, holdout=0.5), least=1)
        lengths = np.concatenate([questions.drawn(np.random.default_rng(seed)).targets for seed in range(50)])
        head = tune(RLP).model.head
        assert float(head.mean) == pytest.approx(lengths.mean(), abs=0.5)
        assert float(head.spread) == pytest.approx(lengths.std(), abs=0.5)


@pytest.mark.parametrize("config", [NIP, BOTH, PIP, RLP], ids=["nip", "both", "pip", "rlp"])
class TestOnlySessionEncoder:
    def test_leaves_the_interaction_encoder_as_it_is(self, tune, base, config):
        checkpoint = tune(replace(config, only_session_encoder=True, max_steps=60))
        assert equal(weights_of(checkpoint, "interaction_encoder."), weights_of(base, "interaction_encoder."))
        gained = checkpoint.record["finetuning"]["step"] > 0
        assert gained or config is PIP, "sixty steps on vectors of a random encoder are too few for PIP"
        assert gained != equal(weights_of(checkpoint, "session_encoder."), weights_of(base, "session_encoder."))

    def test_else_it_is_trained(self, tune, base, config):
        checkpoint = tune(replace(config, max_steps=60))
        assert not equal(weights_of(checkpoint, "interaction_encoder."), weights_of(base, "interaction_encoder."))

    def test_asks_the_same_as_reading_the_texts(self, corpus, tokenized, base, config):
        questions = Questions.of(config.task, tokenized, Split.choose(tokenized, holdout=0.5), **config.questions)
        asked = questions.validation(most=100, seed=0)
        losses = []
        for cached in (False, True):
            everything = {"negatives": 0} if config.task is Task.NIP else {}
            one = replace(config, only_session_encoder=cached, **everything)
            _, objective = objective_of(corpus, base, questions, one)
            losses.append(objective.eval().loss(asked, np.random.default_rng(0)).item())
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


class TestRecord:
    def test_tells_how_it_came_about(self, tune, base, tokenized, out):
        record = tune().record
        assert json.loads((out / "training.json").read_text()) == record
        tuning = record["finetuning"]
        assert (tuning["task"], tuning["learning_rate"], tuning["batch"]) == ("nip", 1e-2, 8)
        looks = {line["step"]: line for line in metrics_of(out) if "validation_loss" in line}
        assert list(looks) == [0, 2, 4, 6, 7]
        best = looks[tuning["step"]]
        assert tuning["validation_hit_at_10"] == best["validation_hit_at_10"]
        assert tuning["validation_hit_at_10"] == max(look["validation_hit_at_10"] for look in looks.values())
        assert tuning["validation_loss"] == best["validation_loss"]
        assert record["initial_model"] == base.model_id
        assert record["pretraining"] == {"seed": 7}, "what pre-training wrote is kept"
        assert record["split"] == {"kind": "session", "holdout": 0.5}
        assert record["corpus"] == tokenized.fingerprint()

    @pytest.mark.parametrize("config", [PIP, RLP], ids=["pip", "rlp"])
    def test_of_a_head_tells_of_the_least_loss(self, tune, out, config):
        tuning = tune(config).record["finetuning"]
        looks = {line["step"]: line["validation_loss"] for line in metrics_of(out) if "validation_loss" in line}
        assert tuning["validation_loss"] == looks[tuning["step"]] == min(looks.values())
        assert "validation_hit_at_10" not in tuning

    def test_holds_the_leak_report(self, tune, tokenized):
        leaks = tune(PIP).record["leaks"]
        parts = Split.choose(tokenized, holdout=0.5).parts(tokenized)
        assert leaks["training"] == len(parts.training)
        assert leaks["test"] == len(parts.test.sessions)
        assert (leaks["split"], leaks["pretrained"]) == ("session", "unknown")

    def test_the_model_that_was_given_is_as_it_was(self, tune, base):
        before = {name: value.clone() for name, value in base.model.state_dict().items()}
        tune()
        assert equal(before, base.model.state_dict())
        assert (base.model.config.task, base.model_id) == (None, model_id_of(base.folder))


class TestRepeatability:
    @pytest.mark.parametrize("config", [replace(NIP, negatives=4), PIP], ids=["nip", "pip"])
    def test_the_same_seed_makes_the_same_model_and_another_another(self, tune, tmp_path, config):
        first = tune(config, out=tmp_path / "first")
        torch.rand(7)
        np.random.default_rng().random(7)
        second = tune(config, out=tmp_path / "second")
        other = tune(replace(config, seed=1), out=tmp_path / "other")
        assert first.model_id == second.model_id != other.model_id
        assert without_times(metrics_of(tmp_path / "first")) == without_times(metrics_of(tmp_path / "second"))


@pytest.fixture(scope="module")
def whole(corpus, base, tmp_path_factory):
    """A run without a cut: its model id and its metrics."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    checkpoint = finetune(corpus, base, folder, NIP)
    assert checkpoint.record["finetuning"]["step"] > 0, "a run that gains nothing would be no test"
    return checkpoint.model_id, without_times(metrics_of(folder))


class TestResume:
    @pytest.mark.parametrize("step", [1, 2, 3, 6, 7])
    def test_ends_as_if_it_had_never_been_cut(self, tune, out, whole, step):
        with pytest.raises(Cut):
            tune(progress=cut_at(step))
        assert not out.exists()
        assert tune(resume=True).model_id == whole[0]
        assert without_times(metrics_of(out)) == whole[1]
        assert not out.with_name("model.training").exists()

    def test_can_be_cut_more_than_once(self, tune, whole):
        with pytest.raises(Cut):
            tune(progress=cut_at(3))
        for step in (4, 5, 7):
            with pytest.raises(Cut):
                tune(progress=cut_at(step), resume=True)
        assert tune(resume=True).model_id == whole[0]

    @pytest.mark.parametrize(("module", "name"), [(finetuning, "save_checkpoint"), (outputs, "_replace_folder")])
    def test_trained_to_the_end_but_not_written(self, tune, out, whole, monkeypatch, module, name):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, die)
            with pytest.raises(Cut):
                tune()
        taken = []
        found = tune(resume=True, progress=lambda what, *_: taken.append(what))
        assert found.model_id == whole[0]
        assert without_times(metrics_of(out)) == whole[1]
        assert "fine-tuning, nip" not in taken

    @pytest.fixture
    def cut_off(self, tune):
        with pytest.raises(Cut):
            tune(progress=cut_at(3))

    @pytest.mark.usefixtures("cut_off")
    @pytest.mark.parametrize(
        ("change", "name"), [({"learning_rate": 2e-3}, "learning_rate"), ({"seed": 1}, "seed"), ({"batch": 4}, "batch")]
    )
    def test_with_other_settings_is_refused(self, tune, change, name):
        with pytest.raises(Conflict, match=f"cannot resume .* {name} was"):
            tune(replace(NIP, **change), resume=True)

    @pytest.mark.usefixtures("cut_off")
    def test_with_another_model_or_other_data_is_refused(self, tune, base, corpus):
        with pytest.raises(Conflict, match="initial_model was"):
            tune(base=replace(base, model_id="0" * 16), resume=True)
        with pytest.raises(Conflict, match="corpus was"):
            tune(corpus=Corpus(corpus.products, corpus.interactions[:-1]), resume=True)

    @pytest.mark.usefixtures("cut_off")
    def test_an_unfinished_run_is_not_run_over(self, tune, whole, monkeypatch):
        with monkeypatch.context() as before_any_work:
            before_any_work.setattr(finetuning, "objective_of", die)
            with pytest.raises(Conflict, match="unfinished run"):
                tune()
        assert tune(overwrite=True).model_id == whole[0]

    def test_there_must_be_something_to_resume(self, tune, out, monkeypatch):
        monkeypatch.setattr(finetuning, "objective_of", die)
        with pytest.raises(NotFound, match="nothing to resume"):
            tune(resume=True)
        assert not out.exists()


class TestRefused:
    def test_a_taken_place_before_any_work(self, tune, out):
        out.mkdir()
        (out / "precious").touch()
        with pytest.raises(Conflict, match="exists already"):
            tune()
        assert not out.with_name("model.training").exists()

    @pytest.mark.parametrize("config", [NIP, PIP, RLP], ids=["nip", "pip", "rlp"])
    def test_a_loss_that_is_not_finite_leaves_no_model(self, tune, out, config):
        problem = (
            r"the loss of step \d is not finite; the step was not taken .* lower --learning-rate and .* --overwrite"
        )
        with pytest.raises(QualityGateFailed, match=problem):
            tune(replace(config, learning_rate=1e30))
        assert not out.exists()
        assert tune(config, overwrite=True).folder == out, "what the message advises"

    def test_frozen_products_want_a_model_that_reads_them(self, tune, base, tmp_path):
        tuned = tune(PIP, out=tmp_path / "pip")
        with pytest.raises(InvalidData, match=r"config\.json.* fine-tuned for pip, not for nip"):
            tune(base=tuned, out=tmp_path / "nip")
        with pytest.raises(ValueError, match="copied from its folder, and this model has none"):
            tune(base=replace(base, folder=None))
        assert [path.name for path in tmp_path.iterdir()] == ["pip"]

    def test_a_product_tower_that_changed_meanwhile(self, tune, base, tokenizer, stir, tmp_path, out):
        (tmp_path / "base").mkdir()
        copy_checkpoint(base.folder, tmp_path / "base")
        moved = Checkpoint.from_pretrained(tmp_path / "base")
        stir(changed := Checkpoint.from_pretrained(tmp_path / "base").model)
        save_checkpoint(tmp_path / "base", changed, tokenizer, {})
        with pytest.raises(Conflict, match="base changed since it was opened"):
            tune(base=moved)
        assert not out.exists()

    @pytest.mark.parametrize(
        ("config", "problem"),
        [
            (replace(NIP, least_count=1000), "questions of nip to train on"),
            (replace(PIP, least=50), "questions of pip to train on"),
            (replace(RLP, split="leave-one-out"), "rlp needs a split by time or by session"),
            (replace(NIP, split="time"), "needs a timestamp in every session"),
        ],
    )
    def test_a_corpus_that_cannot_pose_the_task(self, tune, out, config, problem):
        with pytest.raises(InvalidData, match=problem):
            tune(config)
        assert not out.exists()
        assert not out.with_name("model.training").exists()


class TestAgreedSplit:
    TRAINED = Split(kind=SplitKind.SESSION, holdout=0.3)
    ASKED = replace(NIP, holdout=None)

    @pytest.fixture
    def trained(self, base, tokenized):
        """The model as pre-training leaves it, on this corpus with this split."""
        record = {"corpus": tokenized.fingerprint(), "split": self.TRAINED.to_dict()}
        return lambda **changes: replace(base, record=record | changes)

    @pytest.mark.parametrize("kind", ["auto", "session"])
    @pytest.mark.parametrize("holdout", [None, 0.3])
    def test_on_the_same_corpus_is_the_model_s(self, trained, tokenized, kind, holdout):
        asked = replace(NIP, split=kind, holdout=holdout)
        assert agreed_split(trained(), tokenized, asked) == (self.TRAINED, "yes")

    @pytest.mark.parametrize("kind", ["time", "leave-one-out"])
    def test_of_another_kind_is_refused(self, trained, tokenized, kind):
        with pytest.raises(
            Conflict, match=r"a split by session that holds out 0\.3; with another, sessions that it has"
        ):
            agreed_split(trained(), tokenized, replace(self.ASKED, split=kind))

    @pytest.mark.parametrize("holdout", [0.1, 0.5])
    def test_of_another_size_is_refused(self, trained, tokenized, holdout):
        with pytest.raises(Conflict, match=r"a split by session that holds out 0\.3; with another"):
            agreed_split(trained(), tokenized, replace(NIP, holdout=holdout))

    def test_a_new_one_holds_out_a_tenth_where_nothing_is_said(self, base, tokenized):
        assert agreed_split(base, tokenized, self.ASKED)[0] == Split.choose(tokenized, holdout=0.1)

    def test_on_another_corpus_is_a_new_one_and_flagged(self, trained, tokenized):
        split, pretrained = agreed_split(trained(corpus="another"), tokenized, NIP)
        assert (split, pretrained) == (Split.choose(tokenized, holdout=0.5), "another corpus")

    def test_of_a_record_that_says_nothing_is_a_new_one_and_flagged(self, base, tokenized):
        split, pretrained = agreed_split(base, tokenized, NIP)
        assert (split, pretrained) == (Split.choose(tokenized, holdout=0.5), "unknown")

    @pytest.mark.parametrize("kind", ["session", "leave-one-out"])
    def test_of_a_model_that_saw_every_session_is_a_new_one_and_flagged(self, trained, tokenized, kind):
        everything = trained(split={"kind": "session", "holdout": 0.0})
        split, pretrained = agreed_split(everything, tokenized, replace(NIP, split=kind))
        assert (split, pretrained) == (Split.choose(tokenized, holdout=0.5, kind=kind), "it saw every session")

    def test_a_tuned_model_still_tells_what_pre_training_saw(self, tune, trained, tokenized):
        tuned = tune(base=trained(split={"kind": "session", "holdout": 0.0}))
        split, pretrained = agreed_split(tuned, tokenized, self.ASKED)
        assert (split, pretrained) == (Split.choose(tokenized, holdout=0.5), "it saw every session")
        assert tune(self.ASKED, base=trained(), overwrite=True).record["leaks"]["pretrained"] == "yes"

    def test_stands_in_the_record(self, tune, trained):
        record = tune(self.ASKED, base=trained()).record
        assert record["split"] == self.TRAINED.to_dict()
        assert record["leaks"]["pretrained"] == "yes"

    def test_by_time_where_there_are_times(self, tune, corpus):
        number = pl.col("session_id").str.slice(1).cast(pl.Int64)
        timestamp = (pl.datetime(2024, 5, 1) + pl.duration(days=number)).alias("timestamp")
        timed = Corpus(corpus.products, corpus.interactions.with_columns(timestamp))
        assert tune(corpus=timed).record["split"] == {
            "kind": "time",
            "holdout": 0.5,
            "validation_from": "2024-05-31T00:00:00",
            "test_from": "2024-06-15T00:00:00",
        }


class TestLearning:
    """Worlds whose right answer is known."""

    @pytest.fixture
    def learn(self, out, fresh, tokenizer, tmp_path):
        """Fine-tune a fresh model; the corpus as that model reads it, and the model."""

        def learn(corpus, task, made=None, **settings):
            (tmp_path / "fresh").mkdir()
            save_checkpoint(tmp_path / "fresh", fresh(dropout=0.0, **(made or {})), tokenizer, {})
            sizes = {"batch": 32, "learning_rate": 1e-2, "validation_steps": 20, "holdout": 0.3}
            config = FinetuningConfig(task=task, precision="float32", **(sizes | settings))
            checkpoint = finetune(corpus, Checkpoint.from_pretrained(tmp_path / "fresh"), out, config)
            return TokenizedCorpus.of(corpus, tokenizer), checkpoint

        return learn

    def judged(self, task, corpus, checkpoint):
        """The test part's answers and the model's."""
        split = Split.from_dict(checkpoint.record["split"])
        examples = Questions.of(task, corpus, split).test(most=1000, seed=0)
        predictor = Predictor.of(checkpoint, device="cpu")
        return examples.targets, predictor.predict_table(corpus.texts, examples.prefixes)

    @pytest.mark.parametrize(
        "settings",
        [{}, {"only_session_encoder": True, "max_steps": 300, "learning_rate": 2e-2}, {"train_products": True}],
        ids=["whole", "session encoder", "products too"],
    )
    def test_nip_which_product_follows_which(self, learn, corpus_of, settings):
        rng = np.random.default_rng(0)
        starts = rng.integers(PRODUCTS, size=240)
        corpus = corpus_of([[("view", f"p{(start + place) % PRODUCTS + 1}") for place in range(4)] for start in starts])
        _, checkpoint = learn(corpus, Task.NIP, **({"max_steps": 150} | settings))
        # Guessing among what a session does not hold hits ten of 22 on average, and costs log 22.
        assert checkpoint.record["finetuning"]["validation_hit_at_10"] > 0.95
        assert checkpoint.record["finetuning"]["validation_loss"] < 0.8 * math.log(22)

    def test_nip_at_every_place_at_once(self, learn, corpus_of):
        rng = np.random.default_rng(0)
        starts = rng.integers(PRODUCTS, size=240)
        corpus = corpus_of([[("view", f"p{(start + place) % PRODUCTS + 1}") for place in range(4)] for start in starts])
        settings = {"train_products": True, "every_place": True, "known_texts": True, "max_steps": 80}
        _, checkpoint = learn(corpus, Task.NIP, made={"causal": True, "mean_of_tokens": True}, **settings)
        assert checkpoint.record["finetuning"]["validation_hit_at_10"] > 0.95
        assert checkpoint.record["finetuning"]["validation_loss"] < 0.8 * math.log(22)

    def test_pip_who_adds_to_the_cart_buys(self, learn, corpus_of):
        rng = np.random.default_rng(1)
        sessions = []
        for number in range(160):
            viewed = [("view", f"p{row + 1}") for row in rng.integers(8, size=7)]
            if number % 4 == 0:
                place = rng.integers(5)
                viewed[place] = ("add", viewed[place][1])
                viewed[-1] = ("buy", viewed[place][1])
            sessions.append(viewed)
        corpus, checkpoint = learn(corpus_of(sessions), Task.PIP, max_steps=80)
        bought, found = self.judged(Task.PIP, corpus, checkpoint)
        assert np.mean(found[bought][:, None] > found[~bought]) > 0.9
        assert np.mean((found > checkpoint.model.head.threshold) == bought) > 0.9
        assert found.mean() == pytest.approx(bought.mean(), abs=0.15)

    def test_rlp_the_product_in_view_tells_what_is_left(self, learn, corpus_of):
        rng = np.random.default_rng(2)
        lengths = rng.integers(6, 13, size=160)
        corpus = corpus_of(
            [[("view", f"p{left}") for left in np.arange(length, 0, -1).clip(max=8)] for length in lengths]
        )
        corpus, checkpoint = learn(corpus, Task.RLP, max_steps=60)
        left, found = self.judged(Task.RLP, corpus, checkpoint)
        assert 1 - np.mean((found - left) ** 2) / left.var() > 0.5
