from __future__ import annotations

from pathlib import Path

from indexer.search.retriever import Retriever
from indexer.service.sessions.event import Event
from indexer.service.sessions.known_ids import prefer_known_ids
from ubm_embed.data.session import Action, Interaction, Product


def test_an_inline_product_that_the_version_knows_becomes_its_id(store: Path) -> None:
    known = Interaction(Action.ADD, product=Product("another text", product_id="p3"))
    unknown = Interaction(Action.VIEW, product=Product("red shirt", product_id="p99"))
    nameless = Interaction(Action.VIEW, product=Product("red shirt"))
    by_id = Interaction(Action.BUY, product_id="p99")
    search = Interaction(Action.SEARCH, query="p3")
    events = [Event(one, 1.0, "e", "a") for one in (known, unknown, nameless, by_id, search)]
    with Retriever.open(store, device="cpu") as retriever:
        preferred = prefer_known_ids(events, retriever.catalogue)
    assert preferred == (Event(Interaction(Action.ADD, product_id="p3"), 1.0, "e", "a"), *events[1:])
