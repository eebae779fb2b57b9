"""Questions of a log, what an answer to them is worth, which sessions are asked, and the table."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.baselines.text_search import best, fused_scores, tfidf_scores
from benchmarks.quality.lookup_by_intent import RIVALS, UBM, Questions, part_of, rows, table
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.sample_shop import write_sample_shop


def log(*sessions: list[str]) -> pl.DataFrame:
    """Words are searches, "p1" and the like products."""
    steps = [(f"s{number}", at, step) for number, steps in enumerate(sessions) for at, step in enumerate(steps)]
    frame = pl.DataFrame(steps, ["session_id", "position", "step"], orient="row")
    is_product = pl.col("step").str.contains(r"^p\d$")
    return frame.select(
        "session_id",
        "position",
        product_id=pl.when(is_product).then("step"),
        query=pl.when(~is_product).then("step"),
    ).reverse()


def test_sessions_that_begin_with_a_search_and_go_on_are_asked() -> None:
    questions = Questions.from_sessions(
        log(["red shoes", "p1", "p2", "p1"], ["p3", "hats"], ["hats"], ["a", "b", "p4"])
    )
    assert questions.phrases == ["red shoes", "a"]
    assert questions.wanted == [{"p1", "p2"}, {"p4"}]


def test_an_answer_is_worth_what_it_holds_of_the_products() -> None:
    questions = Questions(["a", "b", "c"], [frozenset({"p1", "p2"}), frozenset({"p3"}), frozenset({"p4"})])
    measured = questions.measured([["p9", "p2"], ["p3"], ["p1"]])
    second = (1 / math.log2(3)) / (1 + 1 / math.log2(3))
    assert measured.tolist() == [[1.0, pytest.approx(second)], [1.0, 1.0], [0.0, 0.0]]


@given(st.lists(st.lists(st.integers(0, 4), min_size=5, max_size=5), min_size=2, max_size=3))
def test_scores_are_fused_by_rank(scores: list[list[int]]) -> None:
    fused = fused_scores([np.array([row], np.float32) for row in scores])[0]
    for product in range(5):
        ranks = [sorted(range(5), key=lambda at: (-row[at], at)).index(product) + 1 for row in scores]
        assert fused[product] == pytest.approx(sum(1 / (60 + rank) for rank in ranks))


def test_tf_idf_finds_the_text_with_the_rarest_word() -> None:
    scores = tfidf_scores(["red shoes", "red hat", "blue shoes"], ["red hat", "nothing"])
    assert best(scores, 2).tolist() == [[1, 0], [0, 1]]


def test_parts_of_a_corpus_share_no_session(tmp_path: Path) -> None:
    write_sample_shop(tmp_path / "corpus", products=50, sessions=60, seed=1)
    corpus = Corpus.open(tmp_path / "corpus")
    parts = [set(part_of(corpus, 0.5, name)["session_id"]) for name in ("training", "validation", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == corpus.sessions
    assert all(parts)


def test_a_table_has_intervals_and_gains_over_the_rivals() -> None:
    ones, halves = np.ones((8, 2)), np.tile([[1.0, 1.0], [0.0, 0.0]], (4, 1))
    kinds = {UBM: ones, "UBM, query": ones, "UBM, without words": halves, RIVALS[0]: halves}
    report = {
        "settings": {"data": "a_shop", "part": "test"},
        "questions": 8,
        "runs": [{}, {}],
        "rows": rows(kinds),
    }
    text = table(report)
    assert text.startswith("a_shop, 8 searches of the test part, 2 seeds\n\n")
    lines = {
        cells[0]: cells
        for line in text.splitlines()
        if len(cells := [c.strip() for c in line.strip("|").split("|")]) > 3
    }
    assert lines[UBM][1:] == ["1.000 (1.000 to 1.000)", "1.000 (1.000 to 1.000)", ""]
    assert lines[RIVALS[0]][1].startswith("0.500 (")
    assert lines[RIVALS[0]][3].startswith("0.500 (")
    assert "p = 0." in lines[RIVALS[0]][3]
