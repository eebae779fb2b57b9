"""A store whose index is LanceDB's own: the same answers as from memory, through refreshes, rollbacks and repairs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from indexer.catalogue.mapped_catalogue import CATALOGUE_FILES
from indexer.health.doctor import examine
from indexer.health.repair import repair
from indexer.index.index_request import IndexRequest
from indexer.index.vector_index import INDEX_FILE
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index, refresh
from indexer.refresh.settings import RefreshSettings
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.pruning import KeepPolicy, prune
from indexer.versions.rollback import roll_back
from indexer.versions.version import CANARIES_FILE, StoreVersion, read_version
from tests.indexer.catalogue.older_version import as_layout_1
from ubm_embed.data.products import PRODUCT_SCHEMA
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.errors import InvalidData, NotFound

COUNT = 900
DISK = RefreshSettings(index=IndexRequest(index="disk", recall=0.9), shard_rows=400, gate_queries=20)
MEMORY = RefreshSettings(index=IndexRequest(index="flat"), shard_rows=400, gate_queries=20)
ALLOW = [Gate.NEIGHBOURS, Gate.CENTROID, Gate.UNIFORMITY, Gate.ROWS]
SESSION = Session(
    (Interaction(Action.SEARCH, query="red shirt"), Interaction(Action.VIEW, product_id="it's 7")), session_id="s"
)


def catalogue(file: Path, night: int = 0, rows: int = COUNT) -> Path:
    """Products with distinct titles and prices, and ids that SQL would read as syntax."""
    random = np.random.default_rng(0)
    kinds, colours = ["shirt", "shoes", "belt", "socks"], ["red", "blue", "green", "black", "white"]
    drawn = [(kinds[random.integers(4)], colours[random.integers(5)]) for _ in range(rows)]
    frame = pl.DataFrame(
        {
            "product_id": [f"it's {row}" for row in range(rows)],
            "title": [
                f"{colour} {kind} {row * (1 + (night if row < 20 else 0))}" for row, (kind, colour) in enumerate(drawn)
            ],
            "category": [kind for kind, _ in drawn],
            "attributes": [[{"name": "colour", "value": colour}] for _, colour in drawn],
        },
        schema=PRODUCT_SCHEMA,
    )
    frame.with_columns(price=pl.int_range(rows) % 100, brand=pl.int_range(rows) % 7).write_parquet(file)
    return file


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return catalogue(tmp_path / "catalogue.parquet")


@pytest.fixture
def interactions(tmp_path: Path) -> Path:
    chosen = [f"it's {row}" for row in (5, 3, 3, 8, 8, 8, 12)]
    frame = pl.DataFrame({"session_id": ["s"] * 7, "position": range(7), "action": ["view"] * 7, "product_id": chosen})
    frame.write_parquet(tmp_path / "interactions.parquet")
    return tmp_path / "interactions.parquet"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores that were built before."""
    return tmp_path_factory.mktemp("stores")


@pytest.fixture
def built(stores: Path, model_folder: Path, shop: Path, interactions: Path) -> Callable[[RefreshSettings], Path]:
    def build(settings: RefreshSettings) -> Path:
        store = stores / f"{settings.index and settings.index.index}"
        if store.exists():
            return store
        build_index(
            model=model_folder,
            products=shop,
            interactions=interactions,
            store=store,
            settings=settings,
            allow=ALLOW,
            device="cpu",
        )
        return store

    return build


@pytest.fixture
def store(built: Callable[[RefreshSettings], Path], tmp_path: Path) -> Path:
    """One to change."""
    return shutil.copytree(built(DISK), tmp_path / "store")


def live(store: Path) -> StoreVersion:
    return read_version(EmbeddingStore.open(store))


def opened(store: Path) -> Retriever:
    """Searched so thoroughly that nothing is skipped: recall is not compared here."""
    retriever = Retriever.open(store, device="cpu")
    retriever.matcher.index = retriever.index.with_search_value(retriever.index.max_search_value)
    return retriever


def answer_of(retriever: Retriever, session: Session, rules: Rules | None = None, **options: Any) -> dict[str, Any]:
    document = retriever.recommend(session, rules=rules, **options).to_dict()
    return {name: value for name, value in document.items() if name != "took_ms"}


def test_the_manifest_describes_it(store: Path) -> None:
    version = live(store)
    assert version.kind == "disk"
    assert version.parameters["factory"].startswith("LanceDB IVF")
    assert version.recall_at_10 >= 0.9
    assert {*CATALOGUE_FILES, CANARIES_FILE} <= set(version.files)
    assert INDEX_FILE not in version.files
    assert EmbeddingStore.open(store).table.pins() == {1: version.table_version}
    assert not examine(store)


def test_one_of_older_software_answers_as_before(store: Path) -> None:
    before = answer_of(opened(store), SESSION, Rules(where="price < 30"))
    as_layout_1(store)
    assert live(store).layout == 1
    assert answer_of(opened(store), SESSION, Rules(where="price < 30")) == before


@pytest.mark.parametrize(
    "rules",
    [
        None,
        Rules(where="price < 30 AND category = 'shirt'"),
        Rules(where="price = 4"),  # nine products, fewer than are wanted
        Rules(max_per={"brand": 1}, diversity=0.3),
        Rules(exclude=frozenset({"it's 1", "it's 2"}), boost={"it's 9": 0.5, "unknown": 1.0}, exclude_seen=False),
    ],
)
@pytest.mark.parametrize("session", [SESSION, Session(()), Session((Interaction(Action.VIEW, product_id="gone"),))])
def test_it_answers_as_from_memory(
    built: Callable[[RefreshSettings], Path], session: Session, rules: Rules | None
) -> None:
    there, here = opened(built(DISK)), opened(built(MEMORY))
    mine, theirs = (answer_of(one, session, rules, explain=True) for one in (there, here))
    assert [match["product_id"] for match in mine["matches"]] == [match["product_id"] for match in theirs["matches"]]
    scores = [[match.pop("score") or 0.0 for match in one["matches"]] for one in (mine, theirs)]
    np.testing.assert_allclose(*scores, atol=1e-5)
    for one in (mine, theirs):
        for match in one["matches"]:
            for reason in match.get("reasons", ()):
                reason["effect"] = round(reason["effect"], 4)
    assert mine == theirs


def test_a_product_is_looked_up_by_id_and_by_text(store: Path, built: Callable[[RefreshSettings], Path]) -> None:
    there, here = opened(store), opened(built(MEMORY))
    for look_up in (
        lambda one: one.lookup_id("it's 5", 5),
        lambda one: one.lookup(Product(title="blue belt"), 5, Rules(where="price > 10")),
    ):
        assert [match.product_id for match in look_up(there).matches] == [
            match.product_id for match in look_up(here).matches
        ]
    with pytest.raises(NotFound, match="version 1 has no product"):
        there.lookup_id("it'")


def test_the_error_says_what_is_wrong_with_a_rule(store: Path) -> None:
    for where in ("prize < 3", "vector IS NOT NULL", "text_hash = 'a'"):
        with pytest.raises(InvalidData, match=rf"no column '{where.split()[0]}'.*product_id, title") as caught:
            opened(store).recommend(SESSION, rules=Rules(where=where))
        assert "row_hash" not in str(caught.value), "the columns that we added are not offered"
    with pytest.raises(InvalidData, match=r"'max_per.bran': no such column; there is: product_id, title"):
        opened(store).recommend(SESSION, rules=Rules(max_per={"bran": 1}))


def test_a_refresh_keeps_it_and_a_rollback_goes_back(store: Path, tmp_path: Path) -> None:
    before = answer_of(opened(store), SESSION)
    done = refresh(
        products=catalogue(tmp_path / "night.parquet", night=1),
        store=store,
        allow=ALLOW,
        settings=RefreshSettings(shard_rows=400, gate_queries=20),
    )
    assert 15 <= done.encoded <= 20
    assert (live(store).kind, live(store).version, examine(store)) == ("disk", 2, [])
    assert opened(store).recommend(SESSION, COUNT).version == 2
    assert len(opened(store).recommend(SESSION, COUNT).matches) == COUNT - 1
    titles = {row["product_id"]: row["title"] for row in opened(store).catalogue.rows(range(COUNT)).values()}
    expected = pl.read_parquet(tmp_path / "night.parquet")
    assert titles == dict(expected.select("product_id", "title").iter_rows())
    roll_back(EmbeddingStore.open(store))
    assert answer_of(opened(store), SESSION) == before


def test_products_that_are_gone_are_not_found(store: Path, tmp_path: Path) -> None:
    refresh(
        products=catalogue(tmp_path / "night.parquet", rows=600),
        store=store,
        allow=ALLOW,
        settings=RefreshSettings(shard_rows=100, gate_queries=20),
    )
    assert len(opened(store).recommend(SESSION, COUNT).matches) == 599
    assert opened(store).catalogue.find(["it's 599", "it's 600"]).keys() == {"it's 599"}


def test_from_disk_into_memory_and_back(store: Path, shop: Path) -> None:
    refresh(products=shop, store=store, settings=MEMORY, allow=ALLOW)
    assert (live(store).kind, examine(store)) == ("flat", [])
    assert EmbeddingStore.open(store).table.snapshot(live(store).table_version).nlist == 0
    refresh(products=shop, store=store, settings=DISK, allow=ALLOW)
    assert (live(store).kind, live(store).version, examine(store)) == ("disk", 3, [])
    assert len(opened(store).recommend(SESSION, 10).matches) == 10


def test_a_reader_lasts_as_long_as_its_version(store: Path, shop: Path, tmp_path: Path) -> None:
    reader = opened(store)
    before = answer_of(reader, SESSION)
    keep = RefreshSettings(shard_rows=400, gate_queries=20, keep=KeepPolicy(versions=2))
    refresh(products=catalogue(tmp_path / "night.parquet", night=1), store=store, allow=ALLOW, settings=keep)
    assert answer_of(reader, SESSION) == before
    opened_store = EmbeddingStore.open(store)
    with opened_store.write_lock():
        prune(opened_store, KeepPolicy(versions=1))
    other = Session((Interaction(Action.VIEW, product_id="it's 300"),))
    with pytest.raises(InvalidData, match="LanceDB cannot use it"):
        reader.recommend(other, COUNT)


def test_a_lost_index_is_named_and_rebuilt(store: Path) -> None:
    shutil.rmtree(store / "products.lance" / "_indices")
    assert examine(store)
    assert all(finding.repairable for finding in examine(store) if finding.version == 1)
    repair(store)
    assert (live(store).kind, examine(store)) == ("disk", [])
    assert len(opened(store).recommend(SESSION, 10).matches) == 10


def test_a_damaged_index_is_noticed_by_searching_it(store: Path) -> None:
    """Half of each of its files becomes zeros."""
    (named,) = (store / "products.lance" / "_indices").glob("*/auxiliary.idx")
    for file in named.parent.iterdir():
        data = file.read_bytes()
        file.write_bytes(data[: len(data) // 4] + bytes(len(data) // 2) + data[len(data) // 4 + len(data) // 2 :])
    (finding, *_) = examine(store)
    assert (finding.version, finding.repairable) == (1, True)
    repair(store)
    assert examine(store) == []
    assert len(opened(store).recommend(SESSION, 10).matches) == 10


def test_a_reader_says_that_the_rows_are_gone(store: Path) -> None:
    reader = opened(store)
    shutil.rmtree(store / "products.lance" / "data")
    with pytest.raises(InvalidData, match="are gone: if it was pruned since, open the store again"):
        reader.recommend(Session((Interaction(Action.SEARCH, query="red"),)), rules=Rules(where="price < 50"))


def test_a_reserved_column_name_is_refused_before_anything_is_encoded(
    tmp_path: Path, model_folder: Path, shop: Path
) -> None:
    def never(*_: object) -> None:
        pytest.fail("nothing is to be encoded")

    pl.read_parquet(shop).with_columns(_distance=pl.lit(1.0)).write_parquet(tmp_path / "named.parquet")
    with pytest.raises(InvalidData, match="field '_distance': a column of this name cannot be stored"):
        build_index(
            model=model_folder, products=tmp_path / "named.parquet", store=tmp_path / "new", settings=DISK, engine=never
        )


def test_many_excluded_ids_are_looked_up_in_portions(store: Path) -> None:
    excluded = frozenset(f"unknown {row}" for row in range(5000)) | {f"it's {row}" for row in range(100, COUNT)}
    answer = opened(store).recommend(SESSION, COUNT, Rules(exclude=excluded))
    assert {int(match.product_id.split()[1]) for match in answer.matches} == set(range(100)) - {7}


def test_auto_takes_it_if_nothing_else_fits(tmp_path: Path, model_folder: Path, shop: Path) -> None:
    settings = RefreshSettings(index=IndexRequest(memory_gb=1e-5), gate_queries=20)
    few = catalogue(tmp_path / "few.parquet", rows=30)  # too few for lists: they would be kept in memory
    with pytest.raises(InvalidData, match="30 vectors of width 16 take at least"):
        build_index(
            model=model_folder,
            products=few,
            store=tmp_path / "few",
            settings=RefreshSettings(index=IndexRequest(memory_gb=1e-8)),
            allow=ALLOW,
        )
    build_index(model=model_folder, products=shop, store=tmp_path / "small", settings=settings, allow=ALLOW)
    assert live(tmp_path / "small").kind == "disk"


def test_too_few_for_lists_are_kept_in_memory(tmp_path: Path, model_folder: Path) -> None:
    few = catalogue(tmp_path / "few.parquet", rows=30)
    build_index(model=model_folder, products=few, store=tmp_path / "few_store", settings=DISK, allow=ALLOW)
    assert live(tmp_path / "few_store").kind == "fp16"
