"""A file says how a refresh goes, and a mistake in it is named."""

import textwrap
from pathlib import Path

import pytest

from indexer.index.index_request import IndexRequest
from indexer.refresh.gates import GateLimits
from indexer.refresh.settings import RefreshSettings
from indexer.versions.pruning import KeepPolicy
from ubm_embed.errors import InvalidData, NotFound

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "refresh.toml"


def test_an_empty_file_is_what_holds_without_one(file: Path) -> None:
    file.touch()
    assert RefreshSettings.read(file) == RefreshSettings()


def test_what_a_file_says_holds_and_the_rest_stays(file: Path) -> None:
    file.write_text("shard_rows = 500\n[gates]\nmost_lost = 0.5\nmost_shift = 1\n[keep]\nversions = 7\ndays = 1.5\n")
    assert RefreshSettings.read(file) == RefreshSettings(
        shard_rows=500, gates=GateLimits(most_lost=0.5, most_shift=1), keep=KeepPolicy(versions=7, days=1.5)
    )


def test_the_index_is_asked_for_as_by_the_options(file: Path) -> None:
    file.write_text('[index]\nkind = "IVF64,SQ8"\nrecall = 0.9\nlatency_ms = 2\nmemory_gb = 0.5\n')
    asked = IndexRequest(index="IVF64,SQ8", recall=0.9, latency_ms=2, memory_gb=0.5)
    assert RefreshSettings.read(file).index == asked


def test_of_the_index_a_file_need_not_say_all(file: Path) -> None:
    file.write_text("[index]\nrecall = 0.9\n")
    assert RefreshSettings.read(file).index == IndexRequest(recall=0.9)


def test_the_file_in_the_docs_can_be_read_and_changes_no_limit(file: Path) -> None:
    after = OPERATIONS.read_text("utf-8").partition("`UBM_EMBED_CONFIG`. What it leaves")[2]
    example = after[after.index("    shard_rows") :].partition("\nOf the index")[0]
    file.write_text(textwrap.dedent(example))
    found, usual = RefreshSettings.read(file), RefreshSettings()
    assert (found.shard_rows, found.gates, found.keep) == (usual.shard_rows, usual.gates, usual.keep)
    assert found.index == IndexRequest(index="auto", recall=0.99, latency_ms=5, memory_gb=8)


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ("shards = 3", "shards", "unknown; expected one of gates, index, keep, ray, shard_rows"),
        ("[gates]\nmost_lst = 0.5", "gates.most_lst", "unknown; expected one of .*most_lost"),
        ("[keep]\nmost_lost = 0.5", "keep.most_lost", "unknown; expected one of days, versions"),
        ("[gate]\nmost_lost = 0.5", "gate", "unknown"),
        ("gates = 3", "gates", r"expected a section \[gates\], got 3"),
        ("keep = [1]", "keep", r"expected a section \[keep\]"),
        ('shard_rows = "many"', "shard_rows", "expected a whole number, got 'many'"),
        ("shard_rows = 10.0", "shard_rows", r"expected a whole number, got 10\.0"),
        ("shard_rows = true", "shard_rows", "expected a whole number, got True"),
        ("[keep]\nversions = 2.5", "keep.versions", r"expected a whole number, got 2\.5"),
        ('[gates]\nmost_lost = "20%"', "gates.most_lost", "expected a number, got '20%'"),
        ("[gates]\nmost_lost = true", "gates.most_lost", "expected a number, got True"),
        ("shard_rows = 0", "shard_rows", "shard_rows must be at least 1, got 0"),
        ("[gates]\nmost_lost = 20", "gates.most_lost", r"most_lost must be in \[0, 1\], got 20"),
        ("[gates]\nleast_recall = nan", "gates.least_recall", r"least_recall must be in \[0, 1\], got nan"),
        ("[gates]\nmost_uniformity = 1", "gates.most_uniformity", "most_uniformity must be at most 0, got 1"),
        ("[keep]\nversions = 0", "keep.versions", "versions must be at least 1, got 0"),
        ("[keep]\ndays = -1", "keep.days", "days must be at least 0, got -1"),
        ("[keep]\ndays = nan", "keep.days", "days must be at least 0, got nan"),
        ('index = "flat"', "index", r"expected a section \[index\], got 'flat'"),
        ('[index]\nindex = "flat"', "index.index", "unknown; expected one of kind, latency_ms, memory_gb, recall"),
        ("[index]\nkind = 3", "index.kind", "expected a string, got 3"),
        ('[index]\nkind = " "', "index.kind", "kind must be auto, a kind or a FAISS factory string"),
        ('[index]\nrecall = "high"', "index.recall", "expected a number, got 'high'"),
        ("[index]\nrecall = 1.5", "index.recall", r"recall must be above 0 and at most 1, got 1\.5"),
        ("[index]\nlatency_ms = 0", "index.latency_ms", "latency_ms must be above 0, got 0"),
        ("[index]\nmemory_gb = inf", "index.memory_gb", "memory_gb must be above 0, got inf"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_field(file: Path, text: str, field: str, problem: str) -> None:
    file.write_text(text)
    with pytest.raises(InvalidData, match=problem) as caught:
        RefreshSettings.read(file)
    assert (caught.value.file, caught.value.field) == (file, field)


@pytest.mark.parametrize("data", [b"shard_rows", b"[gates", b"\xff", b"shard_rows = 1\nshard_rows = 2"])
def test_what_is_not_toml_is_named(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(InvalidData, match=r"refresh\.toml: not TOML"):
        RefreshSettings.read(file)


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(NotFound, match=r"no such file: .*refresh\.toml"):
        RefreshSettings.read(file)
    file.mkdir()
    with pytest.raises(InvalidData, match=r"refresh\.toml"):
        RefreshSettings.read(file)
