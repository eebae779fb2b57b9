"""Sessions that are asked, and what is read of an answer."""

from __future__ import annotations

from indexer.search.answer import Answer
from ubm_embed.data.session import Action, Interaction, Session


def view(product_id: str) -> Interaction:
    return Interaction(Action.VIEW, product_id=product_id)


def search(query: str) -> Interaction:
    return Interaction(Action.SEARCH, query=query)


def session(*interactions: Interaction) -> Session:
    return Session(interactions, "s1")


def ids(answer: Answer) -> list[str]:
    return [match.product_id for match in answer.matches]
