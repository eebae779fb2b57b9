"""A refresh brings what answers up to date, encodes only what must be, and publishes all of it or nothing."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import polars as pl
import pytest

from indexer.refresh import publication, writing
from indexer.refresh.build import build_index
from indexer.refresh.changes import ChangeCounts
from indexer.refresh.encoding import EncodingJob, encode_here
from indexer.refresh.gates import Gate, GateLimits
from indexer.refresh.refresh import Refreshed, refresh
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.shards import Shard
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.product_table import OURS
from indexer.versions.live import live_number, read_live, version_numbers
from indexer.versions.pruning import KeepPolicy
from indexer.versions.rollback import roll_back
from indexer.versions.version import read_version
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import Conflict, InvalidData, NotFound, QualityGateFailed
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import model_id_of
from ubm_embed.progress import Progress

SESSION = Session((Interaction(Action.VIEW, product_id="p1"), Interaction(Action.SEARCH, query="red")))
# Eight products are few: a changed one moves the mean and the neighbours more than any limit allows.
LOOSE = GateLimits(most_lost=0.5, least_overlap=0, least_overlap_of_another_model=0, most_shift=2)
SETTINGS = RefreshSettings(gates=LOOSE)


@dataclass
class Shop:
    """A store and the catalogue that it is refreshed from, one product of which is changed at a time."""

    store: Path
    file: Path
    encoded: list[str] = field(default_factory=list)

    def write(self, frame: pl.DataFrame) -> None:
        frame.write_parquet(self.file)

    @property
    def products(self) -> pl.DataFrame:
        return pl.read_parquet(self.file)

    def set(self, product_id: str, **values: Any) -> None:
        where = pl.col("product_id") == product_id
        self.write(
            self.products.with_columns(
                pl.when(where).then(pl.lit(value)).otherwise(name).alias(name) for name, value in values.items()
            )
        )

    def drop(self, *product_ids: str) -> None:
        self.write(self.products.filter(~pl.col("product_id").is_in(product_ids)))

    def add(self, product_id: str, title: str) -> None:
        new = self.products.head(1).with_columns(product_id=pl.lit(product_id), title=pl.lit(title))
        self.write(pl.concat([self.products, new]))

    def refresh(self, **options: Any) -> Refreshed:
        """Refresh; `encoded` then has the ids of what the model read for it."""
        self.encoded.clear()
        return refresh(**({"products": self.file, "store": self.store, "settings": SETTINGS} | options))

    @property
    def opened(self) -> EmbeddingStore:
        return EmbeddingStore.open(self.store)

    def rows(self, number: int | None = None) -> pl.DataFrame:
        """Rows of a version with their vectors, by id."""
        table, version = self.opened.table, read_version(self.opened, number).table_version
        rows = table.read(version)
        vectors = table.vectors(version, np.arange(rows.height))
        return rows.with_columns(pl.Series("vector", vectors)).sort("product_id")

    def files(self) -> dict[Path, tuple[bytes, int]]:
        """Every file, with when it was written."""
        return {one: (one.read_bytes(), one.stat().st_mtime_ns) for one in self.store.rglob("*") if one.is_file()}

    def answer(self, **options: Any) -> dict[str, Any]:
        found = Retriever.open(self.store, **options).recommend(SESSION, 8, rules=Rules(exclude_seen=False)).to_dict()
        del found["took_ms"]
        return found

    def popularity(self) -> dict[str, int]:
        return dict(self.rows().select("product_id", "popularity").iter_rows())


@pytest.fixture
def shop(store: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The toy shop with one version that is live."""
    shop, embed = Shop(store, products_file), Embedder.embed_products

    def counted(self: Embedder, products: pl.DataFrame, **options: Any) -> Any:
        shop.encoded.extend(products["product_id"])
        return embed(self, products, **options)

    monkeypatch.setattr(Embedder, "embed_products", counted)
    return shop


def require_as_built(shop: Shop, model_folder: Path, tmp_path: Path) -> None:
    """The live version has the rows, the vectors and the answers of one that was built from the same catalogue."""
    build_index(model=model_folder, products=shop.file, store=tmp_path / "built", allow=set(Gate))
    built = Shop(tmp_path / "built", shop.file)
    found, expected = shop.rows(), built.rows()
    assert found.drop("vector", "popularity").equals(expected.drop("vector", "popularity"))
    np.testing.assert_allclose(found["vector"].to_numpy(), expected["vector"].to_numpy(), atol=1e-6)
    matches, same = shop.answer()["matches"], built.answer()["matches"]
    assert [match["product_id"] for match in matches] == [match["product_id"] for match in same]
    for match, other in zip(matches, same, strict=True):
        assert match == other | {"score": match["score"]}
        assert match["score"] == pytest.approx(other["score"], abs=1e-5)


def test_each_kind_of_change_is_counted_and_answers(shop: Shop, model_folder: Path, tmp_path: Path) -> None:
    shop.add("p9", "red leather boots")
    shop.set("p2", title="green running shoes")
    shop.set("p3", price=99.0)
    shop.drop("p7")
    found = shop.refresh()
    assert found.changes == ChangeCounts(new=1, changed=1, updated=1, unchanged=5, removed=1)
    assert (found.base, found.written, found.encoded, found.resumed, found.reason) == (1, 3, 2, 0, None)
    assert sorted(shop.encoded) == ["p2", "p9"]
    version = read_version(shop.opened)
    assert found.published == version
    assert (version.version, version.base, version.products) == (2, 1, 8)
    assert version.changes == {"new": 1, "changed": 1, "updated": 1, "unchanged": 5, "removed": 1, "encoded": 2}
    assert set(version.gates) == set(Gate) - {Gate.LATENCY}, "which nobody asked for"
    matches = {match["product_id"]: match for match in shop.answer()["matches"]}
    assert matches.keys() == {"p1", "p2", "p3", "p4", "p5", "p6", "p8", "p9"}
    assert (matches["p2"]["title"], matches["p3"]["price"]) == ("green running shoes", 99.0)
    require_as_built(shop, model_folder, tmp_path)


def test_the_version_before_answers_as_before(shop: Shop) -> None:
    before, reader = shop.answer(), Retriever.open(shop.store)
    shop.set("p2", title="green running shoes")
    shop.drop("p7")
    shop.refresh()
    assert shop.answer(version=1) == before
    assert reader.recommend(SESSION, 8, rules=Rules(exclude_seen=False)).to_dict()["matches"] == before["matches"]
    assert shop.answer()["matches"] != before["matches"]


def test_a_price_is_written_and_nothing_encoded(shop: Shop) -> None:
    before = shop.rows()
    shop.write(shop.products.with_columns(price=pl.col("price") + 100))
    found = shop.refresh(settings=None)  # no gate minds
    assert found.changes == ChangeCounts(new=0, changed=0, updated=8, unchanged=0, removed=0)
    assert (found.written, found.encoded, shop.encoded) == (8, 0, [])
    after = shop.rows()
    assert after["price"].to_list() == [100.0 + row for row in range(8)]
    assert after.drop("price").equals(before.drop("price"))


def test_twice_changes_nothing(shop: Shop) -> None:
    shop.set("p2", title="green running shoes")
    assert shop.refresh().published is not None
    before = shop.files()
    again = shop.refresh()
    assert (again.base, again.published, again.written, again.encoded, shop.encoded) == (2, None, 0, 0, [])
    assert again.changes == ChangeCounts(new=0, changed=0, updated=0, unchanged=8, removed=0)
    assert {file: data for file, (data, _) in shop.files().items() if file.name != ".lock"} == {
        file: data for file, (data, _) in before.items() if file.name != ".lock"
    }


def test_the_order_of_the_catalogue_changes_nothing(shop: Shop) -> None:
    shop.write(shop.products.reverse())
    assert shop.refresh().published is None


def test_a_removal_alone_is_a_version(shop: Shop, model_folder: Path, tmp_path: Path) -> None:
    shop.drop("p1", "p7")
    found = shop.refresh()
    assert found.changes == ChangeCounts(new=0, changed=0, updated=0, unchanged=6, removed=2)
    assert (found.written, found.encoded, shop.encoded) == (0, 0, [])
    assert read_version(shop.opened).products == 6
    require_as_built(shop, model_folder, tmp_path)


def test_many_refreshes_end_where_a_build_does(shop: Shop, model_folder: Path, tmp_path: Path) -> None:
    for night in range(5):
        shop.set(f"p{night + 1}", price=100.0 + night)
        shop.set(f"p{night + 2}", title=f"boots of night {night}")
        shop.drop(f"p{8 - night}") if night % 2 else shop.add(f"n{night}", f"belt {night}")
        assert shop.refresh().published is not None
    assert version_numbers(shop.opened) == [5, 6]
    require_as_built(shop, model_folder, tmp_path)


def test_popularity_stays_without_interactions_and_is_counted_anew_with_them(
    shop: Shop, interactions_file: Path
) -> None:
    first = {"p1": 0, "p2": 1, "p3": 3, "p4": 0, "p5": 1, "p6": 0, "p7": 0, "p8": 0}
    assert shop.popularity() == first
    shop.set("p3", title="red silk shirt")
    shop.set("p2", price=99.0)
    shop.add("p9", "belt")
    shop.refresh()
    assert shop.popularity() == first | {"p9": 0}
    log = pl.read_parquet(interactions_file)
    log.with_columns(product_id=pl.lit("p9")).write_parquet(interactions_file)
    found = shop.refresh(interactions=interactions_file)
    assert shop.popularity() == dict.fromkeys(first, 0) | {"p9": 7}
    assert found.changes == ChangeCounts(new=0, changed=0, updated=4, unchanged=5, removed=0)
    assert shop.encoded == []
    answer = Retriever.open(shop.store).recommend(Session(()), 8)
    assert [match.product_id for match in answer.matches] == ["p9"]


@pytest.mark.parametrize("change", ["new", "gone", "another type"])
def test_other_columns_write_all_and_encode_nothing(shop: Shop, change: str) -> None:
    before = shop.rows()
    price = pl.col("price")
    frames = {
        "new": shop.products.with_columns(stock=pl.lit(5)),
        "gone": shop.products.drop("price"),
        "another type": shop.products.with_columns(price.cast(pl.Int64)),
    }
    shop.write(frames[change])
    found = shop.refresh()
    assert found.reason is not None
    assert ("stock" if change == "new" else "price") in found.reason
    assert (found.written, found.encoded, shop.encoded) == (8, 0, [])
    after = shop.rows()
    assert after.select(frames[change].columns).equals(frames[change])
    for name in ("vector", "popularity"):
        assert after[name].equals(before[name])
    assert shop.refresh().published is None


def test_another_model_encodes_everything(shop: Shop, other_model_folder: Path, tmp_path: Path) -> None:
    before = shop.answer()
    shop.set("p2", price=99.0)
    found = shop.refresh(model=other_model_folder)
    assert (found.written, found.encoded, sorted(shop.encoded)) == (8, 8, [f"p{row}" for row in range(1, 9)])
    assert found.changes == ChangeCounts(new=0, changed=0, updated=1, unchanged=7, removed=0)
    assert found.reason == "another model made version 1"
    assert shop.answer()["model_id"] == model_id_of(other_model_folder)
    assert shop.popularity()["p3"] == 3
    assert shop.answer(version=1) == before
    require_as_built(shop, other_model_folder, tmp_path)
    assert shop.refresh(model=other_model_folder).published is None


def test_the_model_of_the_live_version_encodes_nothing_anew(shop: Shop, model_folder: Path) -> None:
    assert shop.refresh(model=model_folder).published is None
    shop.set("p2", title="green running shoes")
    shop.refresh(model=model_folder)
    assert shop.encoded == ["p2"]


def test_the_stores_copy_of_the_model_is_enough(shop: Shop, model_folder: Path) -> None:
    shutil.rmtree(model_folder)
    shop.set("p2", title="green running shoes")
    assert shop.refresh().encoded == 1


def test_a_session_model_is_refreshed_with_its_product_tower(
    shop: Shop, session_model_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    shop.refresh(model=session_model_folder)
    shop.set("p2", title="green running shoes")
    shop.refresh()
    assert shop.encoded == ["p2"]
    version = read_version(shop.opened)
    assert version.model_id == model_id_of(session_model_folder)
    assert version.product_model_id == model_id_of(model_folder)
    require_as_built(shop, session_model_folder, tmp_path)


@pytest.mark.parametrize("case", ["changes", "nothing", "columns", "model", "gate"])
def test_a_dry_run_tells_and_writes_nothing_at_all(shop: Shop, other_model_folder: Path, case: str) -> None:
    if case == "changes":
        shop.set("p2", title="green running shoes")
        shop.set("p3", price=99.0)
        shop.drop("p8")
    elif case == "columns":
        shop.write(shop.products.drop("price"))
    elif case == "gate":
        shop.drop("p3", "p4", "p5", "p6", "p7", "p8")
    before = (shop.files(), sorted(shop.store.rglob("*")))
    options = {"model": other_model_folder} if case == "model" else {}
    told = shop.refresh(dry_run=True, **options)
    assert (shop.files(), sorted(shop.store.rglob("*"))) == before
    assert shop.encoded == []
    assert told.published is None
    if case == "gate":
        return
    done = shop.refresh(**options)
    assert (told.base, told.changes, told.written, told.encoded, told.reason) == (
        done.base,
        done.changes,
        done.written,
        done.encoded,
        done.reason,
    )


def test_a_dry_run_does_not_wait_for_a_writer(shop: Shop) -> None:
    shop.set("p2", title="green running shoes")
    with shop.opened.write_lock():
        assert shop.refresh(dry_run=True).encoded == 1
        with pytest.raises(Conflict, match="another process is writing"):
            shop.refresh()


def test_a_catalogue_that_lost_much_is_refused_before_anything_is_encoded(shop: Shop) -> None:
    before = shop.answer()
    shop.set("p1", title="green running shoes")
    shop.drop("p3", "p4", "p5", "p6", "p7")
    lost = r"gate 'rows': the catalogue lacks 5 of the 8 products .* expected at most 0\.5; .*--allow rows"
    with pytest.raises(QualityGateFailed, match=lost):
        shop.refresh()
    assert shop.encoded == []
    assert shop.answer() == before
    assert not (shop.store / "staging").exists()


@pytest.mark.parametrize(
    ("limits", "gate"),
    [
        ({"most_lost": 0.2}, Gate.ROWS),
        ({"least_overlap": 1.0}, Gate.NEIGHBOURS),
        ({"most_shift": 0.0}, Gate.CENTROID),
        ({"most_uniformity": -50.0}, Gate.UNIFORMITY),
    ],
)
def test_a_gate_that_fails_leaves_what_is_live_until_it_is_allowed(
    shop: Shop, limits: dict[str, float], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ten neighbours of eight products are all of them.
    monkeypatch.setattr(publication, "_NEAREST", 3)
    shop.set("p1", title="leather")
    shop.set("p2", title="socks of leather", category="belts")
    shop.drop("p7", "p8")
    before, live = shop.answer(), (shop.store / "live.json").read_bytes()
    loose = {"most_lost": 0.5, "least_overlap": 0.0, "most_shift": 2.0}
    settings = RefreshSettings(gates=GateLimits(**loose | limits))
    with pytest.raises(QualityGateFailed, match=f"^gate '{gate}': .*--allow {gate}[^']*$"):
        shop.refresh(settings=settings)
    with pytest.raises(QualityGateFailed, match=f"gate '{gate}'"):
        shop.refresh(settings=settings, allow=set(Gate) - {gate})
    assert (shop.store / "live.json").read_bytes() == live
    assert shop.answer() == before
    assert version_numbers(shop.opened) == [1]
    found = shop.refresh(settings=settings, allow={gate})
    assert found.published is not None
    assert not found.published.gates[gate]["passed"]
    assert all(other["passed"] for name, other in found.published.gates.items() if name != gate)
    assert live_number(shop.opened) == found.published.version == 2


def test_what_was_encoded_before_a_gate_failed_is_not_encoded_again(shop: Shop) -> None:
    shop.set("p1", title="leather")
    strict = RefreshSettings(gates=GateLimits(most_shift=0))
    with pytest.raises(QualityGateFailed, match="centroid"):
        shop.refresh(settings=strict)
    assert shop.encoded == ["p1"]
    found = shop.refresh(settings=strict, allow={Gate.CENTROID, Gate.NEIGHBOURS})
    assert (found.encoded, found.resumed, shop.encoded) == (1, 1, [])


@pytest.mark.parametrize("value", [np.nan, 0.0, 2.0])
def test_vectors_that_are_none_are_refused_whatever_is_allowed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    embed, before = Embedder.embed_products, shop.answer()
    monkeypatch.setattr(Embedder, "embed_products", lambda *args, **options: embed(*args, **options) * value)
    shop.set("p2", title="green running shoes")
    with pytest.raises(QualityGateFailed, match=r"gate 'vectors': 1 of 1 vectors .* that of product 'p2'"):
        shop.refresh(allow=set(Gate))
    monkeypatch.undo()
    assert shop.answer() == before
    assert shop.refresh().published is not None


def failing_at(shard: int) -> Callable[[EncodingJob, list[Shard], Progress], None]:
    """An engine that stops before the shard of this number, counted from 1."""

    def engine(job: EncodingJob, shards: list[Shard], progress: Progress) -> None:
        encode_here(job, shards[: shard - 1], progress)
        raise OSError("power cut")

    return engine


def test_a_refresh_that_stopped_goes_on_at_the_shard_where_it_did(
    shop: Shop, other_model_folder: Path, tmp_path: Path
) -> None:
    settings, before = RefreshSettings(shard_rows=2, gates=LOOSE), shop.answer()
    with pytest.raises(OSError, match="power cut"):
        shop.refresh(model=other_model_folder, settings=settings, engine=failing_at(3))
    assert shop.encoded == ["p1", "p2", "p3", "p4"]
    assert shop.answer() == before
    found = shop.refresh(model=other_model_folder, settings=settings)
    assert shop.encoded == ["p5", "p6", "p7", "p8"]
    assert (found.encoded, found.resumed) == (8, 4)
    assert not (shop.store / "staging").exists()
    require_as_built(shop, other_model_folder, tmp_path)


def test_what_is_resumed_is_of_the_catalogue_as_it_is_now(shop: Shop, other_model_folder: Path, tmp_path: Path) -> None:
    settings = RefreshSettings(shard_rows=2, gates=LOOSE)
    with pytest.raises(OSError, match="power cut"):
        shop.refresh(model=other_model_folder, settings=settings, engine=failing_at(4))
    shop.set("p1", title="green running shoes")
    shop.set("p4", price=99.0)
    found = shop.refresh(model=other_model_folder, settings=settings)
    assert shop.encoded == ["p1", "p2", "p3", "p4", "p7", "p8"]
    assert (found.encoded, found.resumed) == (8, 2)
    require_as_built(shop, other_model_folder, tmp_path)


def test_rows_of_a_refresh_that_stopped_are_not_taken_for_another_models(
    shop: Shop, other_model_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    settings = RefreshSettings(shard_rows=2, gates=LOOSE)
    with pytest.raises(OSError, match="power cut"):
        shop.refresh(model=other_model_folder, settings=settings, engine=failing_at(3))
    shop.set("p2", title="green running shoes")
    found = shop.refresh(settings=settings)
    assert (shop.encoded, found.resumed) == (["p2"], 0)
    require_as_built(shop, model_folder, tmp_path)


def test_a_shard_whose_rows_are_gone_is_encoded_again(shop: Shop) -> None:
    settings = RefreshSettings(shard_rows=2, gates=LOOSE)
    shop.write(shop.products.with_columns(title=pl.col("title") + " new"))
    with pytest.raises(OSError, match="power cut"):
        shop.refresh(settings=settings, engine=failing_at(4))
    record = next(iter(sorted((shop.store / "staging").rglob("*.json"))))
    (fragment,) = json.loads(record.read_text())["fragments"]
    (data,) = json.loads(fragment)["files"]
    (shop.store / "products.lance" / "data" / data["path"]).unlink()
    assert shop.refresh(settings=settings).resumed == 4
    assert len(shop.encoded) == 4


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_catalogue_of_any_kind_refreshes(shop: Shop, kind: str) -> None:
    """Of the same columns as the one before, which had them from Parquet."""
    attributes = [
        json.dumps({pair["name"]: pair["value"] for pair in row}) for row in shop.products["attributes"].to_list()
    ]
    frame = shop.products.with_columns(pl.Series("attributes", attributes), price=pl.col("price") + 0.5)
    file = shop.file.with_name(f"other.{kind}")
    {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[kind](file)
    found = shop.refresh(products=file)
    assert found.changes == ChangeCounts(new=0, changed=0, updated=8, unchanged=0, removed=0)
    assert (found.reason, shop.encoded) == (None, [])
    assert read_version(shop.opened).source == f"other.{kind}"
    assert shop.rows()["price"].to_list() == [0.5 + row for row in range(8)]
    assert shop.refresh(products=file).published is None


def test_a_catalogue_with_a_mistake_changes_nothing(shop: Shop) -> None:
    before = shop.answer()
    shop.write(pl.concat([shop.products, shop.products.head(1)]))
    with pytest.raises(InvalidData, match="an id given once, got 'p1'"):
        shop.refresh()
    shop.write(shop.products.head(8).with_columns(row_hash=1))
    with pytest.raises(InvalidData, match="'row_hash'"):
        shop.refresh()
    assert shop.answer() == before


def test_a_catalogue_that_changes_while_it_is_read_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    before, cut = shop.answer(), writing.cut

    def changed(*arguments: Any, **options: Any) -> Any:
        shop.set("p5", title="another again")
        return cut(*arguments, **options)

    shop.set("p2", title="green running shoes")
    with monkeypatch.context() as patched:
        patched.setattr(writing, "cut", changed)
        with pytest.raises(Conflict, match=r"products\.parquet changed while it was read"):
            shop.refresh()
    assert shop.answer() == before
    assert shop.refresh().encoded == 2


def test_what_is_published_meanwhile_is_not_taken_back(shop: Shop) -> None:
    """As by a rollback, which does not wait for the lock."""
    shop.set("p2", price=99.0)
    shop.refresh()

    def engine(job: EncodingJob, shards: list[Shard], progress: Progress) -> None:
        (shop.store / "live.json").write_text('{"version": 1, "history": []}\n')
        encode_here(job, shards, progress)

    shop.set("p2", title="green running shoes")
    with pytest.raises(Conflict, match="nothing was published"):
        shop.refresh(engine=engine)
    assert live_number(shop.opened) == 1
    found = shop.refresh()
    assert (found.base, shop.encoded) == (1, ["p2"])
    assert found.published is not None
    assert found.published.version == live_number(shop.opened) > 3


def test_after_a_rollback_a_refresh_goes_on_from_what_is_live(shop: Shop, model_folder: Path, tmp_path: Path) -> None:
    shop.set("p2", title="green running shoes")
    shop.drop("p7")
    shop.refresh()
    (shop.store / "live.json").write_text('{"version": 1, "history": []}\n')
    shop.set("p3", price=99.0)
    found = shop.refresh()
    assert found.published is not None
    assert (found.base, found.published.version) == (1, 3)
    assert found.changes == ChangeCounts(new=0, changed=1, updated=1, unchanged=5, removed=1)
    assert version_numbers(shop.opened) == [1, 3]
    require_as_built(shop, model_folder, tmp_path)


def test_old_versions_are_pruned_as_the_settings_say(shop: Shop) -> None:
    pruned = []
    for night in range(4):
        shop.set("p3", price=100.0 + night)
        found = shop.refresh(settings=RefreshSettings(gates=LOOSE, keep=KeepPolicy(versions=3)))
        pruned.append(found.pruned)
    assert pruned == [(), (), (1,), (2,)]
    assert found.freed > 0
    assert version_numbers(shop.opened) == [3, 4, 5]
    assert (read_live(shop.opened).version, read_live(shop.opened).history[:2]) == (5, (4, 3))
    assert shop.rows(3)["price"][2] == 101.0


def test_a_summary_is_json(shop: Shop) -> None:
    shop.set("p2", title="green running shoes")
    told = json.loads(json.dumps(shop.refresh().to_dict()))
    assert {name: told[name] for name in ("base", "version", "new", "changed", "updated", "unchanged", "removed")} == {
        "base": 1,
        "version": 2,
        "new": 0,
        "changed": 1,
        "updated": 0,
        "unchanged": 7,
        "removed": 0,
    }
    assert (told["written"], told["encoded"], told["resumed"], told["reason"]) == (1, 1, 0, None)
    assert set(told["gates"]) == set(Gate) - {Gate.LATENCY}
    assert all(seconds >= 0 for seconds in told["seconds"].values())
    again = json.loads(json.dumps(shop.refresh().to_dict()))
    assert (again["base"], again["version"], again["gates"]) == (2, None, {})


def age(shop: Shop) -> None:
    """Make the store one that software before refreshes wrote: no hashes, no history, no pins, a short manifest."""
    opened, version = shop.opened, read_version(shop.opened)
    rows, table = shop.rows(), shop.store / "products.lance"
    vectors = opened.table.vectors(version.table_version, np.arange(rows.height))
    order = opened.table.read(version.table_version)
    shutil.rmtree(table)
    data = order.with_columns(pl.Series("vector", vectors, pl.Array(pl.Float32, vectors.shape[1]))).to_arrow()
    written = lancedb.connect(shop.store).create_table("products", data=data)
    assert not {"text_hash", "row_hash"} & set(written.schema.names)
    manifest = shop.store / "versions" / "1" / "manifest.json"
    later = ("product_model_id", "parameters", "base", "changes", "uniformity", "alignment", "gates", "files")
    document = json.loads(manifest.read_text()) | {"table_version": written.version}
    manifest.write_text(json.dumps({name: value for name, value in document.items() if name not in later}))
    (shop.store / "live.json").write_text('{"version": 1}\n')


def test_a_store_of_older_software_answers_and_is_refreshed(shop: Shop, model_folder: Path, tmp_path: Path) -> None:
    before = shop.answer()
    age(shop)
    assert shop.answer() == before
    shop.set("p3", price=99.0)
    shop.drop("p7")
    found = shop.refresh()
    assert found.reason == "version 1 is of older software"
    assert (found.base, found.written, found.encoded) == (1, 7, 7)
    assert found.changes.removed == 1
    assert shop.popularity() == {"p1": 0, "p2": 1, "p3": 3, "p4": 0, "p5": 1, "p6": 0, "p8": 0}
    assert shop.answer(version=1) == before
    require_as_built(shop, model_folder, tmp_path)
    again = shop.refresh()
    assert (again.published, again.encoded) == (None, 0)
    assert shop.answer(version=1) == before
    shop.set("p3", price=98.0)
    assert shop.refresh().pruned == (1,)
    assert set(OURS) <= set(shop.opened.table.schema(read_version(shop.opened).table_version).names)


def test_a_store_of_older_software_needs_no_refresh_to_be_built_anew(shop: Shop, model_folder: Path) -> None:
    before = shop.answer()
    age(shop)
    build_index(model=model_folder, products=shop.file, store=shop.store)
    assert shop.answer()["matches"] == before["matches"]
    assert shop.answer(version=1) == before


def test_what_is_missing_is_named_and_changes_nothing(shop: Shop, tmp_path: Path) -> None:
    before = shop.files()
    with pytest.raises(NotFound, match="no such file"):
        shop.refresh(products=tmp_path / "none.csv")
    with pytest.raises(NotFound):
        shop.refresh(model=tmp_path / "none")
    with pytest.raises(NotFound, match="build-index"):
        shop.refresh(store=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert {file: data for file, data in shop.files().items() if file.name != ".lock"} == {
        file: data for file, data in before.items() if file.name != ".lock"
    }


def test_a_model_for_another_task_is_refused(shop: Shop, task_folders: dict[Task, Path]) -> None:
    with pytest.raises(InvalidData, match="fine-tuned for pip, not for nip"):
        shop.refresh(model=task_folders[Task.PIP])
    assert live_number(shop.opened) == 1


class TestColumnsAreNotMixed:
    """Rows are written for the version that they join, whatever else the table had last."""

    def two_numbers(self, shop: Shop, *names: str) -> pl.DataFrame:
        """The catalogue with two columns of numbers, in this order: stock is 1, weight is 2."""
        values = {"stock": 1.0, "weight": 2.0, "size": 3.0}
        return shop.products.select("product_id", "title", "category", "attributes").with_columns(
            **{name: pl.lit(values[name]) for name in names}
        )

    def renamed(self, frame: pl.DataFrame, night: int) -> pl.DataFrame:
        """The same with another text of one product."""
        named = pl.col("product_id") == "p2"
        return frame.with_columns(title=pl.when(named).then(pl.lit(f"green shoes {night}")).otherwise("title"))

    def test_a_feed_with_other_column_order_changes_nothing(self, shop: Shop) -> None:
        shop.write(self.two_numbers(shop, "stock", "weight"))
        shop.refresh()
        shop.write(self.two_numbers(shop, "weight", "stock"))
        assert shop.refresh().published is None
        shop.write(self.renamed(self.two_numbers(shop, "weight", "stock"), 1))
        found = shop.refresh()
        assert found.published is not None
        assert found.written == 1
        rows = shop.rows(found.published.version)
        assert set(rows["stock"]) == {1.0}
        assert set(rows["weight"]) == {2.0}

    @pytest.mark.parametrize("other", [("weight", "stock"), ("size", "stock", "weight"), ("stock",)])
    def test_after_a_rollback_over_other_columns(self, shop: Shop, other: tuple[str, ...]) -> None:
        shop.write(self.two_numbers(shop, "stock", "weight"))
        base = shop.refresh().published
        # A whole rewrite, with other columns or in another order.
        shop.write(self.renamed(self.two_numbers(shop, *other), 1).with_columns(more=pl.lit(1.0)))
        shop.refresh()
        assert base is not None
        roll_back(shop.opened, base.version)
        shop.write(self.renamed(self.two_numbers(shop, "stock", "weight"), 2))
        found = shop.refresh()
        assert found.published is not None
        assert found.reason is None
        rows = shop.rows(found.published.version)
        assert set(rows["stock"]) == {1.0}
        assert set(rows["weight"]) == {2.0}
        assert "more" not in rows.columns
        assert "green shoes 2" in rows["title"].to_list()


def test_a_kept_staging_of_another_model_outlives_a_nightly_refresh(shop: Shop, other_model_folder: Path) -> None:
    settings = RefreshSettings(shard_rows=2, gates=LOOSE)
    with pytest.raises(OSError, match="power cut"):
        shop.refresh(settings=settings, model=other_model_folder, engine=failing_at(3))
    assert shop.refresh(settings=settings).published is None  # the night job, of the model that is live
    assert shop.refresh(settings=settings, model=other_model_folder).resumed == 4
