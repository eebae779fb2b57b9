"""A TOML file sets a refresh, and a mistake in it is named with its file and field."""

import math
import textwrap
from pathlib import Path
from typing import Any

import pytest

from indexer.index.index_request import IndexRequest
from indexer.refresh.settings import GateLimits, RayWorkers, RefreshSettings
from indexer.updates.limits import UpdateLimits
from indexer.versions.pruning import KeepPolicy
from ubm_embed.errors import InvalidData, NotFound

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "refresh.toml"


def test_an_empty_file_has_the_defaults(file: Path) -> None:
    file.touch()
    assert RefreshSettings.read(file) == RefreshSettings()


def test_a_file_overrides_the_defaults_it_names(file: Path) -> None:
    file.write_text("shard_rows = 500\n[gates]\nmax_lost = 0.5\nmax_shift = 1\n[keep]\nversions = 7\ndays = 1.5\n")
    assert RefreshSettings.read(file) == RefreshSettings(
        shard_rows=500, gates=GateLimits(max_lost=0.5, max_shift=1), keep=KeepPolicy(versions=7, days=1.5)
    )


def test_the_index_section_has_the_options_of_the_commands(file: Path) -> None:
    file.write_text('[index]\nkind = "IVF64,SQ8"\nrecall = 0.9\nlatency_ms = 2\nmemory_gb = 0.5\n')
    request = IndexRequest(index="IVF64,SQ8", recall=0.9, latency_ms=2, memory_gb=0.5)
    assert RefreshSettings.read(file).index == request


def test_the_index_section_may_be_partial(file: Path) -> None:
    file.write_text("[index]\nrecall = 0.9\n")
    assert RefreshSettings.read(file).index == IndexRequest(recall=0.9)


def test_the_file_in_the_docs_has_the_default_limits(file: Path) -> None:
    after = OPERATIONS.read_text("utf-8").partition("`UBM_EMBED_CONFIG`. What it leaves")[2]
    example = after[after.index("    shard_rows") :].partition("\nOf the index")[0]
    file.write_text(textwrap.dedent(example))
    settings, default = RefreshSettings.read(file), RefreshSettings()
    assert settings.replace(index=None, ray=default.ray) == default
    assert UpdateLimits.read(file) == UpdateLimits()
    assert settings.index == IndexRequest(index="auto", recall=0.99, latency_ms=5, memory_gb=8)


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        (
            "shards = 3",
            "shards",
            "unknown; expected one of gate_queries, gates, index, keep, max_patch_share, ray, .*shard_rows",
        ),
        ("[gates]\nmax_lst = 0.5", "gates.max_lst", "unknown; expected one of .*max_lost"),
        ("[keep]\nmax_lost = 0.5", "keep.max_lost", "unknown; expected one of days, versions"),
        ("[gate]\nmax_lost = 0.5", "gate", "unknown"),
        ("gates = 3", "gates", r"must be a section \[gates\], got 3"),
        ("keep = [1]", "keep", r"must be a section \[keep\]"),
        ('shard_rows = "many"', "shard_rows", "must be an integer, got 'many'"),
        ("shard_rows = 10.0", "shard_rows", r"must be an integer, got 10\.0"),
        ("shard_rows = true", "shard_rows", "must be an integer, got True"),
        ("[keep]\nversions = 2.5", "keep.versions", r"must be an integer, got 2\.5"),
        ('[gates]\nmax_lost = "20%"', "gates.max_lost", "must be a number, got '20%'"),
        ("[gates]\nmax_lost = true", "gates.max_lost", "must be a number, got True"),
        ("shard_rows = 0", "shard_rows", "must be at least 1, got 0"),
        ("[gates]\nmax_lost = 20", "gates.max_lost", "must be at most 1, got 20"),
        ("[gates]\nmin_recall = nan", "gates.min_recall", "must be a finite number, got nan"),
        ("[gates]\nmax_uniformity = 1", "gates.max_uniformity", "must be at most 0, got 1"),
        ("[ray]\ncpus = 0", "ray.cpus", "must be at least 1, got 0"),
        ('[ray]\naddress = "head:6379"', "ray.address", "unknown; expected one of cpus, gpus, workers"),
        ("gate_queries = 0", "gate_queries", "must be at least 1, got 0"),
        ("[keep]\nversions = 0", "keep.versions", "must be at least 1, got 0"),
        ("[keep]\ndays = -1", "keep.days", "must be at least 0, got -1"),
        ("[keep]\ndays = nan", "keep.days", "must be at least 0, got nan"),
        ('index = "flat"', "index", r"must be a section \[index\], got 'flat'"),
        ('[index]\nindex = "flat"', "index.index", "unknown; expected one of kind, latency_ms, memory_gb, recall"),
        ("[index]\nkind = 3", "index.kind", "must be a string, got 3"),
        ('[index]\nkind = " "', "index.kind", "kind must be auto, a kind or a FAISS factory string"),
        ('[index]\nrecall = "high"', "index.recall", "must be a number, got 'high'"),
        ("[index]\nrecall = 1.5", "index.recall", r"recall must be at most 1(\.0)?, got 1\.5"),
        ("[index]\nlatency_ms = 0", "index.latency_ms", "latency_ms must be above 0"),
        ("[index]\nmemory_gb = inf", "index.memory_gb", "must be a finite number, got inf"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_field(file: Path, text: str, field: str, problem: str) -> None:
    file.write_text(text)
    with pytest.raises(InvalidData, match=problem) as caught:
        RefreshSettings.read(file)
    assert (caught.value.file, caught.value.field) == (file, field)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"shard_rows", "not TOML"),
        (b"[gates", "not TOML"),
        (b"shard_rows = 1\nshard_rows = 2", "not TOML"),
        ("# Größe\n".encode("latin-1"), "not TOML: it must be UTF-8, and it has the byte 0xf6 at position 5"),
        (b"x = " + b"[" * 10_000, "not TOML that can be read: too many brackets within one another"),
        (b"#" * (1 << 21), "too large; expected TOML of at most 1 MiB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_not_toml_is_named(file: Path, data: bytes, problem: str) -> None:
    file.write_bytes(data)
    with pytest.raises(InvalidData, match=rf"refresh\.toml: {problem}"):
        RefreshSettings.read(file)


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(NotFound, match=r"no such file: .*refresh\.toml"):
        RefreshSettings.read(file)
    file.mkdir()
    with pytest.raises(InvalidData, match=r"refresh\.toml: not TOML but a folder"):
        RefreshSettings.read(file)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("max_lost", [0, 1], [-0.1, 1.1, math.nan]),
        ("min_recall", [0, 1], [-0.1, 1.1, math.nan]),
        ("min_overlap", [0, 1], [-0.1, 1.1, math.nan]),
        ("min_overlap_of_another_model", [0, 1], [-0.1, 1.1, math.nan]),
        ("max_shift", [0, 2], [-0.1, 2.1, math.nan]),
        ("max_uniformity", [0, -4], [0.1, math.nan]),
    ],
)
def test_a_limit_outside_its_range_is_refused(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(GateLimits(**{name: value}), name) == value
    for value in bad:
        with pytest.raises(ValueError, match=f"^{name} must be .*, got {value}$"):
            GateLimits(**{name: value})


@pytest.mark.parametrize("options", [{"workers": 0}, {"cpus": 0}, {"gpus": -1}])
def test_impossible_workers_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        RayWorkers(**options)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("\ufeff[gates]\nmax_lost = 0.5\n", "utf-8")
    assert RefreshSettings.read(tmp_path / "s.toml").gates.max_lost == 0.5


def test_a_key_of_an_earlier_version_is_told_its_new_name(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[gates]\nmost_lost = 0.5\n")
    with pytest.raises(InvalidData, match="was renamed to max_lost") as caught:
        RefreshSettings.read(tmp_path / "s.toml")
    assert caught.value.field == "gates.most_lost"
