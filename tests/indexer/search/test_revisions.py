"""A retriever under revisions: its answers are those of a store that is built from the same catalogue.

The reference is put together from the plain rows that a history leaves: no file, no overlay, no position of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.counts.counts_file import VersionCounts, read_counts
from indexer.index.vector_index import VectorIndex
from indexer.revisions.overlay import Overlay
from indexer.revisions.revised_counts import RevisedCounts
from indexer.search import open_version
from indexer.search.count_source import CountSource
from indexer.search.query import Query
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.search.sources import Sources
from indexer.service.engine.readiness import problems
from indexer.store.embedding_store import EmbeddingStore
from indexer.updates.updater import Updater
from indexer.versions.live import read_live
from indexer.versions.rollback import roll_back
from tests.indexer.same_answers import assert_same_matches
from tests.indexer.search.toy_requests import ids, search, session, view
from ubm_embed.counts.transition_counts import TransitionCounts
from ubm_embed.data.arrays import unit_rows
from ubm_embed.data.session import Action, Interaction, Product
from ubm_embed.errors import InvalidData, NotFound

Row = dict[str, Any]
TEXT = ("title", "category", "attributes")
BASE = [f"p{number}" for number in range(1, 9)]
NEW = ["n1", "n2", "17"]

titles = st.sampled_from(["red running shoes", "red shirt", "blue boots", "leather socks", "green belt of leather"])
categories = st.sampled_from(["shoes", "shirts", None])
prices = st.one_of(st.none(), st.integers(0, 9).map(float))
fields = st.fixed_dictionaries({}, optional={"title": titles, "category": categories, "price": prices})
upserts = st.tuples(st.sampled_from(BASE + NEW), fields)
steps = st.one_of(st.lists(upserts, min_size=1, max_size=4), st.sampled_from(BASE + NEW))
histories = st.lists(steps, min_size=1, max_size=6)

ALL_RULES = [
    Rules(exclude_seen=False),
    Rules(),
    Rules(where="price > 2"),
    Rules(where="category IS NULL OR popularity > 0", exclude=frozenset({"p2", "n1"})),
    Rules(max_per={"category": 1}),
    Rules(max_per={"price": 1, "category": 2}, where="price < 8"),
    Rules(boost={"p4": 0.3, "n2": 0.5, "p1": -0.2}),
    Rules(diversity=0.5),
]
SESSIONS = [
    session(view("p1"), search("red")),
    session(view("n1"), view("p3"), Interaction(Action.ADD, product_id="17.0")),
    session(view("p3"), view("p5"), view("n2")),  # p2, p3 and p5 have counts
    session(view("nobody")),
]


class Shop:
    """A store with one version, and what its products are by id, in plain rows.

    Attributes:
        rows: the products there are, in the order of their positions.
    """

    def __init__(self, store: Path, published: Retriever) -> None:
        self.store, self.embedder, self.version = store, published.embedder, published.version
        catalogue = published.catalogue
        positions = np.arange(len(catalogue))
        columns = {name: catalogue.values(name, positions) for name in catalogue.columns}
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        self.schema = published.published_catalogue.schema  # type: ignore[attr-defined]
        self.base = {row["product_id"]: row for row in rows}
        self.vectors = dict(zip(self.base, published.index.vectors(positions), strict=True))
        self.rows = dict(self.base)
        self.updater = Updater(store, embedder=self.embedder)

    def apply(self, step: Sequence[tuple[str, Row]] | str) -> None:
        """One revision: products that are upserted, or one that is deleted."""
        if isinstance(step, str):
            self.updater.delete([step])
            self.rows.pop(step, None)
            return
        changes = {name: values for name, values in step if name in self.rows or "title" in values}
        if changes:
            self.updater.upsert([{"product_id": name, **values} for name, values in changes.items()])
        for name, values in changes.items():
            self.put(name, values)

    def put(self, name: str, values: Mapping[str, Any]) -> None:
        nothing = dict.fromkeys(self.schema.names) | {"product_id": name, "attributes": [], "popularity": 0}
        popularity = self.base.get(name, nothing)["popularity"]
        before = self.rows.get(name)
        self.rows[name] = {**(before or nothing), **values, "popularity": popularity}
        if before is None or any(before[key] != self.rows[name][key] for key in TEXT):
            self.rows[name] = self.rows.pop(name)  # it moves to the end

    def in_order(self) -> list[Row]:
        """Products with the text that they had at first come first, in their first order."""
        kept = [name for name, row in self.base.items() if name in self.rows and self.has_first_text(name, row)]
        return [self.rows[name] for name in [*kept, *(name for name in self.rows if name not in kept)]]

    def has_first_text(self, name: str, row: Row) -> bool:
        return all(self.rows[name][key] == row[key] for key in TEXT)

    def reference(self) -> Retriever:
        """A version of these products and nothing else."""
        rows = self.in_order()
        vectors = [self.vector(row) for row in rows]
        index = VectorIndex.build([np.stack(vectors)])
        catalogue = MappedCatalogue.from_table(pa.Table.from_pylist(rows, self.schema))
        sources = Sources(CountSource(self.counts_of(rows, np.stack(vectors), catalogue)))
        return Retriever(self.version, self.embedder, index, catalogue, sources=sources)

    def counts_of(self, rows: Sequence[Row], vectors: np.ndarray, catalogue: MappedCatalogue) -> RevisedCounts:
        """A C A^T, dense: a product of the version has its own counts, a new one those of its nearest."""
        published = read_counts(self.store / "versions" / "1" / "counts.arrow", len(self.base))
        number = {name: at for at, name in enumerate(self.base)}
        before = [number.get(row["product_id"]) for row in rows]
        seen = np.array([0 if at is None else published.seen[at] for at in before], np.uint8)
        known, shares = np.flatnonzero(seen), np.zeros((len(rows), len(self.base)), np.float32)
        for row, at in enumerate(before):
            if at is not None:
                shares[row, at] = 1
                continue
            cosines = vectors[known] @ vectors[row]
            for near in np.argsort(-cosines, kind="stable")[:8]:
                weight = np.exp((cosines[near] - cosines.max()) / 0.05)
                shares[row, before[known[near]]] = weight if cosines[near] > 0 and weight >= 0.01 else 0
            shares[row] /= max(shares[row].sum(), 1e-12)
        counts = shares @ dense(published.transitions) @ shares.T
        np.fill_diagonal(counts, 0)
        revised = VersionCounts(sparse(counts), seen, published.weights, published.file)
        return RevisedCounts.as_published(revised, Overlay.of_base(catalogue, vectors.shape[1]))

    def vector(self, row: Row) -> np.ndarray:
        name = row["product_id"]
        if name in self.base and self.has_first_text(name, self.base[name]):
            return self.vectors[name]
        return unit_rows(self.embedder.embed_product_list([product_of(row)]))[0]

    def open(self) -> Retriever:
        return Retriever.open(self.store, device="cpu", embedder=self.embedder, words=False)


def dense(counts: TransitionCounts) -> np.ndarray:
    table = np.zeros((counts.products, counts.products), np.float32)
    table[np.repeat(np.arange(counts.products), np.diff(counts.offsets)), counts.neighbours] = counts.values
    return table


def sparse(table: np.ndarray) -> TransitionCounts:
    rows, columns = np.nonzero(table)
    offsets = np.searchsorted(rows, np.arange(len(table) + 1))
    return TransitionCounts(offsets, columns.astype(np.int32), table[rows, columns])


def product_of(row: Row) -> Product:
    pairs = tuple((pair["name"], pair["value"]) for pair in row["attributes"] or ())
    return Product(row["title"] or "", row["category"], pairs, row["product_id"])


@pytest.fixture
def shop(store: Path) -> Iterator[Shop]:
    with Retriever.open(store, device="cpu") as published:
        made = Shop(store, published)
    with made.updater:
        yield made


def copied(shop: Shop, folder: Path) -> Shop:
    """The shop as it was at first, in a store of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    store = Path(shutil.copytree(shop.store, folder))
    with Retriever.open(store, device="cpu", embedder=shop.embedder) as published:
        return Shop(store, published)


def assert_same_answers(ours: Retriever, theirs: Retriever) -> None:
    queries = [Query(one, 6, rules, explain=rules.diversity > 0) for one in SESSIONS for rules in ALL_RULES]
    queries.append(Query(SESSIONS[0], 5, negatives=(view("p5"), view("n1"))))
    for answer, expected in zip(ours.answer(queries), theirs.answer(queries), strict=True):
        assert (answer.unknown, answer.fallback) == (expected.unknown, expected.fallback)
        assert_same_matches(answer.matches, expected.matches)
    for name in BASE + NEW:
        assert (name in ours.catalogue.find([name])) == (name in theirs.catalogue.find([name]))
        if name in theirs.catalogue.find([name]):
            assert_same_matches(ours.lookup_id(name, 4).matches, theirs.lookup_id(name, 4).matches)


class TestAnswers:
    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(histories)
    def test_they_are_those_of_the_same_catalogue(
        self, shop: Shop, tmp_path: Path, history: list[Sequence[tuple[str, Row]] | str]
    ) -> None:
        one = copied(shop, tmp_path / "one")
        with one.updater, one.open() as first:
            follower = first
            for step in history:
                one.apply(step)
                follower = follower.advanced(read_live(EmbeddingStore.open(one.store)))
            if not one.rows:
                assert not follower.recommend(SESSIONS[0]).matches
                return
            with one.open() as opened, one.reference() as reference:
                assert opened.revision == follower.revision
                assert_same_answers(opened, reference)
                assert_same_answers(follower, reference)

    def test_a_snapshot_stays_as_it_was(self, shop: Shop) -> None:
        with shop.open() as before:
            answer = before.recommend(SESSIONS[0], 8)
            shop.apply([("p3", {"title": "blue boots", "price": 100.0}), ("n1", {"title": "red shirt"})])
            shop.apply("p4")
            with before.advanced(read_live(EmbeddingStore.open(shop.store))) as after:
                assert {"n1"} == {*ids(after.recommend(SESSIONS[0], 8))} - {*ids(answer)}
                assert after.label == "1.2"
                assert (after.recommend(SESSIONS[0]).version, after.recommend(SESSIONS[0]).revision) == (1, 2)
            again = before.recommend(SESSIONS[0], 8)
        assert (again.matches, again.revision) == (answer.matches, 0)

    def test_a_session_is_read_with_the_text_that_a_product_has_now(self, shop: Shop) -> None:
        with shop.open() as retriever:
            retriever.recommend(session(view("p1")))  # its text is remembered
            shop.apply([("p1", {"title": "leather belt", "category": None})])
            with retriever.advanced(read_live(EmbeddingStore.open(shop.store))) as after:
                rules = Rules(exclude_seen=False)
                by_id = after.recommend(session(view("p1")), rules=rules)
                as_given = Interaction(Action.VIEW, product=product_of(shop.rows["p1"]))
                assert_same_matches(by_id.matches, after.recommend(session(as_given), rules=rules).matches)
                (match,) = (match for match in by_id.matches if match.product_id == "p1")
                assert match.title == "leather belt"
                old = retriever.recommend(session(view("p1")), rules=rules)
                assert {match.product_id: match.title for match in old.matches}["p1"] == "red running shoes"

    def test_a_deleted_product_is_unknown_until_it_comes_again(self, shop: Shop) -> None:
        live = EmbeddingStore.open(shop.store)
        with shop.open() as first:
            first.recommend(session(view("p1"), view("p2")))
            shop.apply("p1")
            with first.advanced(read_live(live)) as gone:
                answer = gone.recommend(session(view("p1"), view("p2")), 8)
                assert answer.unknown == ("p1",)
                assert "p1" not in ids(answer)
                with pytest.raises(NotFound, match=r"version 1\.1 has no product 'p1'"):
                    gone.lookup_id("p1")
                shop.apply([("p1", {"title": "red shirt"})])
                with gone.advanced(read_live(live)) as back:
                    assert back.recommend(session(view("p1"))).unknown == ()
                    assert "p1" in ids(back.recommend(session(view("p2")), 8))

    def test_an_id_is_understood_as_it_is_written(self, shop: Shop) -> None:
        with shop.open() as retriever:
            assert retriever.recommend(session(view("17.0"))).unknown == ("17.0",)
            shop.apply([("17", {"title": "blue boots"})])
            with retriever.advanced(read_live(EmbeddingStore.open(shop.store))) as after:
                assert after.recommend(session(view("17.0"))).unknown == ()

    def test_changes_that_were_dropped_are_gone(self, shop: Shop) -> None:
        store = EmbeddingStore.open(shop.store)
        with shop.open() as published:
            answer = published.recommend(SESSIONS[0], 8)
            shop.apply([("p1", {"price": 50.0}), ("n1", {"title": "red shirt"})])
            shop.apply("p2")
            with published.advanced(read_live(store)) as revised:
                assert revised.recommend(SESSIONS[0], 8).matches != answer.matches
                roll_back(store, 1, as_published=True)
                shop.updater.upsert([{"product_id": "p8", "price": 7.0}])
                with revised.advanced(read_live(store)) as after, shop.open() as opened:
                    assert after.revision == opened.revision == read_live(store).revision
                    assert ids(after.recommend(SESSIONS[0], 8)) == ids(answer)
                    assert_same_answers(after, opened)

    def test_of_a_version_hardly_anything_may_be_left(self, shop: Shop) -> None:
        with shop.open() as published:
            shop.updater.delete(BASE[1:])
            with published.advanced(read_live(EmbeddingStore.open(shop.store))) as small:
                seen, unseen = small.recommend(session(view("p1")), 8), small.recommend(session(view("p2")), 8)
                assert (ids(seen), ids(unseen)) == ([], [])  # p1 was never chosen, so popularity has no answer
                assert ids(small.recommend(session(search("red")), 8)) == ["p1"]
                assert problems(small) == []


class TestFiles:
    def test_they_are_closed_with_the_last_retriever_that_reads_them(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        closed: list[str] = []
        close = MappedCatalogue.close
        first = shop.open()
        shop.apply("p1")
        second = first.advanced(read_live(EmbeddingStore.open(shop.store)))
        with monkeypatch.context() as patched:
            patched.setattr(MappedCatalogue, "close", lambda one: (closed.append("files"), close(one)))
            first.close()
            first.close()
            assert not closed
            second.recommend(SESSIONS[0])
            second.close()
            assert closed == ["files"]

    def test_only_segments_that_were_not_read_are_read(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        read: list[str] = []
        store = EmbeddingStore.open(shop.store)
        shop.updater.upsert([{"product_id": f"n{row}", "title": f"red shirt {row}"} for row in range(9)])
        with shop.open() as first:
            shop.apply([("p1", {"price": 3.0})])
            storage = type(first._opened[0].storage)  # type: ignore[index]
            read_file = storage.read
            monkeypatch.setattr(storage, "read", lambda one, name: (read.append(name), read_file(one, name))[1])
            with first.advanced(read_live(store)) as second:
                assert second.recommend(session(view("n8"))).unknown == ()
        assert [name.rpartition("/")[2].partition("-")[0] for name in read if name.startswith("revisions/")] == ["2"]

    def test_a_damaged_segment_is_named(self, shop: Shop) -> None:
        shop.apply("p1")
        (segment,) = (shop.store / "revisions" / "1").iterdir()
        segment.write_bytes(segment.read_bytes()[:-9])
        with pytest.raises(InvalidData, match=segment.name):
            shop.open()

    def test_a_segment_that_was_merged_meanwhile_is_looked_for_again(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop.apply([("p1", {"price": 1.0})])
        seen = read_live(EmbeddingStore.open(shop.store))
        shop.apply([("p1", {"price": 2.0})])
        (shop.store / "revisions" / "1" / seen.revisions[1].segments[0].name).unlink(missing_ok=True)
        answers = iter([seen])
        monkeypatch.setattr(open_version, "read_live", lambda store: next(answers, None) or read_live(store))
        with shop.open() as opened:
            assert opened.label == "1.2"


def test_canaries_do_not_mind_what_a_revision_changes(shop: Shop) -> None:
    shop.updater.upsert([{"product_id": name, "title": f"other {name}"} for name in BASE[:6]])
    shop.updater.delete(["p7"])
    with shop.open() as retriever:
        assert retriever.revision is not None
        assert problems(retriever) == []
