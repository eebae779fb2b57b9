"""Sessions that training has read are left out where that is known; where it is not, the sample says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from indexer.diagnostics.session_sample import MIN_UNSEEN, SessionSample
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import SplitKind
from ubm_embed.data.tasks.training_ids import TrainingIds
from ubm_embed.model.folder import ModelFolder

BY_SESSION = Split(kind=SplitKind.SESSION, holdout=0.5)
LEAVE_ONE_OUT = Split(kind=SplitKind.LEAVE_ONE_OUT, holdout=0.1)


def corpus_of(products, sessions: dict[str, list[str]]) -> Corpus:
    rows = [(name, place, product) for name, held in sessions.items() for place, product in enumerate(held)]
    frame = pl.DataFrame(rows, schema=["session_id", "position", "product_id"], orient="row")
    return Corpus(products, frame.with_columns(action=pl.lit("view"), query=pl.lit(None, pl.String)))


@pytest.fixture
def corpus(products):
    return corpus_of(products, {f"s{number}": ["p1", "p2", f"p{3 + number % 5}"] for number in range(200)})


@pytest.fixture
def trained(model_folder, tokenizer, tmp_path: Path):
    """A maker of model folders with the record of a training on a corpus."""

    def make(corpus: Corpus, split: Split, *, ids: bool = True) -> ModelFolder:
        tokenized = TokenizedCorpus.from_corpus(corpus, tokenizer)
        file = model_folder / "training.json"
        record = json.loads(file.read_text()) | {"corpus": tokenized.fingerprint(), "split": split.to_dict()}
        file.write_text(json.dumps(record))
        if ids:
            TrainingIds.from_split(corpus, tokenized, split).save(model_folder)
        return ModelFolder.open(model_folder)

    return make


def session_ids(sample: SessionSample) -> set[str]:
    return set(sample.corpus.interactions["session_id"])


@pytest.mark.parametrize("ids", [True, False])
def test_only_the_test_part_is_drawn_from(corpus, trained, ids):
    sample = SessionSample.draw(corpus, 1000, 0, trained(corpus, BY_SESSION, ids=ids))
    times = corpus.session_times()
    test = {name for name, part in zip(times.session_ids, BY_SESSION.membership(times), strict=True) if part == "test"}
    assert session_ids(sample) == test
    assert sample.unseen
    # Counted are the sessions that training may have read.
    assert sample.counted == 200 - len(test)
    assert dict(sample.counts.select("product_id", "sessions").iter_rows())["p1"] == sample.counted


def test_of_a_later_corpus_new_sessions_are_drawn(corpus, trained, products):
    model = trained(corpus, BY_SESSION)
    later = corpus_of(products, {f"n{number}": ["p1", "p4"] for number in range(60)})
    both = Corpus(products, pl.concat([corpus.interactions, later.interactions]))
    sample = SessionSample.draw(both, 1000, 0, model)
    assert {f"n{number}" for number in range(60)} <= session_ids(sample)
    assert sample.unseen


def test_of_a_leave_one_out_split_sessions_end_with_a_new_product(trained, products):
    sessions = {f"s{number}": ["p1", "p2", "p3"] if number % 2 else ["p1", "p2", "p1"] for number in range(100)}
    corpus = corpus_of(products, sessions)
    sample = SessionSample.draw(corpus, 1000, 0, trained(corpus, LEAVE_ONE_OUT))
    assert session_ids(sample) == {f"s{number}" for number in range(1, 100, 2)}
    assert sample.unseen


class TestWithoutKnowledge:
    def test_all_sessions_are_drawn_from(self, corpus):
        sample = SessionSample.draw(corpus, 1000, 0)
        assert len(session_ids(sample)) == 200
        assert not sample.unseen
        assert "not known" in sample.rule

    def test_a_record_without_a_split_is_no_error(self, corpus, model_folder):
        sample = SessionSample.draw(corpus, 50, 0, ModelFolder.open(model_folder))
        assert not sample.unseen
        assert "names no split" in sample.rule

    def test_too_few_unseen_sessions_are_not_enough(self, corpus, trained):
        everything = replace(BY_SESSION, holdout=0.0)
        sample = SessionSample.draw(corpus, 50, 0, trained(corpus, everything))
        assert not sample.unseen
        assert "only 0 sessions" in sample.rule
        assert MIN_UNSEEN > 0


def test_a_sample_repeats_by_its_seed_and_holds_the_products_of_its_sessions(corpus):
    first, again, other = (SessionSample.draw(corpus, 20, seed) for seed in (1, 1, 2))
    assert session_ids(first) == session_ids(again) != session_ids(other)
    assert len(session_ids(first)) == 20
    assert set(first.corpus.products["product_id"]) == set(first.corpus.interactions["product_id"])
    assert first.counted == 180
    assert first.total == 200


def test_short_sessions_are_left_out(products):
    corpus = corpus_of(products, {"one": ["p1"], "two": ["p1", "p2"], "three": ["p1", "p2", "p3"]})
    assert session_ids(SessionSample.draw(corpus, 10, 0)) == {"two", "three"}
    assert session_ids(SessionSample.draw(corpus, 10, 0, min_interactions=3)) == {"three"}
