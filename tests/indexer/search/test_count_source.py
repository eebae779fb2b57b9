"""Candidates from counts: which products of a session count, and what answers and reasons make of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from indexer.revisions.revised_counts import Candidates, RevisedCounts
from indexer.search.count_source import CountSource
from indexer.search.ranking import Rules
from indexer.search.resolution import Step
from indexer.search.retriever import Retriever
from tests.indexer.search.toy_requests import ids, search, session, view
from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.data.session import Action, Interaction

WEIGHTS = CountWeights(decay=0.5, max_recent=3, by_seen=(0.0, 1.0))


class Recorded:
    """Counts in which one product follows all others, and that remember what was asked."""

    weights = WEIGHTS

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], list[float]]] = []

    def candidates(self, recent: np.ndarray, weights: np.ndarray) -> Candidates:
        self.asked.append((recent.tolist(), weights.tolist()))
        return Candidates(np.array([7, 9]), np.array([weights.sum()] * 2, np.float32), np.array([1, 0], np.uint8))

    def parts(self, recent: np.ndarray, weights: np.ndarray, position: int) -> tuple[np.ndarray, int]:
        return weights, 1


def step(action: Action, position: int | None) -> Step:
    one = Interaction(action, query="red") if position is None else Interaction(action, product_id=f"p{position}")
    return Step(one, position)


@pytest.mark.parametrize(
    ("steps", "asked"),
    [
        ([(Action.VIEW, 4)], ([4], [1.0])),
        ([(Action.VIEW, 4), (Action.SEARCH, None), (Action.ADD, 4)], ([4, 4], [0.5, 1.0])),
        ([(Action.VIEW, row) for row in range(6)], ([3, 4, 5], [0.25, 0.5, 1.0])),
        ([(Action.VIEW, 1), (Action.ADD, 2), (Action.REMOVE, 2)], ([1], [1.0])),
    ],
)
def test_the_last_products_count(steps: list[tuple[Action, int | None]], asked: tuple[list[int], list[float]]) -> None:
    counts = Recorded()
    bonuses = CountSource(cast(RevisedCounts, counts)).bonuses([step(*one) for one in steps])
    assert counts.asked == [asked]
    assert bonuses.positions.tolist() == [7], "the other has no weight"
    assert bonuses.values.tolist() == pytest.approx([np.log1p(sum(asked[1]))])


def test_a_session_of_searches_has_no_bonuses() -> None:
    assert not len(CountSource(cast(RevisedCounts, Recorded())).bonuses([step(Action.SEARCH, None)]))


def test_a_part_is_what_the_bonus_would_lose() -> None:
    steps = [step(Action.VIEW, 1), step(Action.SEARCH, None), step(Action.VIEW, 2)]
    parts = CountSource(cast(RevisedCounts, Recorded())).parts(steps, [7])
    assert parts[0].tolist() == pytest.approx([np.log1p(1.5) - np.log1p(1), 0, np.log1p(1.5) - np.log1p(0.5)])


class TestAnswers:
    """Of the toy shop: after p3 shoppers went on to p5 and p2."""

    @pytest.fixture
    def retriever(self, store: Path) -> Iterator[Retriever]:
        with Retriever.open(store, device="cpu") as opened:
            yield opened

    def scores(self, retriever: Retriever, *interactions: Interaction, counts: bool) -> dict[str, float]:
        answer = retriever.recommend(session(*interactions), 8, Rules(counts=counts, exclude_seen=False))
        return {match.product_id: match.score or 0 for match in answer.matches}

    def test_what_followed_scores_higher_and_all_else_as_before(self, retriever: Retriever) -> None:
        with_counts = self.scores(retriever, view("p3"), counts=True)
        without = self.scores(retriever, view("p3"), counts=False)
        raised = {name for name, score in with_counts.items() if score > without[name] + 1e-6}
        assert raised >= {"p2", "p5"}
        assert {name: with_counts[name] for name in without if name not in raised} == pytest.approx(
            {name: without[name] for name in without if name not in raised}, abs=1e-6
        )

    def test_a_reason_says_how_much_counts_have_added(self, retriever: Retriever) -> None:
        added = {
            name: score - self.scores(retriever, view("p3"), counts=False)[name]
            for name, score in self.scores(retriever, view("p3"), counts=True).items()
        }
        for match in retriever.recommend(session(view("p3")), explain=True).matches:
            (reason,) = match.reasons or ()
            assert reason.product_id == "p3"
            assert reason.counts == pytest.approx(added[match.product_id], abs=1e-5)
            assert reason.effect == pytest.approx(match.score or 0, abs=1e-5), "nothing is left without it"

    def test_rules_hold_for_what_counts_name(self, retriever: Retriever) -> None:
        rules = Rules(exclude=frozenset({"p5"}), where="product_id <> 'p2'")
        assert not {"p2", "p3", "p5"} & {*ids(retriever.recommend(session(view("p3")), 8, rules))}

    def test_a_retriever_may_be_opened_without(self, retriever: Retriever, store: Path) -> None:
        with Retriever.open(store, device="cpu", embedder=retriever.embedder, counts=False) as without:
            expected = self.scores(retriever, view("p3"), counts=False)
            assert self.scores(without, view("p3"), counts=True) == pytest.approx(expected, abs=1e-6)

    def test_a_lookup_is_about_the_text_alone(self, retriever: Retriever, store: Path) -> None:
        with Retriever.open(store, device="cpu", embedder=retriever.embedder, counts=False) as without:
            assert ids(retriever.lookup_id("p3", 8)) == ids(without.lookup_id("p3", 8))

    def test_searches_alone_are_answered_by_vectors_and_words(self, retriever: Retriever) -> None:
        query = search("red shoes")
        assert self.scores(retriever, query, counts=True) == self.scores(retriever, query, counts=False)
