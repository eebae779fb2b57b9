"""Live sessions with removals from the cart: what is read, what was seen, and what is left to answer with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from indexer.search.resolution import ALL_TAKEN_BACK, NOTHING_KNOWN, SessionResolver
from indexer.search.retriever import Retriever
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.inference.token_sequences import TokenSequence

ADD, VIEW, REMOVE = Action.ADD, Action.VIEW, Action.REMOVE
NEW = Product("green hat", product_id="new")


def step(action: Action, product: str | Product) -> Interaction:
    if isinstance(product, Product):
        return Interaction(action, product=product)
    return Interaction(action, product_id=product)


def session(*steps: tuple[Action, str | Product]) -> Session:
    return Session(tuple(step(*one) for one in steps))


@pytest.fixture
def retriever(store: Path) -> Retriever:
    return Retriever.open(store)


def actions(resolved: Any) -> list[str]:
    return [f"{one.action} {one.product.product_id}" for one in resolved.session.interactions]


def test_a_model_without_the_token_reads_what_is_left(retriever: Retriever) -> None:
    given = session((ADD, "p1"), (VIEW, "p2"), (REMOVE, "p1"))
    (resolved,) = SessionResolver(retriever.catalogue).resolve([given])
    assert actions(resolved) == ["view p2"]
    assert resolved.seen == set(retriever.catalogue.find(["p1", "p2"]).values())
    answer, expected = (retriever.recommend(one, 8) for one in (given, session((VIEW, "p2"))))
    scores = {match.product_id: match.score for match in expected.matches if match.product_id != "p1"}
    assert {match.product_id: match.score for match in answer.matches} == scores


def test_a_model_with_the_token_reads_all_of_it(retriever: Retriever) -> None:
    given = session((ADD, "p1"), (REMOVE, "p1"), (REMOVE, "gone"))
    (resolved,) = SessionResolver(retriever.catalogue, reads_removals=True).resolve([given])
    assert actions(resolved) == ["add p1", "remove p1"]
    assert resolved.unknown == ("gone",)


def test_a_product_given_in_full_is_taken_back_by_its_id(retriever: Retriever) -> None:
    given = session((ADD, NEW), (VIEW, "p2"), (REMOVE, "new"))
    (resolved,) = SessionResolver(retriever.catalogue).resolve([given])
    assert actions(resolved) == ["view p2"]
    assert resolved.unknown == ("new",)


@pytest.mark.parametrize(
    ("steps", "fallback"),
    [
        ([(ADD, "p1"), (REMOVE, "p1")], ALL_TAKEN_BACK),
        ([(REMOVE, "p1")], ALL_TAKEN_BACK),
        ([(ADD, "gone"), (VIEW, "gone")], NOTHING_KNOWN),
    ],
)
def test_a_session_of_which_nothing_is_left_is_answered_by_popularity(
    retriever: Retriever, steps: list[tuple[Action, str]], fallback: str
) -> None:
    (resolved,) = SessionResolver(retriever.catalogue).resolve([session(*steps)])
    assert resolved.fallback == fallback
    assert (retriever.recommend(session(*steps)).fallback or "").startswith(fallback)


@pytest.mark.parametrize(("embedder", "predictor"), [(True, True), (True, False), (False, True)])
def test_removals_are_read_where_every_model_reads_them(
    retriever: Retriever,
    tokenizer: InteractionTokenizer,
    removal_tokenizer: InteractionTokenizer,
    embedder: bool,
    predictor: bool,
) -> None:
    lengths: list[int] = []

    def predict(sessions: list[Session]) -> Any:
        lengths.extend(len(one.interactions) for one in sessions)
        return SimpleNamespace(tolist=lambda: [1.0] * len(sessions))

    tokenizers = [removal_tokenizer if reads else tokenizer for reads in (embedder, predictor)]
    model: Any = SimpleNamespace(task="rlp", embedder=SimpleNamespace(tokenizer=tokenizers[1]), predict=predict)
    reader: Any = SimpleNamespace(
        tokenizer=tokenizers[0],
        max_interactions=8,
        tokenise=lambda interactions: [TokenSequence(b"", True)] * len(interactions),
        embed_tokens=lambda sessions: retriever.index.vectors(np.zeros(len(sessions), np.int64)),
    )
    both = Retriever(retriever.version, reader, retriever.index, retriever.catalogue, [model])
    both.recommend(session((ADD, "p1"), (VIEW, "p2"), (REMOVE, "p1")))
    assert lengths == [3 if embedder and predictor else 1]
