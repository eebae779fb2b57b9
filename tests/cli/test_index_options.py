"""`--index` and its targets, as a shell sees them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexer.store import EmbeddingStore
from indexer.versions.version import read_version

Shell = Callable[..., Any]
Catalogue = Callable[[int], Path]
ALLOW = ("--allow", "neighbours", "--allow", "centroid")


def test_a_build_takes_the_kind_and_says_what_it_measured(
    ubm: Shell, tmp_path: Path, model_folder: Path, catalogue: Catalogue
) -> None:
    command = ("build-index", "--model", model_folder, "--products", catalogue(1), "--store", tmp_path / "s")
    ran = ubm(*command, "--index", "hnsw", "--recall", "0.9", "--format", "json")
    assert (ran.code, "index hnsw, recall@10 1.000" in ran.err) == (0, True)
    parameters = json.loads(ran.out)["parameters"]
    assert parameters["factory"] == "HNSW32,SQfp16"
    assert parameters["asked"] == {"index": "hnsw", "recall": 0.9}
    assert parameters["median_ms"] > 0


def test_a_refresh_changes_it_though_no_product_did(ubm: Shell, nights: Path, catalogue: Catalogue) -> None:
    ran = ubm("refresh", "--products", catalogue(3), "--store", nights, "--index", "fp16", *ALLOW)
    assert (ran.code, json.loads(ran.out)["encoded"]) == (0, 0)
    assert read_version(EmbeddingStore.open(nights)).kind == "fp16"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--recall", "2"), "--recall must be above 0 and at most 1, got 2"),
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


def test_a_kind_that_there_is_not_is_named(ubm: Shell, nights: Path, catalogue: Catalogue) -> None:
    ran = ubm("refresh", "--products", catalogue(4), "--store", nights, "--index", "hsnw")
    assert ran.code == 3
    assert "'hsnw' is no kind of index and no FAISS factory string for vectors of width 16" in ran.err
    assert read_version(EmbeddingStore.open(nights)).version == 3


def test_too_slow_is_a_gate(ubm: Shell, nights: Path, catalogue: Catalogue) -> None:
    ran = ubm("refresh", "--products", catalogue(4), "--store", nights, "--latency-ms", "0.000001", *ALLOW)
    assert ran.code == 6
    assert "gate 'latency'" in ran.err
    assert "--allow latency, or another --latency-ms" in ran.err
