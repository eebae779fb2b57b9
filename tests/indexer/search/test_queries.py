"""Queries of several kinds in one call: each gets the answer that it gets alone, and says what it costs."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.search import answerer
from indexer.search.answer import Answer
from indexer.search.limits import Limits
from indexer.search.query import Query, Timings
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from tests.indexer.search.toy_requests import ids, search, session, view
from ubm_embed.data.arrays import unit_rows
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.errors import InvalidData

NEW = Product("blue leather boots", "shoes")


@pytest.fixture
def retriever(store: Path) -> Retriever:
    return Retriever.open(store, device="cpu")


def inline(product: Product) -> Interaction:
    return Interaction(Action.VIEW, product=product)


def assert_same(answer: Answer, other: Answer) -> None:
    """Equal but for rounding, which depends on what else is read at once."""
    assert ids(answer) == ids(other)
    assert (answer.session_id, answer.fallback, answer.unknown) == (other.session_id, other.fallback, other.unknown)
    for match, same in zip(answer.matches, other.matches, strict=True):
        assert match.score == pytest.approx(same.score, abs=1e-5)
        assert (match.fields, match.title, match.rank) == (same.fields, same.title, same.rank)
        assert [reason.interaction for reason in match.reasons or ()] == [
            reason.interaction for reason in same.reasons or ()
        ]


names = st.sampled_from([f"p{row}" for row in range(1, 9)] + ["x1", "x2"])
interactions = st.one_of(
    st.builds(view, names),
    st.builds(search, st.sampled_from(["red", "blue shirt", "鞋"])),
    st.just(inline(NEW)),
    st.builds(lambda name: Interaction(Action.REMOVE, product_id=name), names),
    st.builds(lambda name: Interaction(Action.ADD, product_id=name), names),
)
rules = st.builds(
    Rules,
    where=st.sampled_from([None, "price > 2", "category = 'shoes'"]),
    exclude_seen=st.booleans(),
    exclude=st.frozensets(names, max_size=3),
    boost=st.dictionaries(names, st.floats(-1, 1), max_size=2),
    diversity=st.sampled_from([0.0, 0.5]),
    max_per=st.sampled_from([{}, {"category": 1}]),
)
queries = st.builds(
    Query,
    st.builds(lambda many: session(*many), st.lists(interactions, max_size=12)),
    st.integers(1, 9),
    rules,
    st.booleans(),
    st.lists(st.one_of(st.builds(view, names), st.just(inline(NEW))), max_size=3).map(tuple),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(queries, max_size=6))
def test_a_query_gets_the_same_answer_alone_and_among_others(retriever: Retriever, many: list[Query]) -> None:
    for query, together in zip(many, retriever.answer(many), strict=True):
        (alone,) = retriever.answer([query])
        assert_same(together, alone)
        assert len(together.matches) <= query.k
        hidden = {one.product_id for one in query.negatives} | query.rules.exclude
        assert hidden.isdisjoint(ids(together))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(queries)
def test_a_few_excluded_ids_cost_no_mask_and_change_nothing(retriever: Retriever, query: Query) -> None:
    (few,) = retriever.answer([query])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answerer, "_MAX_HIDDEN_IDS", 0)
        (many,) = retriever.answer([query])
    assert_same(few, many)


class TestCost:
    def test_queries_with_the_same_rules_are_searched_at_once(
        self, retriever: Retriever, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: dict[str, list[int]] = {"embed_tokens": [], "search": []}
        for owner, name in ((retriever.embedder, "embed_tokens"), (retriever.index, "search")):
            method = getattr(owner, name)

            def counted(many: Any, *rest: Any, name: str = name, method: Any = method) -> Any:
                sizes[name].append(len(many))
                return method(many, *rest)

            monkeypatch.setattr(owner, name, counted)
        same, other = Rules(), Rules(where="price >= 0")
        visits = [session(view(f"p{row}")) for row in range(1, 7)]
        retriever.answer([Query(visit, 3, same if row % 2 else other) for row, visit in enumerate(visits)])
        assert sizes == {"embed_tokens": [6], "search": [3, 3]}

    def test_is_known_before(self, retriever: Retriever) -> None:
        unknown, empty = Query(session(view("x"))), Query(session())
        query = Query(session(view("p1"), search("red"), inline(NEW), view("p1")), negatives=(inline(NEW), view("p2")))
        assert retriever.max_unread(query) == retriever.num_unread(query) == 5
        retriever.answer([query])
        assert retriever.max_unread(query) == retriever.num_unread(query) == 1  # in full, and only a negative
        assert (retriever.max_unread(unknown), retriever.num_unread(unknown)) == (1, 0)
        assert (retriever.max_unread(empty), retriever.num_unread(empty)) == (0, 0)

    def test_is_what_the_model_will_read_whatever_version_read_it_before(self, retriever: Retriever) -> None:
        query = Query(session(view("p1"), search("red")))
        retriever.answer([query])
        parts = (retriever.version, retriever.embedder, retriever.index, retriever.catalogue)
        assert Retriever(*parts).max_unread(query) == 1
        assert Retriever(*parts).num_unread(query) == 0

    def test_counts_only_what_the_model_reads(self, retriever: Retriever) -> None:
        assert retriever.num_unread(Query(session(*(search(f"red {row}") for row in range(20))))) == 8

    def test_a_product_is_tokenised_once_however_many_sessions_hold_it(
        self, retriever: Retriever, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read: list[int] = []
        tokenise = retriever.embedder.tokenise
        monkeypatch.setattr(retriever.embedder, "tokenise", lambda many: (read.append(len(many)), tokenise(many))[1])
        for _ in range(3):
            retriever.answer([Query(session(view("p1"), view("p2"))), Query(session(view("p2")))])
        assert read == [3]

    def test_rules_are_compiled_once(self, retriever: Retriever) -> None:
        rules = Rules(where="price > 2", boost={"p1": 0.1})
        assert retriever.has_compiled(Rules())
        assert retriever.has_compiled(Rules(exclude_seen=False, exclude=frozenset({"p1"}), diversity=0.5))
        assert not retriever.has_compiled(rules)
        retriever.answer([Query(session(view("p1")), rules=rules)])
        assert retriever.has_compiled(rules)

    def test_timings_are_added_up(self, retriever: Retriever) -> None:
        timings = Timings(queue=1.0)
        (first,) = retriever.answer([Query(session(view("p1"), search("red")))], timings)
        parts = {part.name: getattr(timings, part.name) for part in fields(timings) if part.name != "queue"}
        assert timings.queue == 1.0
        assert all(seconds > 0 for seconds in parts.values())
        assert sum(parts.values()) * 1000 == pytest.approx(first.took_ms)


class TestNegatives:
    def test_move_the_session_away(self, retriever: Retriever) -> None:
        visit, negatives = session(view("p1"), search("red")), (view("p3"), inline(NEW))
        by_cosine = Rules(exclude_seen=False, counts=False, words=False)
        (answer,) = retriever.answer([Query(visit, 8, by_cosine, negatives=negatives)])
        positions = retriever.catalogue.find([f"p{row}" for row in range(1, 9)])
        vectors = retriever.index.vectors(np.arange(8))
        mean = (vectors[positions["p3"]] + retriever.embedder.embed_product(NEW)) / 2
        full = Session((inline(retriever.catalogue.products([positions["p1"]])[positions["p1"]]), search("red")))
        moved = unit_rows(retriever.embedder.embed_sessions([full]) - 0.5 * mean)[0]
        expected = {name: float(vectors[row] @ moved) for name, row in positions.items() if name != "p3"}
        assert {match.product_id: match.score for match in answer.matches} == pytest.approx(expected, abs=1e-5)

    def test_never_match(self, retriever: Retriever) -> None:
        for visit in (session(view("p1")), session()):
            (answer,) = retriever.answer([Query(visit, negatives=(view("p3"), inline(Product("x", product_id="p5"))))])
            assert answer.matches
            assert not {"p3", "p5"} & set(ids(answer))

    def test_those_that_are_not_known_are_listed_once(self, retriever: Retriever) -> None:
        query = Query(session(view("x1"), view("p1")), negatives=(view("x2"), view("x1"), view("x2")))
        (answer,) = retriever.answer([query])
        assert answer.unknown == ("x1", "x2")
        (plain,) = retriever.answer([Query(query.session)])
        assert_same_matches(answer, plain)

    def test_text_that_the_model_cannot_read_moves_nothing(self, retriever: Retriever) -> None:
        query = Query(session(view("p1")), negatives=(inline(Product("鞋")),))
        (answer,), (plain,) = retriever.answer([query]), retriever.answer([Query(query.session)])
        assert_same_matches(answer, plain)

    def test_reasons_are_about_the_moved_session(self, retriever: Retriever) -> None:
        visit, negatives = session(view("p1"), view("p2")), (view("p3"),)
        (answer,) = retriever.answer([Query(visit, 8, Rules(counts=False), explain=True, negatives=negatives)])
        without_counts = Rules(exclude=frozenset({"p1", "p2"}), counts=False)
        for dropped, left in ((1, "p2"), (2, "p1")):
            (rest,) = retriever.answer([Query(session(view(left)), 8, without_counts, negatives=negatives)])
            without = {match.product_id: match.score or 0.0 for match in rest.matches}
            for match in answer.matches:
                for reason in match.reasons or ():
                    if reason.interaction == dropped:
                        effect = (match.score or 0.0) - without[match.product_id]
                        assert reason.effect == pytest.approx(effect, abs=1e-5)

    @pytest.mark.parametrize("negatives", [(view("p1"),) * 3, (search("red"),)])
    def test_too_many_and_searches_are_refused(self, store: Path, negatives: tuple[Interaction, ...]) -> None:
        with (
            Retriever.open(store, device="cpu", limits=Limits(negatives=2)) as limited,
            pytest.raises(InvalidData) as caught,
        ):
            limited.answer([Query(session(view("p1")), negatives=negatives)])
        assert caught.value.field == "negatives"


def assert_same_matches(answer: Answer, other: Answer) -> None:
    assert ids(answer) == ids(other)
    assert [match.score for match in answer.matches] == pytest.approx([match.score for match in other.matches])
