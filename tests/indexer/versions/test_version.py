"""A manifest describes a version, and contradictions are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import make_live, version_numbers
from indexer.versions.version import MANIFEST_FILE, StoreVersion, digests, read_version, require_digests, require_files
from ubm_embed.errors import InvalidData, NotFound

OLD = {
    "version": 3,
    "table_version": 7,
    "model_id": "0123456789abcdef",
    "dimension": 16,
    "kind": "flat",
    "metric": "inner_product",
    "products": 8,
    "indexed": 8,
    "recall_at_10": 1.0,
    "created": "2026-01-02T03:04:05+00:00",
    "software": "0.1.0",
    "source": "products.parquet",
}
VERSION = StoreVersion(
    **OLD,  # type: ignore[arg-type]
    product_model_id="fedcba9876543210",
    parameters={"links": 16},
    base=2,
    changes={"new": 1, "encoded": 1},
    uniformity=-2.5,
    alignment=0.25,
    gates={"recall": {"value": 1.0, "limit": 0.99, "passed": True}},
    files={"index.faiss": {"bytes": 3, "sha256": "0" * 64}},
)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    """Versions 2, 3 and 11, of which 3 is live."""
    for number in (2, 3, 11):
        folder = tmp_path / "versions" / str(number)
        folder.mkdir(parents=True)
        VERSION.replace(version=number).write(folder)
    store = EmbeddingStore.from_uri(tmp_path)
    make_live(store, 3, known=None)
    return store


@pytest.fixture
def manifest(tmp_path: Path, store: EmbeddingStore) -> Path:
    """The file of version 3."""
    return tmp_path / "versions" / "3" / MANIFEST_FILE


def test_a_manifest_reads_as_written(store: EmbeddingStore) -> None:
    assert read_version(store, 3) == VERSION


def test_a_manifest_of_older_software_has_defaults(store: EmbeddingStore, manifest: Path) -> None:
    manifest.write_text(json.dumps(OLD))
    version = read_version(store)
    assert {name: value for name, value in version.to_dict().items() if name in OLD} == OLD
    assert (version.product_model_id, version.base, version.uniformity, version.alignment) == (None,) * 4
    assert version.layout == 1
    assert version.parameters == version.changes == version.gates == version.files == {}


def test_a_manifest_of_version_0_1_calls_the_runtime_an_encoder(store: EmbeddingStore, manifest: Path) -> None:
    manifest.write_text(json.dumps(OLD | {"encoder": "onnx"}))
    assert read_version(store).runtime == "onnx"
    assert "encoder" not in read_version(store).to_dict()


def test_the_live_version_is_read_unless_another_is_named(store: EmbeddingStore) -> None:
    assert read_version(store) == VERSION
    assert read_version(store, 2).version == 2


def test_an_unknown_version_is_refused_with_a_list_of_the_others(store: EmbeddingStore) -> None:
    with pytest.raises(NotFound, match=r"no version 5 in .*; known versions: 2, 3, 11"):
        read_version(store, 5)


def test_numbers_are_in_order_without_partial_folders(store: EmbeddingStore, tmp_path: Path) -> None:
    (tmp_path / "versions" / ".12.aa.partial").mkdir()
    (tmp_path / "versions" / "notes").mkdir()
    assert version_numbers(store) == [2, 3, 11]
    assert version_numbers(EmbeddingStore.from_uri(tmp_path / "new")) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": None}, "version"),
        ({"version": True}, "version"),
        ({"version": 3.0}, "version"),
        ({"version": 4}, "version"),  # in the folder of version 3
        ({"model_id": 7}, "model_id"),
        ({"created": None}, "created"),
        ({"recall_at_10": "1"}, "recall_at_10"),
        ({"shards": 4}, "shards"),
        ({"kind": ...}, "kind"),
        ({"base": "2"}, "base"),
        ({"product_model_id": 7}, "product_model_id"),
        ({"uniformity": "low"}, "uniformity"),
        ({"gates": []}, "gates"),
        ({"files": None}, "files"),
    ],
)
def test_an_invalid_field_is_named(store: EmbeddingStore, manifest: Path, change: dict[str, Any], field: str) -> None:
    document = json.loads(manifest.read_text()) | change
    manifest.write_text(json.dumps({name: value for name, value in document.items() if value is not ...}))
    with pytest.raises(InvalidData) as caught:
        read_version(store, 3)
    assert (caught.value.file, caught.value.field) == (str(manifest), field)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"layout": 4, "kind": "new"}, "field 'layout': must be at most 3, got 4: written by newer software; upgrade"),
        ({"shards": 4}, "field 'shards': unknown: written by newer software; upgrade ubm-embed"),
        ({"layout": 0}, "field 'layout': must be at least 1"),
        ({"kind": "tree"}, "kind must be one of flat"),
        ({"kind": "hnsw"}, "parameters of the kind 'hnsw' must have efSearch of at least 1, got None"),
        ({"kind": "ivf-fp16", "parameters": {"nprobe": 3}}, "must have a FAISS factory string, got None"),
        ({"kind": "ivf-fp16", "parameters": {"factory": "Flat", "nprobe": 3}}, "a factory string of it, got 'Flat'"),
        ({"parameters": {"factory": "IVF8,SQfp16"}}, "a factory string of it, got 'IVF8,SQfp16'"),
        ({"parameters": {"requested": {"index": 3}}}, "index must be a string, got 3"),
        ({"parameters": {"requested": {"speed": 3}}}, "speed is unknown"),
        ({"parameters": {"asked": {"recall": 3}}}, "recall must be at most 1, got 3"),
        ({"metric": "l2"}, "'metric': must be 'inner_product', got 'l2'"),
        ({"indexed": 7}, "7 of 8 products are indexed"),
        ({"products": 0, "indexed": 0}, "'products': must be at least 1, got 0"),
        ({"dimension": -1}, "'dimension': must be at least 1, got -1"),
        ({"recall_at_10": 1.5}, "recall_at_10"),
        ({"recall_at_10": float("nan")}, "recall_at_10': must be a finite number"),
        ({"model_id": "../../elsewhere"}, "model_id"),
        ({"model_id": ""}, "model_id"),
        ({"files": {"index.faiss": 3}}, r"'files\.index\.faiss': must be an object, got 3"),
        ({"files": {"index.faiss": {"bytes": 3}}}, r"'files\.index\.faiss\.sha256': missing"),
        ({"files": {"../../elsewhere": {"bytes": 3, "sha256": ""}}}, "'files': must have names of files"),
    ],
)
def test_an_invalid_or_contradictory_manifest_is_refused(
    store: EmbeddingStore, manifest: Path, change: dict[str, Any], problem: str
) -> None:
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with pytest.raises(InvalidData, match=problem) as caught:
        read_version(store)
    assert caught.value.file == str(manifest)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 3'])
def test_a_damaged_manifest_is_named(store: EmbeddingStore, manifest: Path, text: str) -> None:
    manifest.write_text(text)
    with pytest.raises(InvalidData, match=r"versions/3/manifest\.json"):
        read_version(store)


def test_a_missing_manifest_is_named(store: EmbeddingStore, manifest: Path) -> None:
    manifest.unlink()
    with pytest.raises(InvalidData, match=r"versions/3/manifest\.json: missing"):
        read_version(store)


@pytest.fixture
def described(tmp_path: Path) -> tuple[StoreVersion, Path]:
    """A version with two files beside its manifest, and their folder."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "index.faiss").write_bytes(b"vectors")
    (folder / "ids.parquet").write_bytes(b"ids")
    version = VERSION.replace(files=digests(folder))
    version.write(folder)
    return version, folder


def test_files_match_their_digests(described: tuple[StoreVersion, Path]) -> None:
    version, folder = described
    require_digests(version, folder)
    assert sorted(version.files) == ["ids.parquet", "index.faiss"]
    assert version.files["ids.parquet"].bytes == 3
    assert digests(folder) == version.files, "the manifest has no digest of itself"


@pytest.mark.parametrize(
    ("data", "problem"), [(None, "missing"), (b"vector", "truncated .*6 bytes, expected 7"), (b"Vectors", "damaged")]
)
def test_a_missing_or_changed_file_is_named(
    described: tuple[StoreVersion, Path], data: bytes | None, problem: str
) -> None:
    version, folder = described
    (folder / "index.faiss").unlink()
    if data is not None:
        (folder / "index.faiss").write_bytes(data)
    with pytest.raises(InvalidData, match=problem) as caught:
        require_digests(version, folder)
    assert caught.value.file == folder / "index.faiss"


def test_at_opening_sizes_are_compared_and_no_content(described: tuple[StoreVersion, Path]) -> None:
    version, folder = described
    (folder / "index.faiss").write_bytes(b"Vectors")
    require_files(version, folder)
    (folder / "index.faiss").write_bytes(b"vector")
    with pytest.raises(InvalidData, match="truncated"):
        require_files(version, folder)


def test_a_version_of_older_software_has_no_digests(described: tuple[StoreVersion, Path]) -> None:
    require_files(VERSION.replace(files={}), described[1])
