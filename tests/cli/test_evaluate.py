"""`ubm-embed evaluate` on a corpus that grew after training, with a model whose vocabulary knows no test session."""

import json

import polars as pl
import pytest

from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.text.tokenizer import InteractionTokenizer

# The letters of search phrases; no product has a digit like these.
DIGITS = "٠١٢٣٤٥٦٧٨٩"
TINY = (
    *("--layers", 1, "--width", 16, "--session-layers", 1, "--vocab-size", 256),
    *("--item-batch", 8, "--session-batch", 8, "--max-steps", 1, "--holdout", 0.4, "--split", "session"),
)


def corpus_of(products, sessions):
    """Each of these sessions searches for its own number, twice, and views four products."""
    rows = []
    for name, number in sessions.items():
        phrase = DIGITS[number] * 3
        rows += [(name, place, "search", None, phrase) for place in (0, 1)]
        rows += [(name, 2 + place, "view", f"p{1 + (number + place) % 8}", None) for place in range(4)]
    names = {"session_id": pl.String, "position": pl.Int32, "action": pl.String, "product_id": pl.String}
    return Corpus(products, pl.DataFrame(rows, schema=names | {"query": pl.String}, orient="row"))


@pytest.fixture(scope="module")
def sessions():
    """Ten kinds of search phrase; which of them are in the test part, the ids decide."""
    split = Split.from_dict({"kind": "session", "holdout": 0.4})
    names = [f"s{number}" for number in range(60)]
    corpus = Corpus(pl.DataFrame(), pl.DataFrame({"session_id": names}))
    part = dict(zip(names, split.membership(corpus.session_times()), strict=True))
    return {
        name: {"training": index % 5, "validation": 5 + index % 2, "test": 7 + index % 3}[part[name]]
        for index, name in enumerate(names)
    }


@pytest.fixture
def model(ubm, products, sessions, tmp_path):
    corpus_of(products, sessions).write(tmp_path / "corpus")
    done = ubm("pretrain", "--corpus", tmp_path / "corpus", "--out", tmp_path / "model", *TINY)
    assert done.code == 0, done.err
    return tmp_path / "model"


def test_the_vocabulary_is_learned_without_the_phrases_of_sessions_that_are_held_out(model):
    tokens = set(InteractionTokenizer.from_pretrained(model).tokens(range(256)))
    letters = {digit for digit in DIGITS if {digit, f"##{digit}", digit * 3} & tokens}
    assert letters == set(DIGITS[:5])


def test_a_corpus_with_new_sessions_and_products_is_evaluated(ubm, model, products, sessions, tmp_path):
    new_product = products.head(1).with_columns(product_id=pl.lit("p9"), title=pl.lit("green hat"))
    corpus = corpus_of(pl.concat([products, new_product]), sessions | {f"n{number}": 9 for number in range(7)})
    corpus.write(tmp_path / "later")
    before = ubm("evaluate", "nip", "--model", model, "--corpus", tmp_path / "corpus", "--format", "json")
    after = ubm("evaluate", "nip", "--model", model, "--corpus", tmp_path / "later", "--format", "json")
    assert (before.code, after.code) == (0, 0), after.err
    old, new = json.loads(before.out), json.loads(after.out)
    assert new["examples"] == old["examples"] + 7
    assert old["corpus"]["is_training_corpus"]
    assert new["corpus"] == {
        "is_training_corpus": False,
        "rule": "sessions whose ids training has not read",
        "known_sessions": 60,
        "new_sessions": 7,
        "new_products": 1,
    }
    assert "sessions known to training: 60, new sessions: 7, new products: 1" in after.err


def test_a_corpus_of_sessions_that_training_has_read_is_refused(ubm, model, products, sessions, tmp_path):
    corpus_of(products, {name: number for name, number in sessions.items() if number < 5}).write(tmp_path / "read")
    done = ubm("evaluate", "nip", "--model", model, "--corpus", tmp_path / "read")
    assert done.code == 3
    assert "no session is left to test on" in done.err
    assert not done.out


def test_a_model_that_is_trained_further_remembers_what_it_has_read(ubm, model, products, sessions, tmp_path):
    corpus_of(products, {f"n{number}": 1 for number in range(30)}).write(tmp_path / "more")
    arguments = ("--corpus", tmp_path / "more", "--out", tmp_path / "further", "--init", model, "--max-steps", 1)
    done = ubm("pretrain", *arguments, "--item-batch", 8, "--session-batch", 8)
    assert done.code == 0, done.err
    read = corpus_of(products, {name: number for name, number in sessions.items() if number < 5})
    read.write(tmp_path / "read")
    done = ubm("evaluate", "nip", "--model", tmp_path / "further", "--corpus", tmp_path / "read")
    assert done.code == 3
    assert "no session is left to test on" in done.err
