"""Why a product matches: each interaction left out by hand, and the words that they share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from indexer.search.ranking import Rules
from indexer.search.reasons import reasons_for
from indexer.search.retriever import Retriever
from ubm_embed.data.corpus import iter_products
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.inference.embedder import Embedder


@pytest.fixture
def embedder(model_folder: Path) -> Embedder:
    return Embedder.from_pretrained(model_folder)


@pytest.fixture
def catalogue(products: pl.DataFrame) -> list[Product]:
    return list(iter_products(products))


def session_of(catalogue: list[Product], *rows: int) -> Session:
    search = Interaction(Action.SEARCH, query="red shoes for running")
    return Session((search, *(Interaction(Action.VIEW, product=catalogue[row]) for row in rows)))


def test_an_effect_is_what_the_score_loses_without_the_interaction(
    embedder: Embedder, catalogue: list[Product]
) -> None:
    session = session_of(catalogue, 3, 4, 5)
    matches = [catalogue[0], catalogue[7]]
    vectors = np.stack([embedder.embed_product(product) for product in matches])
    query = embedder.embed_sessions([session])[0]
    for match, reasons in enumerate(reasons_for(embedder, session, query, matches, vectors)):
        effects = []
        for index in range(4):
            rest = Session(session.interactions[:index] + session.interactions[index + 1 :])
            effects.append(float((query - embedder.embed_sessions([rest])[0]) @ vectors[match]))
        expected = sorted((index for index in range(4) if effects[index] > 0), key=lambda index: -effects[index])[:3]
        assert [reason.interaction - 1 for reason in reasons] == expected
        for reason in reasons:
            assert reason.effect == pytest.approx(effects[reason.interaction - 1], abs=1e-5)


def test_the_whole_score_is_the_effect_of_an_only_interaction(embedder: Embedder, catalogue: list[Product]) -> None:
    session = session_of(catalogue)
    query = embedder.embed_sessions([session])[0]
    ((reason,),) = reasons_for(embedder, session, query, [catalogue[0]], query[None])
    assert reason.effect == pytest.approx(1.0, abs=1e-5)
    assert (reason.interaction, reason.action, reason.query, reason.product_id) == (
        1,
        "search",
        "red shoes for running",
        None,
    )
    assert reason.words == ("red", "running", "shoes")  # in the order of the match, each once


def test_only_the_interactions_that_are_read_count(embedder: Embedder, catalogue: list[Product]) -> None:
    """The model reads the last eight."""
    session = session_of(catalogue, *([3] * 9))
    query = embedder.embed_sessions([session])[0]
    (reasons,) = reasons_for(embedder, session, query, [catalogue[0]], query[None])
    assert all(reason.interaction > 2 for reason in reasons)


def test_a_retriever_explains_on_request(store: Path) -> None:
    retriever = Retriever.open(store)
    session = Session((Interaction(Action.VIEW, product_id="p1"), Interaction(Action.SEARCH, query="red")))
    assert all(match.reasons is None for match in retriever.recommend(session, 3).matches)
    explained = retriever.recommend(session, 3, explain=True)
    assert [match.product_id for match in explained.matches] == [
        match.product_id for match in retriever.recommend(session, 3).matches
    ]
    assert all(match.reasons is not None for match in explained.matches)
    assert "reasons" in explained.to_dict()["matches"][0]
    # An answer by popularity has no reasons.
    fallback = retriever.recommend(Session(()), 3, explain=True)
    assert fallback.fallback is not None
    assert all(match.reasons is None for match in fallback.matches)


def test_a_fallback_obeys_the_rules(store: Path) -> None:
    retriever = Retriever.open(store)
    answer = retriever.recommend(Session(()), 8, Rules(where="price < 4", exclude=frozenset({"p2"})))
    assert [match.product_id for match in answer.matches] == ["p3"]  # p5 is popular too, and costs 4
    assert answer.fallback == "empty session"
