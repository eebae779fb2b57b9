"""A refresh that makes a revision part of a new version changes no answer."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.index.index_request import IndexRequest
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index, refresh
from indexer.refresh.settings import RefreshSettings
from indexer.search.answer import Answer
from indexer.search.live_retriever import LiveRetriever
from indexer.search.query import Query
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.updates.updater import Updater
from tests.indexer.same_answers import assert_same_matches
from tests.indexer.search.toy_requests import search, session, view
from ubm_embed.data.corpus import PRODUCT_SCHEMA

Row = dict[str, Any]
Step = list[Row] | str
COUNT = 330  # an index of lists needs some hundreds
WORDS = ["red", "blue", "shoes", "shirt", "boots", "belt", "socks", "running", "walking", "for", "the", "long", "road"]
CATEGORIES = ["shoes", "shirts", None]
IDS = [*(f"p{number}" for number in range(6)), "n1", "17"]
BEFORE_ALL_CHANGES = datetime(2020, 1, 1, tzinfo=UTC)

# No two products have the same text, as equal scores may be in another order after a refresh.
titles = st.permutations(WORDS).map(lambda words: " ".join(words[:6]))
fields = st.fixed_dictionaries(
    {},
    optional={
        "title": titles,
        "category": st.sampled_from(CATEGORIES),
        "price": st.sampled_from([None, 1.0, 5.0, 9.0]),
        "tags": st.sampled_from([None, [], ["sale"], ["sale", "new"]]),
    },
)
steps = st.one_of(
    st.dictionaries(st.sampled_from(IDS), fields, min_size=1, max_size=4).map(
        lambda changes: [{"product_id": name, **values} for name, values in changes.items()]
    ),
    st.sampled_from([*IDS, "refresh"]),
)
histories = st.lists(steps, min_size=3, max_size=6)

ALL_RULES = [
    Rules(),
    Rules(exclude_seen=False, where="price > 2 OR category IS NULL"),
    Rules(where="array_has(tags, 'sale')", exclude=frozenset({"p2", "n1"})),
    Rules(max_per={"category": 2}),
    Rules(max_per={"tags": 1, "price": 2}, where="popularity >= 0"),
    Rules(boost={"p4": 0.3, "n1": 0.5, "p1": -0.2}, max_per={"category": 3}),
    Rules(diversity=0.5),
]
SESSIONS = [session(view("p1"), search("red")), session(view("n1"), view("p3"), view("17.0")), session(view("nobody"))]


def catalogue() -> pl.DataFrame:
    rows = [
        {
            "product_id": f"p{number}",
            "title": " ".join(WORDS[number // 13**digit % 13] for digit in (0, 1, 2)),
            "category": CATEGORIES[number % 3],
            "attributes": [],
            "price": float(number % 8),
            "tags": [["sale"], None, []][number % 3],
        }
        for number in range(COUNT)
    ]
    return pl.DataFrame(rows, {**PRODUCT_SCHEMA, "price": pl.Float64, "tags": pl.List(pl.String)})


def log() -> pl.DataFrame:
    """Every product once or twice, so that rows of counts are short: a refresh cuts long ones, a revision does not."""
    rows = [*range(COUNT), *range(0, COUNT, 3)]
    names = {"product_id": [f"p{row}" for row in rows], "position": range(len(rows))}
    return pl.DataFrame({"session_id": ["s"] * len(rows), "action": ["view"] * len(rows), **names})


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """The folder of a feed, and of a store with an index of lists, made once."""
    folder = tmp_path_factory.getbasetemp() / "shop-in-lists"
    if not folder.exists():
        folder.mkdir()
        catalogue().write_parquet(folder / "feed.parquet")
        log().write_parquet(folder / "log.parquet")
        build_index(
            model=model_folder,
            products=folder / "feed.parquet",
            interactions=folder / "log.parquet",
            store=folder / "store",
            settings=RefreshSettings(index=IndexRequest(index="ivf-sq8", recall=0.1)),
        )
    return folder


def queries() -> list[Query]:
    asked = [Query(one, 5, rules, explain=rules == Rules()) for one in SESSIONS for rules in ALL_RULES]
    return [*asked, Query(SESSIONS[0], 5, negatives=(view("p5"), view("n1")))]


def reasons_of(answer: Answer) -> list[list[tuple[str | None, tuple[str, ...]]]]:
    """What each match is explained by."""
    return [[(reason.product_id, reason.words) for reason in match.reasons or ()] for match in answer.matches]


def assert_same_answers(ours: Retriever, theirs: Retriever) -> None:
    for query, one, other in zip(queries(), ours.answer(queries()), theirs.answer(queries()), strict=True):
        assert (one.unknown, one.fallback) == (other.unknown, other.fallback), query
        assert_same_matches(one.matches, other.matches)
        assert reasons_of(one) == reasons_of(other)
    known = ours.catalogue.find(IDS).keys()
    assert known == theirs.catalogue.find(IDS).keys()
    for name in known:
        assert_same_matches(ours.lookup_id(name, 4).matches, theirs.lookup_id(name, 4).matches)


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories)
def test_a_refresh_changes_no_answer(shop: Path, tmp_path: Path, history: list[Step]) -> None:
    store = tmp_path / "store"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(shop / "store", store)
    live = LiveRetriever(store, device="cpu", interval=None)

    def refreshed() -> None:
        refresh(store=store, products=shop / "feed.parquet", feed_time=BEFORE_ALL_CHANGES, allow=list(Gate))

    def reopened() -> Retriever:
        return Retriever.open(store, device="cpu", embedder=first.embedder)

    with live, live.borrow() as first, Updater(store, embedder=first.embedder) as updater:
        known = {f"p{number}" for number in range(COUNT)}
        for step in history:
            if step == "refresh":
                refreshed()
            elif isinstance(step, str):
                updater.delete([step])
                known.discard(step)
            else:
                rows = [row for row in step if row["product_id"] in known or "title" in row]
                updater.upsert(rows or [{"product_id": "p9", "price": 3.0}])
                known |= {row["product_id"] for row in rows}
            live.check()
            with live.borrow() as retriever:
                retriever.answer(queries())  # what is remembered of one revision must not be in answers of the next
        with live.borrow() as follower, reopened() as opened:
            refreshed()
            with reopened() as right:
                if right.version.index_update["action"] != "trained" or right.version == opened.version:
                    assert_same_answers(follower, right)
                    assert_same_answers(opened, right)
