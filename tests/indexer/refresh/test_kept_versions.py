"""A version takes over the index, the probes and the hashes of the one before, here with vectors made by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from indexer.catalogue.id_hashes import id_hashes
from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.index.index_request import IndexRequest
from indexer.index.vector_index import VectorIndex
from indexer.refresh.gates import Gate
from indexer.refresh.plan import ChangeCounts
from indexer.refresh.probes import PROBES_FILE, Probes
from indexer.refresh.publication import publish
from indexer.refresh.release_candidate import ReleaseCandidate
from indexer.refresh.row_signatures import row_signatures
from indexer.refresh.settings import GateLimits, RefreshSettings
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.product_table import ProductTable
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH, table_schema
from indexer.versions.live import make_live, read_live
from indexer.versions.version import StoreVersion, manifest_name, read_version
from tests.indexer.index.toy_vectors import unit_vectors
from ubm_embed.errors import QualityGateFailed

COUNT = 500
LISTS = IndexRequest(index="ivf-fp16", recall=0.9)
ANY = GateLimits(min_overlap=0, max_shift=2, max_uniformity=0, max_lost=1)
SETTINGS = RefreshSettings(gates=ANY, gate_queries=40)

# Products by id: the number of the text, from which the vector follows.
Shop = dict[str, int]


def vectors_of(shop: Shop) -> np.ndarray:
    return TEXTS[list(shop.values())]


TEXTS = unit_vectors(4 * COUNT)
SHOP: Shop = {f"p{row}": row for row in range(COUNT)}


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    """A store without a version."""
    return EmbeddingStore.from_uri(tmp_path / "store")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a version of `SHOP`."""
    folder = tmp_path_factory.mktemp("published")
    store = EmbeddingStore.from_uri(folder)
    publish(store, candidate(store, SHOP), SETTINGS)
    return folder


@pytest.fixture
def kept(published: Path, tmp_path: Path) -> EmbeddingStore:
    """A copy of it."""
    return EmbeddingStore.from_uri(shutil.copytree(published, tmp_path / "kept"))


def candidate(store: EmbeddingStore, shop: Shop, **changes: Any) -> ReleaseCandidate:
    """A version of the table with these products, in their order."""
    texts = [number.to_bytes(16, "little") for number in shop.values()]
    products = pl.DataFrame(
        {"product_id": list(shop), POPULARITY: 0, TEXT_HASH: texts, ROW_HASH: list(shop.values())},
        schema={"product_id": pl.String, POPULARITY: pl.Int64, TEXT_HASH: pl.Binary, ROW_HASH: pl.UInt64},
    )
    fragments = store.table.write_fragments(products, vectors_of(shop), overwrite=True)
    live = read_live(store) if store.storage.exists("live.json") else None
    made = ReleaseCandidate(
        table_version=store.table.replace(fragments, table_schema(products, TEXTS.shape[1]), model_id="m1"),
        model_id="m1",
        product_model_id=None,
        source="products.parquet",
        changes=ChangeCounts(new=len(shop), changed=0, updated=0, unchanged=0, removed=0),
        encoded=len(shop),
        base=read_version(store, live.version) if live else None,
        live=live,
        takes_over_vectors=True,
        signatures=row_signatures(
            id_hashes(shop), np.frombuffer(b"".join(texts), "V16"), np.array(list(shop.values()), np.uint64)
        ),
        pairs=None,
        index=LISTS,
    )
    return replace(made, **changes)


def changed(shop: Shop, *, texts: int = 0, removed: int = 0, new: int = 0, seed: int = 0) -> Shop:
    """The next night's products: changed and new ones at the end, as a refresh appends them."""
    rng, free = np.random.default_rng(seed), iter(set(range(len(TEXTS))) - set(shop.values()))
    touched = rng.permutation(list(shop))[: texts + removed].tolist()
    kept = {name: text for name, text in shop.items() if name not in set(touched)}
    return kept | {name: next(free) for name in touched[:texts]} | {f"n{seed}-{row}": next(free) for row in range(new)}


def require_files_of(store: EmbeddingStore, version: StoreVersion, shop: Shop) -> None:
    """The files of a version are those of these products."""
    folder = Path(store.uri) / f"versions/{version.version}"
    catalogue = MappedCatalogue.open(folder, len(shop))
    assert catalogue.find(shop) == {name: row for row, name in enumerate(shop)}
    index = VectorIndex.load(folder / "index.faiss", version.index_spec)
    np.testing.assert_allclose(index.vectors(np.arange(len(shop))), vectors_of(shop), atol=1e-3)
    probes = Probes.read(folder / PROBES_FILE)
    scores = -np.sort(-(probes.queries @ vectors_of(shop).T), axis=1)[:, :11]
    np.testing.assert_allclose(probes.nearest.scores[:, :11], scores, atol=1e-5)
    np.testing.assert_array_equal(probes.products, vectors_of(shop)[probes.rows])


class Counted:
    """How many vectors are read of each version of the table."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes: list[int] = []
        self.read = 0
        batches, vectors = ProductTable.batches, ProductTable.vectors

        def counted_batches(table: ProductTable, version: int) -> Any:
            self.passes.append(version)
            yield from batches(table, version)

        def counted_vectors(table: ProductTable, version: int, positions: np.ndarray) -> np.ndarray:
            self.read += len(positions)
            return vectors(table, version, positions)

        monkeypatch.setattr(ProductTable, "batches", counted_batches)
        monkeypatch.setattr(ProductTable, "vectors", counted_vectors)


def test_a_usual_night_keeps_the_index_up_without_a_pass_over_any_table(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(store, candidate(store, SHOP), SETTINGS)
    assert (first.index_update["action"], first.index_update["nights"]) == ("trained", 0)
    assert first.index_update["reason"] == "there was no version to keep up"
    counted, shop = Counted(monkeypatch), changed(SHOP, texts=10, removed=5, new=8)
    version = publish(store, candidate(store, shop), SETTINGS)
    assert counted.passes == []
    assert version.index_update["action"] == "kept_up"
    assert version.index_update["reason"] == "18 vectors were added and 15 removed"
    assert (version.index_update["nights"], version.index_update["added"]) == (1, 18)
    assert version.index_update["trained"] == first.index_update["trained"]
    require_files_of(store, version, shop)


def test_its_gates_are_those_that_passes_over_all_vectors_measure(store: EmbeddingStore, tmp_path: Path) -> None:
    scanned, shop = EmbeddingStore.from_uri(tmp_path / "scanned"), changed(SHOP, texts=20, removed=10, new=10)
    gates = []
    for one in (store, scanned):
        publish(one, candidate(one, SHOP), SETTINGS)
        version = publish(one, candidate(one, shop, takes_over_vectors=one is store), SETTINGS)
        gates.append({gate: entry["value"] for gate, entry in version.gates.items()})
    kept, trained = gates
    assert kept.keys() == trained.keys()
    assert kept[Gate.CENTROID] == pytest.approx(trained[Gate.CENTROID], abs=1e-5)
    # Of other samples of the same products: 40 with ten neighbours each.
    assert kept[Gate.NEIGHBOURS] == pytest.approx(trained[Gate.NEIGHBOURS], abs=0.1)
    assert kept[Gate.UNIFORMITY] == trained[Gate.UNIFORMITY]
    assert (kept[Gate.VECTORS], kept[Gate.INDEXED], kept[Gate.WRITTEN]) == (0, 0, 0)


@pytest.mark.parametrize("index", ["flat", "fp16", "ivf-fp16", "ivf-sq8"])
def test_after_many_nights_it_has_exactly_the_vectors_of_the_table(store: EmbeddingStore, index: str) -> None:
    request, shop = IndexRequest(index=index, recall=0.5), SHOP
    publish(store, candidate(store, shop, index=request), SETTINGS)
    for night in range(1, 6):
        shop = changed(shop, texts=5 * night, removed=20, new=25, seed=night)
        version = publish(store, candidate(store, shop, index=request), SETTINGS)
        assert version.index_update["nights"] == night
    if index != "ivf-sq8":  # which stores a value in a byte
        require_files_of(store, version, shop)
    assert version.recall_at_10 >= 0.5


def test_the_order_of_the_rows_does_not_matter(kept: EmbeddingStore) -> None:
    shuffled = dict(np.random.default_rng(0).permutation(list(SHOP.items())).tolist())
    shop = {name: int(text) for name, text in shuffled.items()}
    version = publish(kept, candidate(kept, shop), SETTINGS)
    assert version.index_update["reason"] == "0 vectors were added and 0 removed"
    require_files_of(kept, version, shop)


REASONS: dict[str, Callable[[EmbeddingStore], tuple[ReleaseCandidate, RefreshSettings]]] = {
    "another index was requested": lambda kept: (candidate(kept, SHOP, index=IndexRequest(index="fp16")), SETTINGS),
    "another model made the vectors of version 1": lambda kept: (
        candidate(kept, SHOP, takes_over_vectors=False),
        SETTINGS,
    ),
    "the lists are trained for every version": lambda kept: (
        candidate(kept, SHOP),
        SETTINGS.model_copy(update={"retrain_every": 1}),
    ),
    "300 vectors would have been added to the 500 that it was trained with": lambda kept: (
        candidate(kept, changed(SHOP, texts=300)),
        SETTINGS,
    ),
    "200 products are left of the 500 that it was trained for": lambda kept: (
        candidate(kept, changed(SHOP, removed=300)),
        SETTINGS,
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_an_index_is_trained_anew_for_a_reason(kept: EmbeddingStore, reason: str) -> None:
    version = publish(kept, *REASONS[reason](kept))
    assert (version.index_update["action"], version.index_update["reason"]) == ("trained", reason)
    assert version.index_update["nights"] == version.index_update["added"] == 0


def test_every_nth_version_is_trained(store: EmbeddingStore) -> None:
    settings, actions = SETTINGS.model_copy(update={"retrain_every": 3}), []
    for _ in range(6):
        actions.append(publish(store, candidate(store, SHOP), settings).index_update["action"])
    assert actions == ["trained", "kept_up", "kept_up"] * 2


def test_lists_that_find_too_little_are_searched_further_or_trained_anew(store: EmbeddingStore) -> None:
    """New products of one kind fill one list; the recall that was requested holds all the same."""
    request = IndexRequest(index="ivf-fp16", recall=0.95)
    first = publish(store, candidate(store, SHOP, index=request), SETTINGS)
    version = publish(store, candidate(store, changed(SHOP, texts=240), index=request), SETTINGS)
    assert version.recall_at_10 >= 0.95
    assert version.parameters["nprobe"] <= 2 * first.parameters["nprobe"] or version.index_update["nights"] == 0


@pytest.mark.parametrize("name", ["index.faiss", "products.arrow", "id_hashes.npy", "text_hashes.npy", PROBES_FILE])
def test_damage_is_not_handed_on(kept: EmbeddingStore, name: str) -> None:
    file = Path(kept.uri) / "versions/1" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    shop = changed(SHOP, texts=5)
    version = publish(kept, candidate(kept, shop), SETTINGS)
    assert version.index_update["reason"] == "files of version 1 are missing or damaged"
    require_files_of(kept, version, shop)


def without_file(kept: EmbeddingStore, *names: str) -> None:
    """Make version 1 one of older software that had no such files."""
    version = read_version(kept, 1)
    files = {name: digest for name, digest in version.files.items() if name not in names}
    kept.storage.write(manifest_name(1), version.replace(layout=2, files=files, index_update={}).to_bytes())
    for name in names:
        (Path(kept.uri) / "versions/1" / name).unlink()


def test_the_index_of_older_software_is_kept_up_too(kept: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has neither probes nor hashes beside it: both are made of the tables, once."""
    without_file(kept, PROBES_FILE, "text_hashes.npy", "row_hashes.npy", "popularity.npy")
    counted, shop = Counted(monkeypatch), changed(SHOP, texts=5)
    version = publish(kept, candidate(kept, shop), SETTINGS)
    assert version.index_update["reason"] == "5 vectors were added and 5 removed"
    assert len(counted.passes) == 2  # over each table
    counted.passes.clear()
    publish(kept, candidate(kept, changed(shop, texts=5, seed=1)), SETTINGS)
    assert counted.passes == []


def test_a_version_that_shares_files_is_kept_up_from_them(store: EmbeddingStore) -> None:
    first = publish(store, candidate(store, SHOP), SETTINGS)
    shared = first.replace(version=2, shares_files_of=1, files={}, base=1, index_update={"action": "shared"})
    store.storage.write(manifest_name(2), shared.to_bytes())
    make_live(store, 2, known=read_live(store))
    shop = changed(SHOP, texts=5)
    version = publish(store, candidate(store, shop), SETTINGS)
    assert (version.version, version.base) == (3, 2)
    assert version.index_update["nights"] == 1
    require_files_of(store, version, shop)


def test_a_table_with_other_rows_than_the_catalogue_is_refused(store: EmbeddingStore) -> None:
    other = candidate(store, {**SHOP, "p7": COUNT}).signatures
    with pytest.raises(QualityGateFailed, match="gate 'written': 2 rows of the table are not those of the catalogue"):
        publish(store, candidate(store, SHOP, signatures=other), SETTINGS, set(Gate))


def test_a_new_vector_of_another_length_is_never_published(
    kept: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = TEXTS.copy()
    longer[COUNT:] *= 2
    monkeypatch.setitem(globals(), "TEXTS", longer)
    with pytest.raises(QualityGateFailed, match="gate 'vectors'"):
        publish(kept, candidate(kept, changed(SHOP, texts=3)), SETTINGS, set(Gate))


def test_an_index_of_vectors_that_the_table_no_longer_has_is_not_kept(
    kept: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "TEXTS", unit_vectors(len(TEXTS), seed=1))
    version = publish(kept, candidate(kept, SHOP), SETTINGS)
    assert "vectors of the kept index are not those of the table" in version.index_update["reason"]
    index = VectorIndex.load(Path(kept.uri) / "versions/2/index.faiss", version.index_spec)
    np.testing.assert_allclose(index.vectors(np.arange(COUNT)), vectors_of(SHOP), atol=1e-3)
