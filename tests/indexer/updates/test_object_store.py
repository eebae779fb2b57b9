"""Updates of a store on an object store, a real S3 API on loopback."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from indexer.refresh.refresh import build_index
from indexer.store.embedding_store import EmbeddingStore
from indexer.updates.updater import Updater
from tests.indexer.updates.live_products import live_of, live_products


def test_two_writers_update_it_and_old_segments_go(bucket_uri: str, model_folder: Path, products_file: Path) -> None:
    build_index(model=model_folder, products=products_file, store=bucket_uri)
    before = live_products(bucket_uri)
    with Updater(bucket_uri, device="cpu") as one, Updater(bucket_uri) as other, ThreadPoolExecutor(2) as pool:

        def write(updater: Updater, product_id: str) -> None:
            for step in range(2):
                updater.upsert([{"product_id": product_id, "price": 100.0 + step}])

        list(pool.map(write, (one, other), ("p1", "p2")))
        one.upsert([{"product_id": "n1", "title": "boots"}])
        assert other.delete(["p3"]).deleted == 1
    changed = {name: before[name] | {"price": 101.0} for name in ("p1", "p2")}
    new = {"title": "boots", "category": None, "attributes": None, "price": None}
    expected = before | changed | {"n1": new}
    del expected["p3"]
    assert live_products(bucket_uri) == expected
    assert live_of(bucket_uri).revision.number == 6  # type: ignore[union-attr]
    assert len(EmbeddingStore.open(bucket_uri).storage.list("revisions/1")) <= 5
