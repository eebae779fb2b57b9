"""Sessions and products of a training are recognised by id: none that it has read passes for new."""

import numpy as np
import polars as pl
import pytest

from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import SplitKind
from ubm_embed.data.tasks.training_ids import TRAINING_IDS_FILE, TrainingIds
from ubm_embed.errors import InvalidData

NAMES = [f"s{number}" for number in range(200)]
BY_SESSION = Split(kind=SplitKind.SESSION, holdout=0.4)


@pytest.fixture
def corpus(products):
    frame = pl.DataFrame({"session_id": NAMES, "product_id": "p1", "action": "view", "position": 0})
    return Corpus(products, frame.with_columns(query=pl.lit(None, pl.String)))


@pytest.fixture
def ids_of(corpus, tokenizer):
    """The ids of a model that was trained on these sessions with this split."""

    def make(names=NAMES, split=BY_SESSION):
        some = corpus.select_sessions(pl.Series(names))
        return TrainingIds.from_split(some, TokenizedCorpus.from_corpus(some, tokenizer), split)

    return make


def test_sessions_are_read_but_those_of_the_test_part(ids_of, corpus):
    part = BY_SESSION.membership(corpus.session_times())
    ids = ids_of()
    assert ids.has_read(NAMES).tolist() == (part != "test").tolist()
    assert ids.has_held_out(NAMES).tolist() == (part == "test").tolist()
    assert 0 < ids.has_held_out(NAMES).sum() < len(NAMES)


def test_ids_of_another_corpus_are_new(ids_of):
    ids = ids_of()
    others = [f"other {number}" for number in range(200)]
    assert not ids.has_read(others).any()
    assert not ids.has_held_out(others).any()
    assert ids.has_product(["p1", "p8", "p9"]).tolist() == [True, True, False]


def test_a_leave_one_out_split_reads_every_session(ids_of):
    assert ids_of(split=Split(kind=SplitKind.LEAVE_ONE_OUT, holdout=0.1)).has_read(NAMES).all()


def test_go_through_a_file_of_four_bytes_an_id(ids_of, tmp_path):
    ids = ids_of()
    ids.save(tmp_path)
    again = TrainingIds.load(tmp_path)
    for name, array in vars(ids).items():
        assert np.array_equal(getattr(again, name), array)
    assert (tmp_path / TRAINING_IDS_FILE).stat().st_size < 4 * (len(NAMES) + 8) + 400, "a header beside the ids"


def test_a_session_that_either_training_has_read_is_read(ids_of):
    first, second = ids_of(NAMES[:100]), ids_of(NAMES[50:], Split(kind=SplitKind.SESSION, holdout=0.0))
    for both in (first.union(second), second.union(first)):
        read = both.has_read(NAMES)
        assert read.tolist() == (first.has_read(NAMES) | second.has_read(NAMES)).tolist()
        assert both.has_held_out(NAMES).tolist() == (~read).tolist()


def test_a_model_folder_without_the_file_has_none(tmp_path):
    assert TrainingIds.load(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"not safetensors"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / TRAINING_IDS_FILE).write_bytes(content)
    with pytest.raises(InvalidData, match=f"{TRAINING_IDS_FILE}: not the ids of a training corpus"):
        TrainingIds.load(tmp_path)
