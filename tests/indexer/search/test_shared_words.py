"""Searches, and products looked up by their text, find what has their words, under a revision and after a refresh."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from indexer.lexical.words_file import WORDS_FILE
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import refresh
from indexer.search.answer import Answer
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.updates.updater import Updater
from tests.indexer.search.toy_requests import search, session, view
from ubm_embed.data.session import Product

PLAIN = Rules(words=False)


def scores(answer: Answer) -> dict[str, float]:
    return {match.product_id: match.score or 0.0 for match in answer.matches}


def gains(retriever: Retriever, phrase: str) -> dict[str, float]:
    """What words have added to each product's score, as far as they added something."""
    query = session(search(phrase))
    with_words, without = (scores(retriever.recommend(query, 20, rules)) for rules in (None, PLAIN))
    return {name: score - without[name] for name, score in with_words.items() if score > without[name] + 1e-6}


def test_a_last_search_raises_the_products_with_its_words(store: Path) -> None:
    with Retriever.open(store) as retriever:
        assert gains(retriever, "Shirts").keys() == {"p3", "p4", "p8"}
        leather = gains(retriever, "leather")
        assert leather.keys() == {"p5", "p6"}
        assert leather["p6"] > leather["p5"]  # a title counts more
        viewed_later = session(search("shirt"), view("p7"))
        assert scores(retriever.recommend(viewed_later)) == scores(retriever.recommend(viewed_later, rules=PLAIN))


def test_a_product_is_looked_up_by_its_words_too_but_not_one_of_the_store(store: Path) -> None:
    with Retriever.open(store) as retriever:
        product = Product("red shirt", "shirts", (("colour", "red"),))
        gained, plain = (scores(retriever.lookup(product, 8, rules)) for rules in (None, PLAIN))
        assert {name for name in gained if gained[name] > plain[name] + 1e-6} == {"p1", "p3", "p4", "p8"}
        assert scores(retriever.lookup_id("p3", 8)) == scores(retriever.lookup_id("p3", 8, PLAIN))


def test_products_are_found_by_their_words_as_soon_as_they_are_upserted(store: Path, products_file: Path) -> None:
    with Updater(store) as updater:
        updater.upsert([{"product_id": "n1", "title": "road belt"}, {"product_id": "p4", "title": "blue belt"}])
        updater.upsert([{"product_id": "n2", "title": "belt"}])
        updater.delete(["p6"])
    with Retriever.open(store) as retriever:
        assert gains(retriever, "belts").keys() == {"n1", "n2", "p4"}
        assert gains(retriever, "shirt").keys() == {"p3", "p4", "p8"}  # p4 by its category
        revised = gains(retriever, "blue belt")
    refresh(products=products_file, store=store, allow=list(Gate))
    with Retriever.open(store) as retriever:
        refreshed = gains(retriever, "blue belt")
    assert refreshed == pytest.approx(revised, abs=1e-5)


def test_a_version_without_words_answers_as_before(store: Path) -> None:
    folder = store / "versions" / "1"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    del manifest["files"][WORDS_FILE]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / WORDS_FILE).unlink()
    with Retriever.open(store) as retriever:
        assert gains(retriever, "shirt") == {}


def test_words_are_left_out_where_they_are_not_wanted(store: Path) -> None:
    with Retriever.open(store, words=False) as retriever:
        assert gains(retriever, "shirt") == {}


def test_words_that_the_model_cannot_read_find_the_products_that_have_them(store: Path) -> None:
    with Updater(store) as updater:
        updater.upsert([{"product_id": "n1", "title": "红色的鞋子"}, {"product_id": "n2", "title": "红色 red shirt"}])
    with Retriever.open(store) as retriever:
        for answer in (retriever.recommend(session(search("红色"))), retriever.lookup(Product("红色"), 10)):
            found = [match for match in answer.matches if match.score is not None]
            assert answer.fallback == "text that the model cannot read"
            assert {match.product_id for match in found} == {"n1", "n2"}
            assert answer.matches[:2] == tuple(found)  # the most popular products follow
            assert [match.product_id for match in answer.matches[2:]] == ["p3", "p2", "p5"]
        under_rules = retriever.recommend(session(search("红色")), rules=Rules(exclude=frozenset({"n1", "p3"})))
        assert [match.product_id for match in under_rules.matches] == ["n2", "p2", "p5"]
        plain = retriever.recommend(session(search("红色")), rules=PLAIN)
        assert [match.product_id for match in plain.matches] == ["p3", "p2", "p5"]
        visit = session(view("p1"), search("红色"))
        with_words, without = (scores(retriever.recommend(visit, 12, rules)) for rules in (None, PLAIN))
        assert {name for name in with_words if with_words[name] > without[name] + 1e-6} == {"n1", "n2"}


def test_ten_thousand_words_are_answered(store: Path) -> None:
    with Retriever.open(store) as retriever:
        phrase = " ".join(f"w{number}" for number in range(10_000))
        assert len(retriever.recommend(session(search(f"shirt {phrase}")), 3).matches) == 3
