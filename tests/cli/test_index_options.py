"""`--index` and its targets, as a shell sees them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.version import read_version

Shell = Callable[..., Any]
Catalogue = Callable[[int], Path]
Contents = Callable[[Path], dict[str, bytes]]
ALLOW = ("--allow", "neighbours", "--allow", "centroid")


def test_a_build_takes_the_kind_and_reports_what_it_measured(
    ubm: Shell, tmp_path: Path, model_folder: Path, catalogue: Catalogue
) -> None:
    command = ("build-index", "--model", model_folder, "--products", catalogue(1), "--store", tmp_path / "s")
    ran = ubm(*command, "--index", "hnsw", "--recall", "0.9", "--format", "json")
    assert (ran.code, "index hnsw, recall@10 1.000" in ran.err) == (0, True)
    parameters = json.loads(ran.out)["parameters"]
    assert parameters["factory"] == "HNSW32,SQfp16"
    assert parameters["requested"] == {"index": "hnsw", "recall": 0.9}
    assert parameters["median_ms"] > 0


def test_a_store_on_disk_is_built_searched_and_examined(
    ubm: Shell, tmp_path: Path, model_folder: Path, catalogue: Catalogue
) -> None:
    few = pl.concat([pl.read_parquet(catalogue(1))] * 50)
    few = few.with_columns(
        product_id=pl.format("p{}", pl.int_range(400)), title=pl.format("{} {}", "title", pl.int_range(400))
    )
    few.write_parquet(tmp_path / "many.parquet")
    built = ubm(
        *("build-index", "--model", model_folder, "--products", tmp_path / "many.parquet", "--store", tmp_path / "s"),
        *("--index", "disk", "--recall", "0.5"),
    )
    assert (built.code, "index disk, recall@10" in built.err) == (0, True)
    lookup = ubm("lookup", "--product-id", "p7", "--where", "title LIKE '%7%'", "--store", tmp_path / "s")
    titles = [match["title"] for match in json.loads(lookup.out)["matches"]]
    assert len(titles) == 10
    assert all("7" in title for title in titles)
    assert ubm("doctor", "--store", tmp_path / "s").code == 0
    refused = ubm("export", "--store", tmp_path / "s", "--to", "faiss", "--out", tmp_path / "out")
    assert (refused.code, "it is not one of FAISS's" in refused.err) == (3, True)
    assert not (tmp_path / "out").exists()


def test_a_refresh_changes_the_index_though_no_product_changed(ubm: Shell, nights: Path, catalogue: Catalogue) -> None:
    ran = ubm("refresh", "--products", catalogue(3), "--store", nights, "--index", "fp16", *ALLOW)
    assert (ran.code, json.loads(ran.out)["encoded"]) == (0, 0)
    assert read_version(EmbeddingStore.open(nights)).kind == "fp16"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {"index": "hnsw", "recall": 0.9, "memory_gb": 1.0}),
        (("--recall", "0.8"), {"index": "hnsw", "recall": 0.8, "memory_gb": 1.0}),
        (("--index", "fp16"), {"index": "fp16"}),
        (("--index", "fp16", "--recall", "0.8"), {"index": "fp16", "recall": 0.8}),
    ],
)
def test_options_take_precedence_over_the_file(
    ubm: Shell, tmp_path: Path, nights: Path, catalogue: Catalogue, options: tuple[str, ...], expected: dict[str, Any]
) -> None:
    (tmp_path / "index.toml").write_text('[index]\nkind = "hnsw"\nrecall = 0.9\nmemory_gb = 1.0\n')
    command = ("refresh", "--products", catalogue(3), "--store", nights, "--config", tmp_path / "index.toml")
    assert ubm(*command, *options, *ALLOW).code == 0
    assert read_version(EmbeddingStore.open(nights)).parameters["requested"] == expected
    assert "nothing changed" in ubm(*command, *options).err


def test_a_build_reads_the_file_too(ubm: Shell, tmp_path: Path, model_folder: Path, catalogue: Catalogue) -> None:
    (tmp_path / "index.toml").write_text('[index]\nkind = "hnsw"\n')
    ran = ubm(
        *("build-index", "--model", model_folder, "--products", catalogue(1), "--store", tmp_path / "s"),
        *("--config", tmp_path / "index.toml", "--recall", "0.9"),
    )
    assert ran.code == 0
    requested = read_version(EmbeddingStore.open(tmp_path / "s")).parameters["requested"]
    assert requested == {"index": "hnsw", "recall": 0.9}


def test_a_target_outside_its_range_in_a_file_names_the_file(
    ubm: Shell, tmp_path: Path, nights: Path, catalogue: Catalogue
) -> None:
    (tmp_path / "index.toml").write_text("[index]\nrecall = 2\n")
    ran = ubm("refresh", "--products", catalogue(4), "--store", nights, "--config", tmp_path / "index.toml")
    assert ran.code == 3
    assert f"{tmp_path / 'index.toml'}, field 'index.recall': recall must be at most 1" in ran.err


class TestReport:
    """A refresh reports the index if another one is requested."""

    CHANGE: ClassVar[dict[str, Any]] = {
        "from": {"kind": "flat", "index": "auto"},
        "to": {"index": "hnsw", "recall": 0.9},
    }

    def test_a_dry_run_names_both_and_changes_nothing(
        self, ubm: Shell, nights: Path, catalogue: Catalogue, contents: Contents
    ) -> None:
        before = contents(nights)
        command = ("refresh", "--products", catalogue(3), "--store", nights, "--index", "hnsw", "--recall", "0.9")
        ran = ubm(*command, "--dry-run")
        assert (ran.code, json.loads(ran.out)["index"]) == (0, self.CHANGE)
        assert ran.err == (
            f"{nights}: would encode 0 products and write 0, with the index hnsw (recall 0.9) in place of flat (auto); "
            "nothing was changed\n"
        )
        assert contents(nights) == before

    def test_a_refresh_names_both(self, ubm: Shell, nights: Path, catalogue: Catalogue) -> None:
        command = ("refresh", "--products", catalogue(4), "--store", nights, "--index", "hnsw", "--recall", "0.9")
        ran = ubm(*command, *ALLOW)
        assert (ran.code, json.loads(ran.out)["index"]) == (0, self.CHANGE)
        live = (
            f"{nights}: version 4 is live after 3, with the index hnsw (recall 0.9) in place of flat (auto); 1 products"
        )
        assert live in ran.err
        again = ubm(*command)
        assert json.loads(again.out)["index"] is None
        assert again.err == f"{nights}: nothing changed; version 4 stays live\n"

    def test_the_same_index_is_not_named(self, ubm: Shell, nights: Path, catalogue: Catalogue) -> None:
        ran = ubm("refresh", "--products", catalogue(4), "--store", nights, "--index", "auto", "--dry-run")
        assert json.loads(ran.out)["index"] is None
        assert "the index" not in ran.err

    def test_a_dry_run_refuses_an_index_that_cannot_be_built(
        self, ubm: Shell, nights: Path, catalogue: Catalogue
    ) -> None:
        ran = ubm("refresh", "--products", catalogue(3), "--store", nights, "--index", "hsnw", "--dry-run")
        assert (ran.code, ran.out) == (3, "")
        assert "'hsnw' is no kind of index" in ran.err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--recall", "2"), "--recall must be at most 1"),
        (("--latency-ms", "0"), "--latency-ms must be above 0, got 0"),
        (("--memory-gb", "-1"), "--memory-gb must be above 0, got -1"),
        (("--index", ""), "--index must be auto, a kind or a FAISS factory string"),
    ],
)
def test_a_target_outside_its_range_is_a_usage_error(
    ubm: Shell, nights: Path, catalogue: Catalogue, options: tuple[str, str], problem: str
) -> None:
    ran = ubm("refresh", "--products", catalogue(4), "--store", nights, *options)
    assert ran.code == 2
    assert problem in ran.err


def test_an_unknown_kind_is_named(ubm: Shell, nights: Path, catalogue: Catalogue) -> None:
    ran = ubm("refresh", "--products", catalogue(4), "--store", nights, "--index", "hsnw")
    assert ran.code == 3
    assert "'hsnw' is no kind of index and no FAISS factory string for vectors of width 16" in ran.err
    assert read_version(EmbeddingStore.open(nights)).version == 3


def test_latency_is_a_gate(ubm: Shell, nights: Path, catalogue: Catalogue) -> None:
    ran = ubm("refresh", "--products", catalogue(4), "--store", nights, "--latency-ms", "0.000001", *ALLOW)
    assert ran.code == 6
    assert "gate 'latency'" in ran.err
    assert "--allow latency, or another --latency-ms" in ran.err
