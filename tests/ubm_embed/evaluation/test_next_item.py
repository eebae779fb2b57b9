"""Next item prediction asks the sessions that were held out, and no baseline has seen them."""

import numpy as np
import polars as pl
import pytest

from ubm_embed.data.corpus import Corpus
from ubm_embed.data.session_table import SessionTable
from ubm_embed.data.tasks import NextItemExamples
from ubm_embed.data.tokenized_corpus import held_out
from ubm_embed.embedder import Embedder
from ubm_embed.errors import InvalidData
from ubm_embed.evaluation import next_item
from ubm_embed.evaluation.next_item import NextItemResult, SessionModel, evaluate_next_item, ranks_of
from ubm_embed.model.checkpoint import Checkpoint

HOLDOUT = 0.3
NAMES = [f"s{number}" for number in range(60)]
OUT = held_out(np.array(NAMES, dtype=object), HOLDOUT)


def corpus_of(products, sessions):
    """Sessions by their name, each a list of product ids."""
    rows = [(name, place, "view", what) for name, session in sessions.items() for place, what in enumerate(session)]
    frame = pl.DataFrame(rows, schema=["session_id", "position", "action", "product_id"], orient="row")
    return Corpus(products, frame.with_columns(query=pl.lit(None, pl.String)))


@pytest.fixture
def embedder(model, tokenizer):
    return Embedder(Checkpoint(model, tokenizer, "toy"), device="cpu")


@pytest.fixture
def corpus(products):
    """Training sessions hold p1 and p2 together, held-out ones p3 and p4: what a leak would show."""
    pairs = {True: ["p3", "p4"], False: ["p1", "p2"]}
    return corpus_of(products, {name: pairs[out] for name, out in zip(NAMES, OUT.tolist(), strict=True)})


def by_scorer(results):
    return {result.scorer: result for result in results}


def test_only_held_out_sessions_are_asked(corpus, embedder, monkeypatch):
    asked = []
    real = next_item.next_item_examples

    def spy(sessions, *rest):
        examples = real(sessions, *rest)
        asked.extend(examples.targets.tolist())
        return examples

    monkeypatch.setattr(next_item, "next_item_examples", spy)
    results = evaluate_next_item(corpus, embedder, holdout=HOLDOUT)
    assert {result.questions for result in results} == {int(OUT.sum())}
    assert asked == [3] * int(OUT.sum())


def test_baselines_never_saw_what_is_asked(corpus, embedder):
    results = by_scorer(evaluate_next_item(corpus, embedder, holdout=HOLDOUT))
    assert results.keys() == {"UBM", "co-occurrence", "popularity"}
    # Of eight products one is seen, and p4 scores 0 like the rest: the last place, which is the seventh.
    assert results["co-occurrence"].mrr[10] == results["popularity"].mrr[10] == pytest.approx(1 / 7)


def test_co_occurrence_knows_what_training_sessions_show(products, embedder):
    corpus = corpus_of(products, {name: [["p1", "p2"], ["p3", "p4"]][number % 2] for number, name in enumerate(NAMES)})
    results = by_scorer(evaluate_next_item(corpus, embedder, holdout=HOLDOUT))
    assert results["co-occurrence"].mrr[10] == 1.0
    assert results["popularity"].mrr[10] < 1.0


def test_asks_at_most_so_many_and_the_same_again(corpus, embedder):
    results = evaluate_next_item(corpus, embedder, holdout=HOLDOUT, most=5)
    assert [result.questions for result in results] == [5, 5, 5]
    assert evaluate_next_item(corpus, embedder, holdout=HOLDOUT, most=5) == results


def test_tells_its_progress(corpus, embedder):
    told = []
    evaluate_next_item(corpus, embedder, holdout=HOLDOUT, progress=lambda what, done, total, note="": told.append(what))
    assert set(told) == {"embedding products", "asking UBM", "asking co-occurrence", "asking popularity"}


def test_nothing_to_ask_is_named(products, embedder):
    corpus = corpus_of(products, {name: ["p1", "p1"] for name in NAMES})
    with pytest.raises(InvalidData, match=f"no session with two products among the {OUT.sum()} held out"):
        evaluate_next_item(corpus, embedder, holdout=HOLDOUT)


class Fixed:
    """Scores every question the same; remembers how many it was asked at once."""

    def __init__(self, scores):
        self.row, self.sizes = np.array(scores, dtype=np.float32), []

    def scores(self, prefixes):
        self.sizes.append(len(prefixes))
        return np.tile(self.row, (len(prefixes), 1))


class TestRanksOf:
    PREFIXES = SessionTable(np.ones(3, np.uint8), np.array([0, 1, 0], np.int32), np.array([0, 1, 3]))

    def test_what_a_session_holds_already_is_no_candidate(self):
        examples = NextItemExamples(self.PREFIXES, np.array([2, 2]))
        # Row 0 is better than row 2, row 1 too: the first question has seen one of them, the second both.
        assert ranks_of(Fixed([3.0, 2.0, 1.0]), examples, 3).tolist() == [2, 1]

    def test_asks_in_parts(self, monkeypatch):
        monkeypatch.setattr(next_item, "_QUESTIONS_AT_ONCE", 2)
        prefixes = self.PREFIXES.take(np.array([0, 1, 0, 1, 0]))
        scorer = Fixed([3.0, 2.0, 1.0])
        assert ranks_of(scorer, NextItemExamples(prefixes, np.full(5, 2)), 3).tolist() == [2, 1, 2, 1, 2]
        assert scorer.sizes == [2, 2, 1]


class TestSessionModel:
    def test_a_score_is_the_cosine_of_session_and_product(self, embedder, products, tokenizer):
        texts = tokenizer.product_texts(products)
        sessions = SessionTable(np.array([1, 2, 1], np.uint8), np.array([0, 3, 5], np.int32), np.array([0, 2, 3]))
        scores = SessionModel.of(embedder, products, texts).scores(sessions)
        expected = embedder.embed_tokenized_sessions(texts, sessions.actions, sessions.rows, sessions.lengths)
        assert scores == pytest.approx(expected @ embedder.embed_products(products).T, abs=1e-6)

    def test_a_long_session_is_read_from_its_last_interactions(self, embedder, products, tokenizer):
        texts = tokenizer.product_texts(products)
        rows = np.arange(20, dtype=np.int32) % 8
        sessions = SessionTable(np.ones(20, np.uint8), rows, np.array([0, 20]))
        model = SessionModel.of(embedder, products, texts)
        assert model.scores(sessions) == pytest.approx(model.scores(sessions.last(8)), abs=1e-6)


def test_a_result_for_json():
    result = NextItemResult.of("UBM", np.array([1, 3, 15, 40]))
    assert result.to_dict() == {
        "scorer": "UBM",
        "questions": 4,
        "hit": {"10": 0.5, "20": 0.75},
        "mrr": {"10": 0.3333, "20": 0.35},
    }
