"""A store has the index that was requested, from the first build through every refresh and repair."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.health.doctor import examine
from indexer.health.repair import repair
from indexer.index.index_request import IndexRequest
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index, refresh
from indexer.refresh.settings import RefreshSettings
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.version import StoreVersion, read_version
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.errors import InvalidData, QualityGateFailed
from ubm_embed.progress import silent

SESSION = Session((Interaction(Action.VIEW, product_id="p1"),))


def requesting(**request: Any) -> RefreshSettings:
    return RefreshSettings(index=IndexRequest(**request))


def live(store: Path) -> StoreVersion:
    return read_version(EmbeddingStore.open(store))


def change(products_file: Path) -> None:
    """Write the catalogue of another night: every price changes."""
    pl.read_parquet(products_file).with_columns(price=pl.col("price") + 1).write_parquet(products_file)


@pytest.fixture
def graph(tmp_path: Path, model_folder: Path, products_file: Path) -> Path:
    """A store whose index is a graph, with less recall than by default."""
    build_index(
        model=model_folder,
        products=products_file,
        store=tmp_path / "graph",
        settings=requesting(index="hnsw", recall=0.9),
    )
    return tmp_path / "graph"


def test_by_default_the_kind_is_chosen(store: Path) -> None:
    version = live(store)
    assert version.parameters["requested"] == {"index": "auto"}
    assert (version.kind, version.parameters["factory"]) == ("flat", "Flat")
    assert version.parameters["median_ms"] > 0


def test_a_requested_index_is_built_and_recorded(graph: Path) -> None:
    version = live(graph)
    assert (version.kind, version.parameters["requested"]) == ("hnsw", {"index": "hnsw", "recall": 0.9})
    assert version.parameters["efSearch"] >= 1
    assert version.gates["recall"]["limit"] == 0.9
    assert "latency" not in version.gates
    opened = Retriever.open(graph)
    assert (opened.index.kind, opened.index.spec) == ("hnsw", version.index_spec)
    assert len(opened.recommend(SESSION, 10).matches) == 7


def test_a_factory_string_is_a_kind_too(tmp_path: Path, model_folder: Path, products_file: Path) -> None:
    build_index(
        model=model_folder, products=products_file, store=tmp_path / "s", settings=requesting(index="HNSW8,Flat")
    )
    assert (live(tmp_path / "s").kind, live(tmp_path / "s").parameters["factory"]) == ("factory", "HNSW8,Flat")
    assert Retriever.open(tmp_path / "s").index.kind == "factory"


def test_a_refresh_keeps_it(graph: Path, products_file: Path) -> None:
    change(products_file)
    refresh(products=products_file, store=graph)
    assert live(graph).version == 2
    assert (live(graph).kind, live(graph).parameters["requested"]) == ("hnsw", {"index": "hnsw", "recall": 0.9})


def test_a_refresh_may_change_a_part_of_it(graph: Path, products_file: Path) -> None:
    change(products_file)
    refresh(products=products_file, store=graph, settings=requesting(recall=0.8))
    assert live(graph).parameters["requested"] == {"index": "hnsw", "recall": 0.8}


def test_another_index_alone_makes_a_refresh_publish(graph: Path, products_file: Path) -> None:
    report = refresh(products=products_file, store=graph, settings=requesting(index="fp16"))
    assert (live(graph).version, live(graph).kind, report.encoded, report.written) == (2, "fp16", 0, 0)
    assert report.index == {"from": {"kind": "hnsw", "index": "hnsw", "recall": 0.9}, "to": {"index": "fp16"}}
    again = refresh(products=products_file, store=graph, settings=requesting(index="fp16"))
    assert (again.published, again.index, live(graph).version) == (None, None, 2)


def test_a_dry_run_reports_another_index_as_the_refresh_does(graph: Path, products_file: Path) -> None:
    report = refresh(products=products_file, store=graph, settings=requesting(recall=0.8), dry_run=True)
    assert report.index is not None
    assert report.index["to"] == {"index": "hnsw", "recall": 0.8}
    assert live(graph).version == 1
    assert refresh(products=products_file, store=graph, settings=requesting(recall=0.8)).index == report.index


def test_a_version_of_older_software_records_no_request(store: Path, products_file: Path) -> None:
    manifest = store / "versions" / "1" / "manifest.json"
    document = json.loads(manifest.read_text())
    del document["parameters"]["requested"]
    manifest.write_text(json.dumps(document))
    report = refresh(products=products_file, store=store, settings=requesting(recall=0.8), dry_run=True)
    assert report.index == {"from": {"kind": "flat"}, "to": {"index": "auto", "recall": 0.8}}


def test_a_build_ignores_the_earlier_request(graph: Path, model_folder: Path, products_file: Path) -> None:
    build_index(model=model_folder, products=products_file, store=graph)
    assert (live(graph).kind, live(graph).parameters["requested"]) == ("flat", {"index": "auto"})


@pytest.mark.parametrize("lost", ["index.faiss", "manifest.json"])
def test_a_repair_rebuilds_it_if_the_manifest_is_left(graph: Path, lost: str) -> None:
    (graph / "versions" / "1" / lost).unlink()
    repair(graph)
    assert live(graph).kind == ("flat" if lost == "manifest.json" else "hnsw")
    assert not examine(graph)
    assert len(Retriever.open(graph).recommend(SESSION, 10).matches) == 7


def test_an_index_of_another_kind_than_in_the_manifest_is_refused(graph: Path, store: Path) -> None:
    manifest = (graph / "versions" / "1" / "manifest.json").read_text()
    changed = manifest.replace('"kind": "hnsw"', '"kind": "flat"').replace("HNSW32,SQfp16", "Flat")
    (graph / "versions" / "1" / "manifest.json").write_text(changed)
    with pytest.raises(InvalidData, match=r"expected an index 'Flat' by inner product, found IndexHNSWSQ"):
        Retriever.open(graph)
    assert "found IndexHNSWSQ" in examine(graph)[0].problem


def test_an_index_that_is_too_slow_is_not_published_unless_allowed(store: Path, products_file: Path) -> None:
    change(products_file)
    with pytest.raises(QualityGateFailed, match=r"gate 'latency': a query takes .* ms with the index"):
        refresh(products=products_file, store=store, settings=requesting(latency_ms=1e-6))
    assert live(store).version == 1
    refresh(products=products_file, store=store, settings=requesting(latency_ms=1e-6), allow=[Gate.LATENCY])
    assert live(store).gates["latency"]["passed"] is False


@pytest.mark.parametrize("request_", [{"index": "hsnw"}, {"memory_gb": 1e-9}])
def test_an_impossible_index_leaves_the_store_unchanged(
    store: Path, model_folder: Path, products_file: Path, request_: dict[str, Any]
) -> None:
    with pytest.raises(InvalidData):
        build_index(model=model_folder, products=products_file, store=store, settings=requesting(**request_))
    assert live(store).version == 1
    assert len(Retriever.open(store).recommend(SESSION, 10).matches) == 7


def test_an_unknown_kind_is_refused_before_anything_is_encoded(
    tmp_path: Path, model_folder: Path, products_file: Path
) -> None:
    def never(*_: object) -> None:
        pytest.fail("encoded before the kind was checked")

    with pytest.raises(InvalidData, match="'hsnw' is no kind of index"):
        build_index(
            model=model_folder,
            products=products_file,
            store=tmp_path / "new",
            settings=requesting(index="hsnw"),
            engine=never,
            progress=silent,
        )
