"""An evaluation tests a model on the test part of its split, which no baseline has counted."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.split import Split, held_out
from ubm_embed.data.tasks.task import SplitKind, Task
from ubm_embed.data.text.tokenizer import InteractionTokenizer, attribute_names, training_texts
from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.evaluation import evaluation
from ubm_embed.evaluation.next_item import ranks_of
from ubm_embed.evaluation.task_metrics import purchase_metrics
from ubm_embed.inference.predictor import Predictor
from ubm_embed.model.checkpoint import Checkpoint

HOLDOUT = 0.3
SPLIT = Split(kind=SplitKind.SESSION, holdout=HOLDOUT)
NAMES = [f"s{number}" for number in range(80)]
TEST = held_out(np.array(NAMES, dtype=object), HOLDOUT / 2)
VALIDATION = held_out(np.array(NAMES, dtype=object), HOLDOUT) & ~TEST
TRAINING = ~(TEST | VALIDATION)
PARTS = np.where(TEST, "test", np.where(VALIDATION, "validation", "training")).tolist()


WITHOUT = "UBM without counts"
BASELINES = ("co-occurrence", "recent co-occurrence", "directional counting", "VMIS-kNN", "POP")
ROUNDS = {Task.NIP: 20, Task.PIP: 5, Task.RLP: 10}


def evaluate(task, *args, **settings):
    """With few resamples."""
    return evaluation.evaluate(task, *args, rounds=ROUNDS[task], **settings)


def corpus_of(products, sessions):
    """Sessions by their name, each a list of product ids, viewed, or of pairs with another action."""
    rows = [
        (name, place, *(("view", what) if isinstance(what, str) else what))
        for name, session in sessions.items()
        for place, what in enumerate(session)
    ]
    frame = pl.DataFrame(rows, schema=["session_id", "position", "action", "product_id"], orient="row")
    return Corpus(products, frame.with_columns(query=pl.lit(None, pl.String)))


@pytest.fixture
def corpus(products):
    """Two training sessions show that p4 follows p3; that it follows p1 too only a leak would show.

    Of the validation part p3 is the answer, so that a target shows which part it is from.
    """
    first = np.flatnonzero(TRAINING)[:2]
    sessions = {"training": ["p1", "p2"], "validation": ["p1", "p3"], "test": ["p1", "p4"]}
    named = {name: sessions[part] for name, part in zip(NAMES, PARTS, strict=True)}
    return corpus_of(products, named | {NAMES[index]: ["p3", "p4"] for index in first})


@pytest.fixture
def long_corpus(products):
    """Sessions of eight interactions, of which one in two ends with a purchase and the others with three views more."""
    ends = [[("buy", "p8")], ["p1", "p2", "p3"]]
    start = ["p1", "p2", "p3", "p4", "p5", "p6", "p7"]
    return corpus_of(products, {name: start + ends[number % 2] for number, name in enumerate(NAMES)})


@pytest.fixture
def checkpoint(model, tokenizer):
    """A maker of models as training records them, for a task where one is named."""

    def make(corpus, task=None, split=SPLIT, **record):
        record = {
            "corpus": TokenizedCorpus.from_corpus(corpus, tokenizer).fingerprint(),
            "split": split.to_dict(),
        } | record
        made = model if task is None else model.fine_tuned(task=task).eval()
        return Checkpoint(made, tokenizer, "toy", record)

    return make


@pytest.fixture
def examples_by_name(monkeypatch):
    """The examples of next item prediction that each model was given."""
    given = {}

    def spy(scorer, examples, *rest, name, **settings):
        given[name] = examples
        return ranks_of(scorer, examples, *rest, name=name, **settings)

    monkeypatch.setattr(evaluation, "ranks_of", spy)
    return given


def by_name(result):
    return {row.name: row for row in result.rows}


class TestNextItem:
    def test_all_models_get_the_examples_of_the_test_part(self, corpus, checkpoint, examples_by_name):
        result = evaluate(Task.NIP, corpus, checkpoint(corpus))
        assert result.examples == TEST.sum() != VALIDATION.sum()
        assert examples_by_name.keys() == {"UBM", WITHOUT, *BASELINES}
        for examples in examples_by_name.values():
            assert examples.targets.tolist() == [3] * int(TEST.sum())
            assert examples.prefixes.rows.tolist() == [0] * int(TEST.sum())

    def test_baselines_do_not_count_the_test_part(self, corpus, checkpoint):
        rows = by_name(evaluate(Task.NIP, corpus, checkpoint(corpus)))
        # Of eight products one is seen, and p4 scores 0 beside p1 like the rest: the last place, which is the seventh.
        assert rows["co-occurrence"].metrics["mrr@10"] == pytest.approx(1 / 7)
        # Behind p2, and level with p3, that two training sessions hold like p4.
        assert rows["POP"].metrics["mrr@10"] == pytest.approx(1 / 3)

    def test_co_occurrence_counts_the_training_part(self, products, checkpoint):
        pairs = [["p1", "p2"], ["p3", "p4"]]
        corpus = corpus_of(products, {name: pairs[number % 2] for number, name in enumerate(NAMES)})
        rows = by_name(evaluate(Task.NIP, corpus, checkpoint(corpus)))
        assert rows["co-occurrence"].metrics["mrr@10"] == 1.0
        assert rows["POP"].metrics["mrr@10"] < 1.0
        counts = {pair[1]: sum(TRAINING[number::2]) for number, pair in enumerate(pairs)}
        assert [band.min_count for band in rows["UBM"].bands] == [20], counts
        assert rows["UBM"].bands[0].examples == TEST.sum()

    def test_products_that_training_never_saw_are_not_targets(self, products, checkpoint):
        pairs = {"training": ["p1", "p2"], "validation": ["p1", "p2"], "test": ["p1", "p5"]}
        corpus = corpus_of(products, {name: pairs[part] for name, part in zip(NAMES, PARTS, strict=True)})
        with pytest.raises(InvalidData, match="nip to test with"):
            evaluate(Task.NIP, corpus, checkpoint(corpus))

    def test_products_that_a_session_holds_only_with_repeats(self, products, checkpoint, examples_by_name):
        corpus = corpus_of(products, {name: ["p1", "p2", "p1"] for name in NAMES})
        evaluate(Task.NIP, corpus, checkpoint(corpus))
        assert set(examples_by_name["UBM"].targets.tolist()) == {1}
        evaluate(Task.NIP, corpus, checkpoint(corpus), repeats=True, seed=1)
        assert set(examples_by_name["UBM"].targets.tolist()) == {0, 1}

    def test_examples_are_limited_and_drawn_repeatably(self, corpus, checkpoint):
        result = evaluate(Task.NIP, corpus, checkpoint(corpus), max_examples=5, seed=3)
        assert result.examples == 5
        assert evaluate(Task.NIP, corpus, checkpoint(corpus), max_examples=5, seed=3) == result

    def test_progress_is_reported(self, corpus, checkpoint):
        steps = []
        evaluate(Task.NIP, corpus, checkpoint(corpus), progress=lambda what, *rest: steps.append(what))
        assert set(steps) == {"embedding products", *(f"scoring {name}" for name in ("UBM", WITHOUT, *BASELINES))}


class TestOtherTasks:
    def test_purchases_are_predicted_by_the_head_and_by_chance(self, long_corpus, checkpoint, tokenizer):
        model = checkpoint(long_corpus, Task.PIP)
        model.model.head.purchase_share.fill_(0.25)
        model.model.head.layers[-1].bias.data.fill_(0.5)
        result = evaluate(Task.PIP, long_corpus, model)
        assert [row.name for row in result.rows] == ["UBM", "RAND", "logistic regression on counts", "trees on counts"]
        assert result.examples == TEST.sum()
        assert result.rows[0].metrics.keys() == {"accuracy", "auroc", "f1", "kappa"}
        tokenized = TokenizedCorpus.from_corpus(long_corpus, tokenizer)
        examples = TaskDataset.from_split(Task.PIP, tokenized, SPLIT).test(max_examples=100, seed=0)
        probabilities = Predictor.from_checkpoint(model, device="cpu").predict_table(tokenized.texts, examples.prefixes)
        assert ((probabilities > 0.25) & (probabilities < 0.5)).any(), "for one half would do as well"
        assert result.rows[0].metrics == pytest.approx(purchase_metrics(examples.targets, probabilities, 0.25))

    def test_lengths_are_predicted_by_the_head_and_by_the_mean(self, long_corpus, checkpoint):
        result = evaluate(Task.RLP, long_corpus, checkpoint(long_corpus, Task.RLP))
        assert [row.name for row in result.rows] == ["UBM", "FIXED", "trees on counts"]
        assert result.rows[0].metrics.keys() == {"mae", "mse", "msle", "r2"}
        assert result.rows[1].metrics["r2"] <= 0, "a constant explains nothing"

    def test_a_corpus_without_purchases_cannot_pose_the_task(self, products, checkpoint):
        corpus = corpus_of(products, {name: ["p1", "p2", "p3", "p4", "p5", "p6"] for name in NAMES})
        with pytest.raises(InvalidData, match=r"to test with .*purchase"):
            evaluate(Task.PIP, corpus, checkpoint(corpus, Task.PIP))


class TestAgainst:
    def test_another_model_comes_second_with_p_values(self, corpus, checkpoint, stir):
        model = checkpoint(corpus)
        other = checkpoint(corpus, Task.NIP)
        stir(other.model)
        result = evaluate(Task.NIP, corpus, model, against=other)
        assert [row.name for row in result.rows] == [
            *("UBM", "the other model", WITHOUT, "the other model without counts", *BASELINES)
        ]
        assert result.rows[0].p_values is None
        assert all(row.p_values.keys() == row.metrics.keys() for row in result.rows[1:])
        assert result.rows[0] == evaluate(Task.NIP, corpus, model).rows[0]

    def test_a_model_does_not_differ_from_itself(self, corpus, checkpoint):
        model = checkpoint(corpus)
        ours, theirs, *_ = evaluate(Task.NIP, corpus, model, against=model).rows
        assert theirs.metrics == ours.metrics
        assert set(theirs.p_values.values()) == {1.0}

    def test_the_other_vocabulary_may_be_another(self, corpus, checkpoint, tokenizer, products):
        texts = [*training_texts(products, ["red shoes"])] * 2
        smaller = InteractionTokenizer.train(texts, attribute_names(products), vocab_size=tokenizer.vocab_size - 20)
        assert smaller.vocab_size < tokenizer.vocab_size
        record = {"corpus": TokenizedCorpus.from_corpus(corpus, smaller).fingerprint(), "split": SPLIT.to_dict()}
        other = replace(checkpoint(corpus, Task.NIP), tokenizer=smaller, record=record)
        result = evaluate(Task.NIP, corpus, checkpoint(corpus), against=other)
        assert result.rows[1].name == "the other model"

    def test_models_of_different_splits_are_not_compared(self, corpus, checkpoint):
        other = checkpoint(corpus, split=replace(SPLIT, holdout=0.2))
        with pytest.raises(Conflict, match=r"different splits.*0\.3.*0\.2"):
            evaluate(Task.NIP, corpus, checkpoint(corpus), against=other)

    def test_a_model_for_another_task_is_refused(self, corpus, checkpoint):
        with pytest.raises(InvalidData, match="fine-tuned for rlp, not for nip"):
            evaluate(Task.NIP, corpus, checkpoint(corpus), against=checkpoint(corpus, Task.RLP))


class TestRefusals:
    def test_a_record_without_a_split(self, corpus, checkpoint, tmp_path):
        model = checkpoint(corpus)
        record = {name: value for name, value in model.record.items() if name != "split"}
        problem = r"training\.json, field 'split': the record names no split: which sessions .* is not known"
        with pytest.raises(InvalidData, match=problem):
            evaluate(Task.NIP, corpus, replace(model, record=record, folder=tmp_path))

    def test_a_model_that_was_trained_on_every_session(self, corpus, checkpoint):
        model = checkpoint(corpus, split=replace(SPLIT, holdout=0.0))
        with pytest.raises(InvalidData, match=r"trained on every session.*--holdout"):
            evaluate(Task.NIP, corpus, model)

    @pytest.mark.parametrize("task", [Task.PIP, Task.RLP])
    def test_the_error_for_a_missing_head_says_how_to_get_one(self, long_corpus, checkpoint, task):
        with pytest.raises(InvalidData, match=f"no head for {task}: fine-tune one with `ubm-embed finetune {task}`"):
            evaluate(task, long_corpus, checkpoint(long_corpus))

    def test_a_model_for_another_task(self, long_corpus, checkpoint):
        with pytest.raises(InvalidData, match="fine-tuned for pip, not for nip"):
            evaluate(Task.NIP, long_corpus, checkpoint(long_corpus, Task.PIP))


def test_an_evaluation_for_json(corpus, checkpoint):
    result = evaluate(Task.NIP, corpus, checkpoint(corpus))
    document = json.loads(json.dumps(result.to_dict()))
    assert document.keys() == {"task", "model_id", "against", "examples", "split", "corpus", "leaks", "rows"}
    assert (document["model_id"], document["against"]) == (result.model_id, None) == ("toy", None)
    assert (document["task"], document["examples"]) == ("nip", TEST.sum())
    assert document["split"] == {"kind": "session", "holdout": HOLDOUT}
    assert document["leaks"]["test"] == TEST.sum()
    assert document["leaks"]["pretraining_respects_split"] is True
    assert document["rows"] == [row.to_dict() for row in result.rows]


def test_a_problem_of_pre_training_is_reported(corpus, checkpoint):
    model = checkpoint(corpus, leaks={"pretraining_problem": "another corpus"})
    assert evaluate(Task.NIP, corpus, model).leaks.pretraining_problem == "another corpus"


def test_the_first_problem_of_either_pre_training_is_reported(corpus, checkpoint):
    seen, other = (
        checkpoint(corpus, leaks={"pretraining_problem": problem}) for problem in ("it saw every session", "unknown")
    )
    clean = checkpoint(corpus)
    for model, against, problem in (
        (clean, seen, "it saw every session"),
        (seen, other, "it saw every session"),
        (clean, clean, None),
    ):
        result = evaluate(Task.NIP, corpus, model, against=replace(against, model_id="other"))
        assert result.leaks.pretraining_problem == problem
        assert result.to_dict()["against"] == result.against == "other"


def test_settings_are_those_of_fine_tuning_unless_given(
    products, long_corpus, checkpoint, examples_by_name, monkeypatch
):
    corpus = corpus_of(products, {name: ["p1", "p2", "p1"] for name in NAMES})
    tuned = checkpoint(corpus, Task.NIP, finetuning={"repeats": True, "min_interactions": 5})
    evaluate(Task.NIP, corpus, tuned)
    assert set(examples_by_name["UBM"].targets.tolist()) == {0, 1}
    evaluate(Task.NIP, corpus, tuned, repeats=False)
    assert set(examples_by_name["UBM"].targets.tolist()) == {1}
    used, from_parts = [], TaskDataset.from_parts
    monkeypatch.setattr(TaskDataset, "from_parts", lambda *given, **now: used.append(now) or from_parts(*given, **now))
    tuned = checkpoint(long_corpus, Task.RLP, finetuning={"repeats": False, "min_interactions": 3})
    before_1_0 = checkpoint(long_corpus, Task.RLP, finetuning={"repeats": False, "least": 4})
    evaluate(Task.RLP, long_corpus, tuned)
    evaluate(Task.RLP, long_corpus, tuned, min_interactions=2)
    evaluate(Task.RLP, long_corpus, before_1_0)
    evaluate(Task.RLP, long_corpus, checkpoint(long_corpus, Task.RLP))
    assert [settings.get("min_interactions") for settings in used] == [3, 2, 4, None]


def test_too_few_examples_for_an_interval(corpus, checkpoint, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("most resamples are of one class")

    monkeypatch.setattr(evaluation.MetricSummary, "from_predictions", refuse)
    with pytest.raises(InvalidData, match=r"\d+ examples of nip are too few for an interval: most resamples"):
        evaluate(Task.NIP, corpus, checkpoint(corpus))
