"""Tiny corpora, from lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import polars as pl
import pytest

from ubm_embed.data.corpus import INTERACTION_SCHEMA, PRODUCT_SCHEMA, Corpus

# A session is a list of "action product" or of products alone, which are viewed; "search phrase" is a search.
CorpusOf = Callable[..., Corpus]


@pytest.fixture(name="corpus_of")
def corpus_of_fixture() -> CorpusOf:
    return corpus_of


def corpus_of(
    sessions: Sequence[Sequence[str]],
    *,
    times: Sequence[Sequence[datetime | None]] | None = None,
    users: Sequence[str | None] | None = None,
    products: Sequence[str] | pl.DataFrame | None = None,
) -> Corpus:
    """A corpus of these sessions.

    Args:
        times: of each interaction.
        users: of each session.
        products: the catalogue, or its ids; those that the sessions hold by default.
    """
    rows = [_row(f"s{number}", *entry) for number, session in enumerate(sessions) for entry in enumerate(session)]
    interactions = pl.DataFrame(rows, schema=INTERACTION_SCHEMA, orient="row")
    if times is not None:
        moments = [moment for session in times for moment in session]
        interactions = interactions.with_columns(timestamp=pl.Series(moments, dtype=pl.Datetime("us")))
    if users is not None:
        named = [user for user, session in zip(users, sessions, strict=True) for _ in session]
        interactions = interactions.with_columns(user_id=pl.Series(named, dtype=pl.String))
    if not isinstance(products, pl.DataFrame):
        ids = products or interactions["product_id"].drop_nulls().unique(maintain_order=True).to_list()
        products = pl.DataFrame([(name, f"title of {name}", None, []) for name in ids], PRODUCT_SCHEMA, orient="row")
    return Corpus(products, interactions)


def _row(session: str, position: int, text: str) -> tuple[str, int, str, str | None, str | None]:
    action, _, name = text.rpartition(" ")
    if action == "search":
        return session, position, action, None, name
    return session, position, action or "view", name, None
