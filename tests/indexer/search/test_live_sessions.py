"""A session that goes on is answered anew after each event: as the docs show it, and at the cost that they promise."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from indexer.search.answer import Answer
from indexer.search.retriever import Retriever
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.corpus import iter_products
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.data.text.token_table import TokenTable

DOCS = Path(__file__).parents[3] / "docs" / "store.md"
SEARCH = Interaction(Action.SEARCH, query="red running shoes")
VIEWS = [Interaction(Action.VIEW, product_id=f"p{row}") for row in range(1, 9)]
ADD = Interaction(Action.ADD, product_id="p1")
# More than the eight that the model reads, with two that come twice.
EVENTS = [SEARCH, VIEWS[0], VIEWS[1], VIEWS[0], ADD, *VIEWS[2:7], SEARCH]


@pytest.fixture
def retriever(store: Path) -> Retriever:
    return Retriever.open(store, device="cpu")


@pytest.fixture
def encoded(retriever: Retriever, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many interactions each call of the interaction encoder was given."""
    counts: list[int] = []
    runtime = retriever.embedder.model_runtime
    encode = runtime.encode_interactions

    def counted(sequences: TokenTable) -> FloatArray:
        counts.append(len(sequences))
        return encode(sequences)

    monkeypatch.setattr(runtime, "encode_interactions", counted)
    return counts


def grown(events: list[Interaction]) -> list[Session]:
    """A session after each of its events."""
    return [Session(tuple(events[: count + 1]), "s1") for count in range(len(events))]


def ids(answer: Answer) -> list[str]:
    return [match.product_id for match in answer.matches]


def example_of(document: str) -> str:
    """The first block of Python under "Live sessions"."""
    section = re.search(r"^## Live sessions\n(.*?)(?=^## |\Z)", document, re.DOTALL | re.MULTILINE)
    block = section and re.search(r"^```python\n(.*?)^```$", section[1], re.DOTALL | re.MULTILINE)
    assert block, f"expected a block of Python under 'Live sessions' in {DOCS.name}"
    return block[1]


def test_the_example_in_the_docs_runs(
    store: Path, retriever: Retriever, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(store.parent)  # where it is called "store"
    exec(compile(example_of(DOCS.read_text("utf-8")), DOCS.name, "exec"), {"__name__": "example"})
    answers = capsys.readouterr().out.split("after ")[1:]
    assert [answer.split(",")[0] for answer in answers] == ["search", "view", "add"]
    for printed, session in zip(answers, grown([SEARCH, VIEWS[0], ADD]), strict=True):
        header, *matches = printed.splitlines()
        assert header.endswith("from version 1:")
        expected = retriever.recommend(session, k=10).matches
        assert [line.split()[:2] for line in matches] == [[str(match.rank), match.product_id] for match in expected]
        assert matches


def test_a_missing_example_is_noticed() -> None:
    with pytest.raises(AssertionError, match="expected a block of Python under 'Live sessions'"):
        example_of("## Live sessions\n\nNone.\n\n## Other engines\n\n```python\npass\n```\n")


def test_one_more_event_encodes_one_interaction_at_most(retriever: Retriever, encoded: list[int]) -> None:
    costs = []
    for session in grown(EVENTS):
        retriever.recommend(session)
        costs.append(sum(encoded))
        encoded.clear()
    assert costs == [1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0]


def test_known_interactions_cost_nothing_in_another_session(
    retriever: Retriever, encoded: list[int], products: pl.DataFrame
) -> None:
    retriever.recommend(Session((SEARCH, *VIEWS[:3]), "s1"))
    encoded.clear()
    first = replace(VIEWS[0], product_id=None, product=next(iter_products(products)))
    answer = retriever.recommend(Session((VIEWS[2], first, SEARCH, VIEWS[1]), "s2"), explain=True)
    assert encoded == []
    assert answer.fallback is None
    retriever.recommend(Session((*VIEWS[:3], ADD), "s2"))
    assert encoded == [1], "another action with a known product"


def test_cached_interactions_answer_as_freshly_read_ones(store: Path, retriever: Retriever) -> None:
    for session in grown(EVENTS):
        cached, fresh = retriever.recommend(session), Retriever.open(store, device="cpu").recommend(session)
        assert ids(cached) == ids(fresh)
        scores = [match.score for match in fresh.matches]
        assert [match.score for match in cached.matches] == pytest.approx(scores, abs=1e-5)


def test_sessions_that_grow_in_several_threads_get_what_each_gets_alone(store: Path, retriever: Retriever) -> None:
    orders = [EVENTS[turn:] + EVENTS[:turn] for turn in range(8)]

    def answered(events: list[Interaction]) -> list[list[str]]:
        return [ids(retriever.recommend(session)) for session in grown(events)]

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(answered, orders))
    assert together == [answered(events) for events in orders]
