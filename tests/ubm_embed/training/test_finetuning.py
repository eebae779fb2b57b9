"""Fine-tuning learns each task, keeps its best weights, repeats itself, and goes on where it was cut off."""

import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from ubm_embed import outputs
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.questions import Questions
from ubm_embed.data.session_table import SessionTable
from ubm_embed.data.split import Split, SplitKind
from ubm_embed.data.tasks import Examples, Task
from ubm_embed.data.tokenized_corpus import TokenizedCorpus
from ubm_embed.embedder import Embedder
from ubm_embed.errors import Conflict, InvalidData, NotFound, QualityGateFailed
from ubm_embed.model.checkpoint import PRODUCT_TOWER, Checkpoint, copy_checkpoint, model_id_of, save_checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.predictor import Predictor
from ubm_embed.training import finetuning
from ubm_embed.training.finetuner import Finetuner
from ubm_embed.training.finetuning import agreed_split, finetune, objective_of
from ubm_embed.training.finetuning_config import FinetuningConfig
from ubm_embed.training.run import TrainingRun
from ubm_embed.training.schedule import learning_rate

SETTINGS = {
    "batch": 8,
    "max_steps": 7,
    "learning_rate": 1e-2,
    "validation_steps": 2,
    "holdout": 0.5,
    "precision": "float32",
}
NIP = FinetuningConfig(task=Task.NIP, per_session=2, least_count=1, **SETTINGS)
BOTH = replace(NIP, train_products=True, learning_rate=3e-3)
PIP, RLP = (FinetuningConfig(task=task, least=1, **SETTINGS) for task in (Task.PIP, Task.RLP))


class Cut(Exception):  # noqa: N818 - it stands for a kill
    pass


def cut_at(step):
    """A progress under which the run dies once this step is taken."""

    def progress(what, done, total, note=""):
        if what.startswith("fine-tuning") and done == step:
            raise Cut

    return progress


def die(*_):
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

    def loss(self, examples, rng):
        if not self.training:
            return (self.weight - self.best) ** 2
        self.taken += 1
        return self.spoil(self.weight) if self.taken == self.spoiled_at else -self.weight


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
        assert (best.step, best.validation_loss, best.looks) == (0, 1.0, 10)
        assert slope.weight.item() == 0.0
        assert not slope.training

    @pytest.mark.parametrize("step", [1, 4, 10])
    def test_keeps_the_weights_of_the_least_validation_loss(self, step):
        slope = Slope(best=self.weight_after(step))
        best = self.tuner(slope).train()
        assert (best.step, best.looks) == (step, 10 - step)
        assert best.validation_loss == pytest.approx(0.0, abs=1e-8)
        assert slope.weight.item() == pytest.approx(self.weight_after(step), abs=1e-5)

    def test_of_equal_looks_the_first_is_best(self):
        slope = Slope(best=0.0)
        step = slope.loss
        slope.loss = lambda *asked: step(*asked) if slope.training else torch.tensor(0.25)
        best = self.tuner(slope).train()
        assert slope.taken == 10
        assert (best.step, best.validation_loss, best.looks, slope.weight.item()) == (0, 0.25, 10, 0.0)

    @pytest.mark.parametrize(("patience", "last"), [(1, 3), (3, 5), (8, 10), (None, 10)])
    def test_patience_counts_looks_without_a_new_best(self, patience, last):
        slope, taken = Slope(best=self.weight_after(2)), []
        best = self.tuner(slope, progress=lambda what, done, *_: taken.append(done), patience=patience).train()
        assert taken == list(range(1, last + 1))
        assert best.step == 2

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


@pytest.fixture(scope="module")
def corpus(corpus_of):
    """Sixty sessions in which a few steps of training gain something for each task."""
    rng = np.random.default_rng(5)
    sessions = []
    for number in range(60):
        # Products follow each other in a ring, and only short sessions begin with p1.
        length = int(rng.integers(3, 9))
        start = 0 if length < 5 else int(rng.integers(1, 8))
        session = [("view", f"p{(start + place) % 8 + 1}") for place in range(length)]
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
    torch.manual_seed(0)
    sizes = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 1}
    model = UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size, **sizes)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.1 * torch.randn_like(weights)
    folder = tmp_path_factory.mktemp("base") / "model"
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
        checkpoint = tune(replace(config, max_steps=24))
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
        looks = {line["step"]: line["validation_loss"] for line in metrics_of(out) if "validation_loss" in line}
        assert list(looks) == [0, 2, 4, 6, 7]
        assert tuning["validation_loss"] == looks[tuning["step"]] == min(looks.values())
        assert record["initial_model"] == base.model_id
        assert record["pretraining"] == {"seed": 7}, "what pre-training wrote is kept"
        assert record["split"] == {"kind": "session", "holdout": 0.5}
        assert record["corpus"] == tokenized.fingerprint()

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
    def test_an_unfinished_run_is_not_run_over(self, tune, whole):
        with pytest.raises(Conflict, match="unfinished run"):
            tune()
        assert tune(overwrite=True).model_id == whole[0]

    def test_there_must_be_something_to_resume(self, tune, out):
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

        def learn(corpus, task, **settings):
            (tmp_path / "fresh").mkdir()
            save_checkpoint(tmp_path / "fresh", fresh(dropout=0.0), tokenizer, {})
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
        [{}, {"only_session_encoder": True, "max_steps": 150, "learning_rate": 2e-2}, {"train_products": True}],
        ids=["whole", "session encoder", "products too"],
    )
    def test_nip_which_product_follows_which(self, learn, corpus_of, settings):
        rng = np.random.default_rng(0)
        starts = rng.integers(8, size=120)
        corpus = corpus_of([[("view", f"p{(start + place) % 8 + 1}") for place in range(4)] for start in starts])
        _, checkpoint = learn(corpus, Task.NIP, **({"max_steps": 80} | settings))
        # Guessing among what a session does not hold costs log 6 on average.
        assert checkpoint.record["finetuning"]["validation_loss"] < 0.7 * math.log(6)

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
