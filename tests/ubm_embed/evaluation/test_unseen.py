"""A model is tested on a later corpus with what training has not read of it, and the report says how that is known."""

import datetime
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import SplitKind, Task
from ubm_embed.data.tasks.training_ids import TrainingIds
from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.evaluation.evaluation import evaluate
from ubm_embed.evaluation.unseen import UnseenPart
from ubm_embed.model.checkpoint import Checkpoint

OLD = [f"s{number}" for number in range(60)]
NEW = [f"n{number}" for number in range(20)]
BY_SESSION = Split(kind=SplitKind.SESSION, holdout=0.4)
LEAVE_ONE_OUT = Split(kind=SplitKind.LEAVE_ONE_OUT, holdout=0.1)
NIGHT = datetime.datetime(2026, 3, 1)


def corpus_of(products, names, *, session=("p1", "p2", "p3", "p4"), hours=None):
    """Sessions of these names that all view the same products; they begin an hour apart where `hours` says when."""
    rows = [(name, place, product) for name in names for place, product in enumerate(session)]
    frame = pl.DataFrame(rows, schema=["session_id", "position", "product_id"], orient="row")
    if hours is not None:
        start = pl.col("session_id").replace_strict(dict(zip(names, hours, strict=True)), return_dtype=pl.Int64)
        frame = frame.with_columns(timestamp=pl.lit(NIGHT) + pl.duration(hours=start, minutes=pl.col("position")))
    return Corpus(products, frame.with_columns(action=pl.lit("view"), query=pl.lit(None, pl.String)))


@pytest.fixture
def trained(model, tokenizer, tmp_path):
    """A maker of models with the record of a training on `corpus`, and with its ids or without."""

    def make(corpus, split, *, ids=True):
        tokenized = TokenizedCorpus.from_corpus(corpus, tokenizer)
        record = {"corpus": tokenized.fingerprint(), "split": split.to_dict()}
        folder = tmp_path / f"model {len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        if ids:
            TrainingIds.from_split(corpus, tokenized, split).save(folder)
        return Checkpoint(model, tokenizer, "toy", record, folder=folder)

    return make


@pytest.fixture
def unseen(tokenizer):
    def make(checkpoint, corpus):
        return UnseenPart.from_checkpoint(checkpoint, corpus, TokenizedCorpus.from_corpus(corpus, tokenizer))

    return make


def names_of_test_part(unseen, names):
    return {name for name, part in zip(names, unseen.membership, strict=True) if part == "test"}


def held_out(split, names):
    ids = np.array(names, dtype=object)
    times = type("Times", (), {"session_ids": ids, "starts": None})
    return {name for name, part in zip(names, split.membership(times), strict=True) if part == "test"}


def test_a_corpus_with_one_appended_session_is_evaluated(products, trained):
    corpus = corpus_of(products, OLD)
    checkpoint = trained(corpus, BY_SESSION)
    before = evaluate(Task.NIP, corpus, checkpoint, rounds=5)
    after = evaluate(Task.NIP, corpus_of(products, [*OLD, "n0"]), checkpoint, rounds=5)
    assert after.examples == before.examples + 1
    assert (after.corpus.known_sessions, after.corpus.new_sessions, after.corpus.new_products) == (60, 1, 0)
    document = json.loads(json.dumps(after.to_dict()))["corpus"]
    assert document == {
        "is_training_corpus": False,
        "rule": "sessions whose ids training has not read",
        "known_sessions": 60,
        "new_sessions": 1,
        "new_products": 0,
    }
    assert before.corpus.is_training_corpus


class TestBySession:
    def test_sessions_that_training_had_not_and_those_it_held_out(self, products, trained, unseen):
        checkpoint = trained(corpus_of(products, OLD), BY_SESSION)
        names = [*NEW, *OLD]
        later = unseen(checkpoint, corpus_of(products, names))
        assert names_of_test_part(later, names) == {*NEW, *held_out(BY_SESSION, OLD)}
        assert len(later.parts.test.sessions) == len(NEW) + len(held_out(BY_SESSION, OLD))

    def test_without_ids_those_that_hash_into_the_test_part(self, products, trained, unseen):
        checkpoint = trained(corpus_of(products, OLD), BY_SESSION, ids=False)
        names = [*NEW, *OLD]
        later = unseen(checkpoint, corpus_of(products, names))
        assert names_of_test_part(later, names) == held_out(BY_SESSION, names)
        assert later.overlap.new_sessions is None
        assert "how much of it training has seen is not known" in str(later.overlap)

    def test_a_session_that_any_training_of_the_model_has_read_is_never_tested(self, products, trained, unseen):
        corpus = corpus_of(products, OLD)
        checkpoint = trained(corpus, BY_SESSION)
        pretraining = trained(corpus_of(products, NEW[:10]), replace(BY_SESSION, holdout=0.0))
        ids = TrainingIds.load(checkpoint.folder).union(TrainingIds.load(pretraining.folder))
        ids.save(checkpoint.folder)
        later = unseen(checkpoint, corpus_of(products, NEW))
        assert names_of_test_part(later, NEW) == set(NEW[10:])

    def test_nothing_left_says_why(self, products, trained, unseen):
        checkpoint = trained(corpus_of(products, OLD), BY_SESSION)
        read = sorted(set(OLD) - held_out(BY_SESSION, OLD))
        problem = "no session is left to test on: .* known to training: \\d+, new sessions: 0, new products: 0"
        with pytest.raises(InvalidData, match=problem):
            unseen(checkpoint, corpus_of(products, read))


class TestByTime:
    def test_sessions_after_the_recorded_cut(self, products, trained, unseen):
        corpus = corpus_of(products, OLD, hours=range(60))
        split = Split.choose(corpus.session_times(), holdout=0.2)
        assert split.kind is SplitKind.TIME
        checkpoint = trained(corpus, split)
        names = [*OLD[50:], *NEW]
        # Half of the new ones begin while training's sessions did: a log that came late.
        later = unseen(checkpoint, corpus_of(products, names, hours=[*range(50, 60), *range(10), *range(60, 70)]))
        assert names_of_test_part(later, names) == {*OLD[54:], *NEW[10:]}
        assert (later.overlap.known_sessions, later.overlap.new_sessions) == (10, 20)
        assert later.overlap.rule == "sessions that begin at 2026-03-03T06:00:00 or later, as in training's own split"

    def test_no_ids_are_needed(self, products, trained, unseen):
        corpus = corpus_of(products, OLD, hours=range(60))
        checkpoint = trained(corpus, Split.choose(corpus.session_times(), holdout=0.2), ids=False)
        assert names_of_test_part(unseen(checkpoint, corpus_of(products, NEW, hours=range(45, 65))), NEW) == set(
            NEW[9:]
        )

    def test_a_corpus_without_timestamps_goes_by_ids(self, products, trained, unseen):
        corpus = corpus_of(products, OLD, hours=range(60))
        split = Split.choose(corpus.session_times(), holdout=0.2)
        names, later = [*OLD, *NEW], corpus_of(products, [*OLD, *NEW])
        assert names_of_test_part(unseen(trained(corpus, split), later), names) == {*OLD[54:], *NEW}
        with pytest.raises(InvalidData, match=r"field 'timestamp': .* needs a timestamp in every session"):
            unseen(trained(corpus, split, ids=False), later)


class TestOtherSplits:
    def test_leave_one_out_tests_last_interactions(self, products, trained, unseen):
        checkpoint = trained(corpus_of(products, OLD), LEAVE_ONE_OUT)
        later = unseen(checkpoint, corpus_of(products, [*OLD, *NEW], session=["p1", "p2", "p3", "p4", "p5"]))
        assert later.membership is None
        assert set(later.parts.test.first.tolist()) == {4}
        assert len(later.parts.test.sessions) == 80
        assert later.overlap.new_sessions == 20

    @pytest.mark.parametrize("kind", [SplitKind.SESSION, SplitKind.TIME, SplitKind.LEAVE_ONE_OUT])
    def test_without_a_holdout_new_sessions_alone(self, products, trained, unseen, kind):
        split = Split(kind=kind, holdout=0.0)
        names, later = [*OLD, *NEW], corpus_of(products, [*OLD, *NEW])
        checkpoint = trained(corpus_of(products, OLD), split)
        assert names_of_test_part(unseen(checkpoint, later), names) == set(NEW)
        with pytest.raises(InvalidData, match="has no record of their ids: which of these it has read is not known"):
            unseen(trained(corpus_of(products, OLD), split, ids=False), later)


class TestProducts:
    def test_new_ones_are_candidates_and_targets_like_any_other(self, products, trained):
        old = corpus_of(products.head(6), OLD)
        checkpoint = trained(old, BY_SESSION)
        result = evaluate(Task.NIP, corpus_of(products, NEW, session=("p1", "p8")), checkpoint, rounds=5)
        assert result.corpus.new_products == 2
        assert result.examples == len(NEW)
        assert [row.name for row in result.rows] == ["UBM"], "no session that a baseline could count"
        assert [band.label for band in result.rows[0].bands] == ["0"]
        assert result.leaks.training == 0
        assert result.leaks.repeated_sessions is None, "sessions that are not there cannot be compared with"
        assert result.leaks.shared_users is None
        assert "is not known" in str(result.leaks)

    def test_baselines_count_the_sessions_that_training_may_have_read(self, products, trained):
        checkpoint = trained(corpus_of(products, OLD), BY_SESSION)
        result = evaluate(Task.NIP, corpus_of(products, [*OLD, *NEW]), checkpoint, rounds=5)
        counting = ["co-occurrence", "recent co-occurrence", "directional counting", "VMIS-kNN", "POP"]
        assert [row.name for row in result.rows] == ["UBM", "UBM without counts", *counting]
        assert result.leaks.training + result.leaks.validation == len(OLD) - len(held_out(BY_SESSION, OLD))


class TestTwoModels:
    def test_are_tested_on_what_neither_has_read(self, products, trained):
        first, second = trained(corpus_of(products, OLD), BY_SESSION), trained(corpus_of(products, NEW), BY_SESSION)
        third = [f"t{number}" for number in range(15)]
        corpus = corpus_of(products, [*OLD, *NEW, *third])
        result = evaluate(Task.NIP, corpus, first, against=second, rounds=5)
        assert result.examples == len(held_out(BY_SESSION, OLD)) + len(held_out(BY_SESSION, NEW)) + 15

    def test_of_different_splits_are_not_compared(self, products, trained):
        first = trained(corpus_of(products, OLD), BY_SESSION)
        second = trained(corpus_of(products, OLD), replace(BY_SESSION, holdout=0.2))
        with pytest.raises(Conflict, match="different splits"):
            evaluate(Task.NIP, corpus_of(products, NEW), first, against=second)


def test_a_record_without_a_fingerprint_goes_by_its_rule(products, trained, unseen):
    corpus = corpus_of(products, OLD)
    checkpoint = trained(corpus, BY_SESSION)
    record = {"split": BY_SESSION.to_dict()}
    assert names_of_test_part(unseen(replace(checkpoint, record=record), corpus), OLD) == held_out(BY_SESSION, OLD)
