"""What a request may cost at most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from indexer.search.limits import Limits
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from tests.indexer.search.toy_requests import ids, search, session, view
from ubm_embed.data.session import Action, Interaction, Product
from ubm_embed.errors import InvalidData


@pytest.fixture
def retriever(store: Path) -> Retriever:
    return Retriever.open(store)


@pytest.mark.parametrize(
    ("k", "rules", "field"),
    [
        (10**9, Rules(), "k"),
        (10, Rules(exclude=frozenset(map(str, range(100_001)))), "exclude"),
        (10, Rules(boost=dict.fromkeys(map(str, range(10_001)), 1.0)), "boost"),
        (10, Rules(where=f"title = '{'x' * 10_000}'"), "where"),
    ],
)
def test_a_request_for_too_much_is_refused(retriever: Retriever, k: int, rules: Rules, field: str) -> None:
    calls: list[Any] = [
        lambda: retriever.recommend(session(view("p1")), k, rules),
        lambda: retriever.recommend(session(), k, rules),
        lambda: retriever.lookup(Product("red"), k, rules),
        lambda: retriever.lookup_id("p1", k, rules),
    ]
    for call in calls:
        with pytest.raises(InvalidData, match="expected at most") as caught:
            call()
        assert caught.value.field == field


def test_so_is_one_of_too_many_sessions(retriever: Retriever) -> None:
    with pytest.raises(InvalidData, match="expected at most 1,000 sessions in one call, got 1,001"):
        retriever.recommend_many([session()] * 1_001)


def test_a_hundred_thousand_excludes_are_answered(retriever: Retriever) -> None:
    rules = Rules(exclude=frozenset([f"x{number}" for number in range(99_999)] + ["p2"]))
    expected = [one for one in ids(retriever.recommend(session(view("p1")))) if one != "p2"]
    assert ids(retriever.recommend(session(view("p1")), rules=rules)) == expected


def test_limits_are_set_when_it_is_opened(store: Path) -> None:
    with pytest.raises(InvalidData, match="field 'k': expected at most 5, got 6"):
        Retriever.open(store, limits=Limits(k=5)).recommend(session(), 6)


def test_of_a_long_session_the_last_interactions_are_looked_at(
    retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []
    find = retriever.catalogue.find

    def counted(product_ids: Iterable[str]) -> Mapping[str, int]:
        names = list(product_ids)
        looked_up.extend(names)
        return find(names)

    monkeypatch.setattr(retriever.catalogue, "find", counted)
    early = [view("p1"), *[view("x")] * (200_000 - 1_000 - 1)]
    late = [*(view(f"y{number}") for number in range(999)), view("p2")]
    answer = retriever.recommend(session(*early, *late), 8)
    assert len(answer.unknown) == 999
    assert {name[0] for name in answer.unknown} == {"y"}
    assert set(ids(answer)) == {f"p{row}" for row in range(1, 9)} - {"p2"}
    assert len(looked_up) <= 1_000


def test_a_megabyte_of_text_is_answered_as_its_beginning(retriever: Retriever) -> None:
    for text in ("red " * 250_000, "x" * 1_000_000 + " red"):
        inline = Interaction(Action.VIEW, product=Product(text, text, (("colour", text),) * 3))
        answer = retriever.recommend(session(search(text), inline, view("p1")), explain=True)
        assert answer.fallback is None
        assert len(answer.matches) == 7


def test_products_that_were_seen_are_not_looked_up_again(retriever: Retriever, monkeypatch: pytest.MonkeyPatch) -> None:
    first = retriever.recommend(session(view("p1"), view("x")))
    for name in ("find", "products"):
        monkeypatch.delattr(type(retriever.catalogue), name)
    again = retriever.recommend(session(view("p1"), view("x")))
    assert (again.matches, again.unknown) == (first.matches, first.unknown)
