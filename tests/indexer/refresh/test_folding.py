"""A refresh makes a revision part of the new version: of feed and revision, the newer counts for each product."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.health.doctor import Severity, examine
from indexer.refresh import going_live, refresh
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index
from indexer.updates.updater import Updater
from indexer.versions.live import make_live, publish_revision, read_live
from indexer.versions.revision import Revision
from indexer.versions.rollback import roll_back
from indexer.versions.version import read_version
from tests.indexer.refresh.shop import Shop, require_same_answer
from ubm_embed.errors import Conflict

# For a shop of eight products of which most change.
OPTIONS: dict[str, Any] = {"allow": set(Gate)}
Products = dict[str, tuple[str, float]]

IDS = st.sampled_from(["p1", "p2", "p7", "n1", "n2"])
UPSERTS = st.tuples(st.just("upsert"), IDS, st.sampled_from(["red boots", "green socks"]), st.sampled_from([1.5, 2.5]))
DELETIONS = st.tuples(st.just("delete"), IDS)
FEEDS = st.tuples(
    st.just("feed"), st.dictionaries(IDS, st.tuples(st.sampled_from(["red boots", "belt"]), st.just(1.5)))
)


def write_feed(shop: Shop, products: Products) -> None:
    first = shop.products.head(1)
    rows = [
        first.with_columns(product_id=pl.lit(name), title=pl.lit(title), price=pl.lit(price))
        for name, (title, price) in products.items()
    ]
    shop.write(pl.concat(rows))


def write_live(shop: Shop) -> None:
    """A feed of what is live."""
    shop.write(shop.rows().select(shop.products.columns).cast(dict(shop.products.schema)))


def products_of(shop: Shop) -> Products:
    rows = shop.rows().select("product_id", "title", "price").iter_rows()
    return {name: (title, price) for name, title, price in rows}


def whole_rows(shop: Shop) -> dict[str, Any]:
    return {row["product_id"]: row for row in shop.rows().drop("vector", "popularity").iter_rows(named=True)}


def updated(store: Path, *steps: tuple[Any, ...]) -> None:
    with Updater(store, device="cpu") as updater:
        for kind, name, *values in steps:
            if kind == "delete":
                updater.delete([name])
            else:
                title, price = values
                fields = {"title": title, "price": price, "category": "shoes", "attributes": []}
                updater.upsert([{"product_id": name, **fields}])


@given(st.lists(UPSERTS | DELETIONS | FEEDS, min_size=1, max_size=5), st.integers(0, 5))
@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_newer_of_feed_and_revision_counts(
    store: Path, products_file: Path, tmp_path_factory: pytest.TempPathFactory, model_folder: Path, steps: Any, at: int
) -> None:
    """Against a dictionary, and the answers are those of a store built of the same products."""
    folder = tmp_path_factory.mktemp("folded")
    shop = Shop(Path(shutil.copytree(store, folder / "store")), folder / "products.parquet")
    shutil.copy(products_file, shop.file)
    base, changed = products_of(shop), dict[str, tuple[int, Any]]()
    times = list[datetime]()
    for number, step in enumerate([*steps, ("feed", {})]):
        times.append(datetime.now(UTC))
        before = whole_rows(shop)
        if step[0] == "feed":
            feed, written = {name: base[name] for name in ("p3", "p4", "p5")} | step[1], min(at, number)
            write_feed(shop, feed)
            shop.refresh(feed_time=times[written], **OPTIONS)
            # Of what is older than a feed nothing is known any more.
            changed = {name: change for name, change in changed.items() if change[0] >= written}
            newer = {name: row for name, (_, row) in changed.items()}
            assert products_of(shop) == {name: row for name, row in (feed | newer).items() if row is not None}
            assert read_live(shop.opened).revision is None
        else:
            updated(shop.store, step)
            if whole_rows(shop).get(step[1]) != before.get(step[1]):
                changed[step[1]] = (number, step[2:] or None)
    write_live(shop)
    shop.require_as_built(model_folder, folder)


def test_the_report_and_the_manifest_count_what_was_folded(shop: Shop) -> None:
    updated(shop.store, ("upsert", "p1", "red boots", 1.5), ("upsert", "n1", "belt", 2.5))
    feed_time = datetime.now(UTC)
    updated(shop.store, ("delete", "p8"))
    report = shop.refresh(feed_time=feed_time, **OPTIONS)
    counts = {"folded": 3, "kept": 1, "replaced": 2, "carried": 0}
    assert report.to_dict()["revisions"] == counts
    assert read_version(shop.opened).changes["revisions"] == counts
    assert set(products_of(shop)) == {f"p{row}" for row in range(1, 8)}


def test_vectors_of_a_revision_are_not_encoded_again(shop: Shop, model_folder: Path, tmp_path: Path) -> None:
    updated(shop.store, ("upsert", "p1", "red boots", 1.5), ("upsert", "n1", "belt", 2.5))
    report = shop.refresh(feed_time=datetime.fromisoformat("2020-01-01"), **OPTIONS)
    assert (report.encoded, shop.encoded) == (0, [])
    write_live(shop)
    shop.require_as_built(model_folder, tmp_path)


def test_a_feed_like_the_revision_makes_it_part_of_a_version(shop: Shop) -> None:
    """So that there is room for the changes of the next day."""
    updated(shop.store, ("upsert", "p1", "red boots", 1.5))
    write_live(shop)
    report = shop.refresh(feed_time=datetime.now(UTC) + timedelta(days=1), **OPTIONS)
    assert (report.changes.none, report.encoded, read_live(shop.opened).revision) == (True, 0, None)
    assert report.published is not None
    assert shop.refresh().published is None


def test_a_revision_whose_changes_were_dropped_makes_no_version(shop: Shop) -> None:
    updated(shop.store, ("upsert", "p1", "red boots", 1.5))
    roll_back(shop.opened, 1, as_published=True)
    report = shop.refresh(feed_time=datetime(2020, 1, 1, tzinfo=UTC), **OPTIONS)
    assert (report.published, report.revisions) == (None, None)


def test_a_feed_that_is_given_twice_does_not_undo_what_is_newer(shop: Shop) -> None:
    """As after a crash, of which nobody knows whether the version went live."""
    updated(shop.store, ("upsert", "p1", "red boots", 1.5), ("upsert", "n1", "belt", 2.5), ("delete", "p8"))
    shop.refresh(feed_time=datetime(2020, 1, 1, tzinfo=UTC), **OPTIONS)
    products = products_of(shop)
    assert (products["p1"], products["n1"], "p8" in products) == (("red boots", 1.5), ("belt", 2.5), False)
    assert shop.refresh(feed_time=datetime(2020, 1, 1, tzinfo=UTC), **OPTIONS).published is None
    updated(shop.store, ("upsert", "n1", "belt", 9.5))
    shop.refresh(feed_time=datetime(2020, 1, 1, tzinfo=UTC), **OPTIONS)
    assert products_of(shop) == products | {"n1": ("belt", 9.5)}
    shop.refresh(feed_time=datetime.now(UTC), **OPTIONS)
    assert products_of(shop).keys() == {f"p{row}" for row in range(1, 9)}
    assert products_of(shop)["p1"][0] != "red boots"


STEPS: dict[str, tuple[Any, str]] = {
    "before the rows are written": (refresh, "write_rows"),
    "before the version is made": (refresh, "publish"),
    "before the swap": (going_live, "make_live"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("takes_over", [False, True], ids=["same model", "another model"])
def test_what_is_upserted_during_a_refresh_is_carried_over(
    shop: Shop, other_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, takes_over: bool
) -> None:
    updated(shop.store, ("upsert", "p2", "green socks", 9.5))
    shop.set("p3", title="red silk shirt")
    upserts_before(monkeypatch, shop.store, *STEPS[step])
    options = {"model": other_model_folder} if takes_over else {}
    report = shop.refresh(feed_time=datetime.now(UTC), **options, **OPTIONS)
    assert report.published is not None
    products = products_of(shop)
    assert (products["p1"], products["n1"]) == (("red boots", 1.5), ("belt", 2.5))
    assert products["p5"][1] == 77.5
    assert "p8" not in products
    assert products["p3"][0] == "red silk shirt"
    assert report.revisions is not None
    assert (report.revisions.replaced, report.revisions.carried) == (1, 4)
    assert not [finding for finding in examine(shop.store) if finding.severity is Severity.ERROR]
    answer = shop.answer()
    write_live(shop)
    assert shop.refresh(feed_time=datetime.now(UTC), **OPTIONS).encoded == 0
    require_same_answer(shop.answer(), answer | {"version": 3, "revision": 0})


def upserts_before(monkeypatch: pytest.MonkeyPatch, store: Path, owner: Any, name: str) -> None:
    """Change products just before a step: those with other texts, new ones, other columns, deleted ones."""
    function, changes = (
        getattr(owner, name),
        [
            [("upsert", "p1", "red boots", 1.5)],
            [("upsert", "n1", "belt", 2.5), ("delete", "p8")],
        ],
    )

    def call(*arguments: Any, **options: Any) -> Any:
        if changes:
            updated(store, *changes.pop(0))
            with Updater(store, device="cpu") as updater:
                updater.upsert([{"product_id": "p5", "price": 77.5}])
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, call)
    if name != "make_live":  # a step that comes once
        both = [step for part in changes for step in part]
        changes[:] = [both]


def test_changes_that_were_dropped_during_a_refresh_are_a_conflict(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    updated(shop.store, ("upsert", "p2", "green socks", 9.5))
    shop.set("p3", title="red silk shirt")

    def dropped(*arguments: Any, **options: Any) -> Any:
        store = shop.opened
        live = read_live(store)
        assert live.revision is not None
        publish_revision(store, Revision.without_changes(live.revision.number + 1, live.revision.created), known=live)
        return make_live(*arguments, **options)

    monkeypatch.setattr(going_live, "make_live", dropped)
    with pytest.raises(Conflict, match="were dropped meanwhile"):
        shop.refresh(**OPTIONS)


def test_a_build_takes_the_feed_alone(shop: Shop, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    updated(shop.store, ("upsert", "p2", "green socks", 9.5))
    upserts_before(monkeypatch, shop.store, refresh, "publish")
    build_index(model=model_folder, products=shop.file, store=shop.store, **OPTIONS)
    products = products_of(shop)
    assert products["p2"][0] != "green socks"
    assert (products["p1"], products["p5"][1]) == (("red boots", 1.5), 77.5)


def test_a_columns_change_during_a_refresh_keeps_what_fits(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The feed has a column that the upserted products lack, and another type."""
    upserts_before(monkeypatch, shop.store, refresh, "publish")
    shop.write(shop.products.with_columns(pl.col("price").cast(pl.Float32), stock=pl.lit(5)))
    shop.refresh(**OPTIONS)
    rows = {row["product_id"]: row for row in shop.rows().iter_rows(named=True)}
    assert (rows["n1"]["price"], rows["n1"]["stock"], rows["p4"]["stock"]) == (2.5, None, 5)
    assert shop.refresh(feed_time=datetime(2020, 1, 1, tzinfo=UTC), **OPTIONS).encoded == 0


def steady(change: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    swap, left = going_live.make_live, [count]

    def slow(*arguments: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            change()
        return swap(*arguments, **options)

    monkeypatch.setattr(going_live, "make_live", slow)


def test_a_stream_of_upserts_does_not_starve_a_refresh(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try carries over only what came since the last one, so nothing is encoded."""
    shop.set("p3", title="red silk shirt")
    with Updater(shop.store, device="cpu") as updater:
        prices = iter(range(1, 100))
        steady(lambda: updater.upsert([{"product_id": "p1", "price": float(next(prices))}]), monkeypatch, 20)
        report = shop.refresh(**OPTIONS)
    assert report.published is not None
    assert shop.encoded == ["p3"]
    assert products_of(shop)["p1"][1] == 20.0
    revision = read_live(shop.opened).revision
    assert revision is not None
    assert len(revision.segments) <= 2
