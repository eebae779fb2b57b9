"""The benchmarks of search, on a shop so small that its figures mean nothing."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from benchmarks.refresh.toy_store import ALLOW
from benchmarks.report import RESULTS
from benchmarks.retrieval import index_kinds, live_query
from benchmarks.retrieval.shop_home import TrainedShop
from benchmarks.retrieval.trained_shop import make_trained_shop
from tests.benchmarks.conftest import PRODUCTS
from tests.rounding import rounding_error

# Those that need no extra package.
INDEXES = ["auto", "flat", "ivf-fp16", "disk", "FAISS Flat", "FAISS IVF,Flat"]


def test_it_has_vectors_of_products_and_of_sessions(shop: TrainedShop) -> None:
    assert shop.vectors.shape == (PRODUCTS, 256)
    assert shop.queries.shape == (1000, 256)
    for vectors in (shop.vectors, shop.queries):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=rounding_error(4, 256))
    assert all(document["interactions"] for document in shop.sessions())


def test_existing_parts_are_not_made_again(shop: TrainedShop) -> None:
    before = {file: file.stat().st_mtime_ns for file in shop.home.rglob("*") if file.is_file()}
    make_trained_shop(shop.home, PRODUCTS, ALLOW)
    assert {file: file.stat().st_mtime_ns for file in shop.home.rglob("*") if file.is_file()} == before


def test_every_index_is_built_tuned_and_timed_alike(shop: TrainedShop) -> None:
    indexes = {}
    for name in INDEXES:
        index_kinds.folder_of(shop, PRODUCTS, name).mkdir(parents=True)
        built = index_kinds.build(shop, PRODUCTS, name, tuning_queries=40)
        indexes[name] = json.loads(json.dumps(built | index_kinds.tune(shop, PRODUCTS, name, tuning_queries=40)))
    few = {"sessions": 40, "single_queries": 4, "batch_size": 8}
    timed = index_kinds.time_in_turns(shop, PRODUCTS, indexes, rounds=1, **few)
    for name, one in timed.items():
        assert indexes[name]["recall"] >= 0.99, name
        assert indexes[name]["bytes_on_disk"] > 0
        assert one["single_ms"] > 0
        assert one["batch_ms"] > 0
        assert one["recall_of_sessions"] > 0.5
        assert ("bare_single_ms" in one) == (name in ("auto", "flat", "ivf-fp16"))
    sizes = [{"products": PRODUCTS, "indexes": {name: indexes[name] | timed[name] for name in indexes}}]
    table = index_kinds.table({"sizes": sizes})
    assert all(name in table for name in INDEXES)
    assert "1,200 vectors" in table


def test_a_live_query_is_the_sum_of_its_steps(shop: TrainedShop) -> None:
    options = argparse.Namespace(home=shop.home, sessions=10, where="price < 80", explain=True)
    report = live_query.measure(options)
    for cache in ("cold", "warm"):
        shares = [step["share"] for name, step in report[cache].items() if name != "all"]
        assert sum(shares) == pytest.approx(1, abs=0.01)
        assert min(shares) >= 0
        assert report[cache]["encode"]["p50_ms"] <= report[cache]["all"]["p50_ms"]
    assert "encode" in live_query.table(report)


def test_the_command_lines_name_their_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for runner in (index_kinds, live_query):
        with pytest.raises(SystemExit) as ended:
            runner.main(["--help"])
        assert ended.value.code == 0
        assert "HOME" in capsys.readouterr().out


@pytest.mark.parametrize("runner", [index_kinds, live_query])
def test_earlier_reports_can_be_printed(runner: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    runner.main(["--show", str(RESULTS / f"{runner.NAME}.json")])
    assert "1,000,000" in capsys.readouterr().out


def test_a_child_process_runs_the_module_of_the_runner() -> None:
    assert importlib.util.find_spec(index_kinds.MODULE)
