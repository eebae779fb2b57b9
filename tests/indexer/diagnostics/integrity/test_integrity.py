"""Each fault of a version's parts is named, and nothing else is; a sound version of any kind of index gets nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from indexer.diagnostics.finding import Fault, Severity
from indexer.diagnostics.integrity.integrity import integrity_section
from indexer.diagnostics.report import Section
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import VersionSpace
from indexer.health.repair import repair
from indexer.index.index_request import IndexRequest
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index
from indexer.refresh.settings import RefreshSettings
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.version import CANARIES_FILE
from tests.indexer.diagnostics.integrity.conftest import MakeStore
from tests.indexer.exchanged_tokenizer import exchange_tokens
from ubm_embed.data.arrays import FloatArray
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.runtimes import selection
from ubm_embed.model.device import computes_bfloat16
from ubm_embed.model.folder import ModelFolder

Measured = dict[str, float]


def diagnosed(store: Path, **settings: Any) -> Section:
    with VersionSpace.open(EmbeddingStore.open(store), device="cpu") as space:
        return integrity_section(space, DiagnosisSettings(**settings))


def values(section: Section) -> Measured:
    return {metric.name: metric.value for metric in section.metrics}


def only_finding(section: Section, fault: Fault) -> str:
    """The problem of the one finding, which names this fault and is an error."""
    (finding,) = section.findings
    assert (finding.fault, finding.severity, finding.section) == (fault, Severity.ERROR, "integrity")
    return finding.problem


def of_kind(kind: str) -> dict[str, Any]:
    return {"settings": RefreshSettings(index=IndexRequest(index=kind), gate_queries=20)}


def half_stale(vectors: FloatArray) -> FloatArray:
    """Every second vector is turned away from that of its text."""
    noise = np.random.default_rng(0).standard_normal(vectors.shape, np.float32)
    other = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.where(np.arange(len(vectors))[:, None] % 2, vectors, other)


class TestSound:
    @pytest.mark.parametrize("kind", ["flat", "fp16", "ivf-fp16", "ivf-sq8", "ivf-pq", "hnsw", "disk", "PQ4x4"])
    def test_any_kind_of_index(self, make_store: MakeStore, kind: str) -> None:
        section = diagnosed(make_store(kind, **of_kind(kind)))
        assert section.findings == ()
        measured = values(section)
        assert measured.pop("self_recall") >= (0 if kind == "PQ4x4" else 0.9)
        assert measured.pop("canary_cosine") == pytest.approx(1, abs=1e-5)
        assert measured == {"canary_overlap": 1, "share_stale": 0, "share_swapped": 0, "share_foreign": 0}

    def test_with_a_product_tower(self, make_store: MakeStore, session_model_folder: Path) -> None:
        assert diagnosed(make_store("towers", model=session_model_folder)).findings == ()

    @pytest.mark.skipif(not computes_bfloat16(torch.device("cpu")), reason="this CPU does not compute in bfloat16")
    def test_read_in_bfloat16(self, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(selection.SelectionRules, "keeps_quality", lambda rules, result: True)
        assert diagnosed(make_store("bfloat16", runtime="torch-bfloat16")).findings == ()

    def test_by_older_software(self, make_store: MakeStore) -> None:
        section = diagnosed(without_canaries(make_store("flat", **of_kind("flat"))))
        assert section.findings == ()
        assert "canary_cosine" not in values(section)
        assert any("no canaries" in note for note in section.notes)

    def test_a_share_of_a_sample_has_an_interval(self, make_store: MakeStore) -> None:
        store = make_store("flat", **of_kind("flat"))
        sampled, whole = (
            next(metric for metric in diagnosed(store, texts=texts).metrics if metric.name == "share_stale")
            for texts in (100, 1000)
        )
        assert sampled.interval is not None
        assert sampled.interval[0] == 0 < sampled.interval[1] < 0.05
        assert (sampled.measured_on, whole.measured_on) == ("100 of 420 products", "420 of 420 products")
        assert whole.interval is None

    def test_the_same_seed_gives_the_same_section(self, make_store: MakeStore) -> None:
        store = make_store("stale", half_stale)
        assert diagnosed(store, texts=50) == diagnosed(store, texts=50)


class TestSwapped:
    def test_vectors_of_other_products_are_named_with_their_owners(self, make_store: MakeStore) -> None:
        section = diagnosed(make_store("swapped", lambda vectors: np.roll(vectors, 1, axis=0)), texts=1000)
        assert "have the vector of another product" in only_finding(section, Fault.SWAPPED_VECTORS)
        measured = values(section)
        assert measured["share_swapped"] > 0.95
        assert measured["share_swapped"] + measured["share_stale"] <= 1
        table = next(table for table in section.tables if table.name == "wrong_vectors")
        assert table.rows[-1][0] == "p9"
        assert table.rows[-1][-1] == "p10"

    def test_two_products_that_changed_places_are_found_among_all(self, make_store: MakeStore) -> None:
        def swap(vectors: FloatArray) -> FloatArray:
            vectors = vectors.copy()
            vectors[[20, 200]] = vectors[[200, 20]]
            return vectors

        section = diagnosed(make_store("pair", swap), texts=1000)
        assert "2 of 420 products" in only_finding(section, Fault.SWAPPED_VECTORS)
        assert values(section)["share_swapped"] == pytest.approx(2 / 420)

    def test_equal_texts_are_not_swapped(self, make_store: MakeStore) -> None:
        def swap(vectors: FloatArray) -> FloatArray:
            vectors = vectors.copy()
            vectors[[0, 412]] = vectors[[412, 0]]  # one text
            return vectors

        assert diagnosed(make_store("equal", swap), texts=1000).findings == ()

    def test_a_stale_product_whose_text_another_one_has_is_not_swapped(self, make_store: MakeStore) -> None:
        def age(vectors: FloatArray) -> FloatArray:
            vectors = vectors.copy()
            vectors[0] = -vectors[0]  # its vector stands at 412, too, where it belongs
            return vectors

        measured = values(diagnosed(make_store("aged", age), texts=1000))
        assert (measured["share_swapped"], measured["share_stale"]) == (0, pytest.approx(1 / 420))


class TestStale:
    def test_half_of_the_catalogue(self, make_store: MakeStore) -> None:
        section = diagnosed(make_store("stale", half_stale))
        assert "have a vector that is not of their text" in only_finding(section, Fault.STALE_VECTORS)
        (metric,) = (metric for metric in section.metrics if metric.name == "share_stale")
        assert metric.interval is not None
        assert metric.interval[0] < 0.5 < metric.interval[1]

    def test_a_single_product_is_a_warning(self, make_store: MakeStore) -> None:
        def age(vectors: FloatArray) -> FloatArray:
            vectors = vectors.copy()
            vectors[100] = -vectors[100]
            return vectors

        (finding,) = diagnosed(make_store("single", age), texts=1000).findings
        assert (finding.fault, finding.severity) == (Fault.STALE_VECTORS, Severity.WARNING)
        assert "1 of 420 products" in finding.problem


class TestForeignIndex:
    @pytest.fixture
    def store(self, make_store: MakeStore, model_folder: Path, catalogue_frame: pl.DataFrame, tmp_path: Path) -> Path:
        """A store whose second version has the products in another order, and the first one's index."""
        store = make_store("flat", **of_kind("flat"))
        catalogue_frame.reverse().write_parquet(tmp_path / "reversed.parquet")
        build_index(
            model=model_folder, products=tmp_path / "reversed.parquet", store=store, allow=[*Gate], device="cpu"
        )
        folders = [store / "versions" / number for number in "12"]
        shutil.copy(folders[0] / "index.faiss", folders[1])
        manifests = [json.loads((folder / "manifest.json").read_text()) for folder in folders]
        manifests[1]["files"]["index.faiss"] = manifests[0]["files"]["index.faiss"]
        (folders[1] / "manifest.json").write_text(json.dumps(manifests[1]))
        return store

    def test_is_named_and_its_remedy_helps(self, store: Path) -> None:
        section = diagnosed(store)
        assert "the index holds other vectors than the table" in only_finding(section, Fault.FOREIGN_INDEX)
        assert values(section)["share_foreign"] > 0.9
        assert f"remove {store}/versions/2/index.faiss" in section.findings[0].remedy
        (store / "versions/2/index.faiss").unlink()
        repair(store)
        assert diagnosed(store).findings == ()

    def test_of_short_codes_is_named_too(self, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
        store = make_store("PQ4x4", **of_kind("PQ4x4"))
        with VersionSpace.open(EmbeddingStore.open(store), device="cpu") as space:
            held = space.opened.index.vectors
            monkeypatch.setattr(space.opened.index, "vectors", lambda rows: held((rows + 200) % 420))
            section = integrity_section(space, DiagnosisSettings())
        only_finding(section, Fault.FOREIGN_INDEX)


class TestChangedAnswers:
    def test_a_tokenizer_exchanged(self, make_store: MakeStore) -> None:
        store = make_store("flat", **of_kind("flat"))
        exchange_tokens(model_of(store))
        section = diagnosed(store)
        problem = only_finding(section, Fault.CHANGED_ANSWERS)
        assert "the model makes other vectors than when the version was published" in problem
        assert "its files are those of" in problem
        assert "ubm-embed refresh --model DIR" in section.findings[0].remedy
        assert values(section)["canary_cosine"] < 0.98
        assert any("texts were not compared" in note for note in section.notes)

    def test_weights_changed(
        self, make_store: MakeStore, other_model_folder: Path, with_graphs: Callable[[Path], Path]
    ) -> None:
        store = make_store("flat", **of_kind("flat"))
        model, graphs = model_of(store), with_graphs(other_model_folder) / "graphs"
        shutil.copy(other_model_folder / "model.safetensors", model)
        for file in (*graphs.glob("*.onnx"), *graphs.glob("*.weights")):
            shutil.copy(file, model / "graphs")
        assert "its files are those of" in only_finding(diagnosed(store), Fault.CHANGED_ANSWERS)

    def test_without_canaries_the_models_files_tell(self, make_store: MakeStore) -> None:
        store = without_canaries(make_store("flat", **of_kind("flat")))
        exchange_tokens(model_of(store))
        problem = only_finding(diagnosed(store), Fault.CHANGED_ANSWERS)
        assert "the model does not make the stored vectors" in problem

    def test_a_library_that_computes_differently(self, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
        store = make_store("flat", **of_kind("flat"))
        file = store / "versions/1" / CANARIES_FILE
        document = json.loads(file.read_text())
        document["environment"]["numpy"] = "0.9"
        file.write_text(json.dumps(document))
        refit(store, CANARIES_FILE)
        assert diagnosed(store).findings == ()  # the same vectors by another library are no fault
        embed = Embedder.embed_product_list
        monkeypatch.setattr(Embedder, "embed_product_list", lambda *given: moved(embed(*given)))
        (finding,) = diagnosed(store).findings
        assert (finding.fault, finding.severity) == (Fault.CHANGED_ANSWERS, Severity.WARNING)
        assert f"numpy 0.9 is now {np.__version__}" in finding.problem
        assert finding.remedy.startswith("install what was there then, or encode all products again: ")


def moved(vectors: FloatArray) -> FloatArray:
    """The same vectors, each turned a little."""
    turned = vectors + np.float32(0.05) * np.roll(vectors, 1, axis=1)
    return np.asarray(turned / np.linalg.norm(turned, axis=1, keepdims=True), np.float32)


def model_of(store: Path) -> Path:
    """The folder of the store's only model."""
    (folder,) = (store / "models").iterdir()
    assert ModelFolder.open(folder)
    return folder


def without_canaries(store: Path) -> Path:
    """The store as older software would have written it."""
    (store / "versions/1" / CANARIES_FILE).unlink()
    file = store / "versions/1/manifest.json"
    document = json.loads(file.read_text())
    del document["files"][CANARIES_FILE]
    file.write_text(json.dumps(document))
    return store


def refit(store: Path, name: str) -> None:
    """Put the size of a changed file into the manifest."""
    file = store / "versions/1/manifest.json"
    document = json.loads(file.read_text())
    document["files"][name]["bytes"] = (store / "versions/1" / name).stat().st_size
    file.write_text(json.dumps(document))
