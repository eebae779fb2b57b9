"""The benchmarks of search, on a shop so small that its figures mean nothing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.refresh.toy_store import ALLOW, write_catalogue, write_model
from benchmarks.retrieval import index_kinds, live_query, query_times
from benchmarks.retrieval.trained_shop import TrainedShop, make_trained_shop

PRODUCTS = 1200
# What is installed everywhere.
ENGINES = ["auto", "flat", "ivf-fp16", "disk", "FAISS Flat", "FAISS IVF,Flat"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TrainedShop:
    """With a model that is not trained."""
    home = tmp_path_factory.mktemp("home")
    write_model(home, write_catalogue(home / "learned", 300, seed=1), "tiny", seed=0)
    return make_trained_shop(home, PRODUCTS, ALLOW)


def test_it_has_vectors_of_its_products_and_of_sessions(shop: TrainedShop) -> None:
    assert shop.vectors.shape == (PRODUCTS, 256)
    assert shop.queries.shape == (1000, 256)
    for vectors in (shop.vectors, shop.queries):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert all(document["interactions"] for document in shop.sessions())


def test_what_is_there_is_not_made_again(shop: TrainedShop) -> None:
    before = {file: file.stat().st_mtime_ns for file in shop.home.rglob("*") if file.is_file()}
    make_trained_shop(shop.home, PRODUCTS, ALLOW)
    assert {file: file.stat().st_mtime_ns for file in shop.home.rglob("*") if file.is_file()} == before


def test_every_index_is_built_tuned_and_timed_alike(shop: TrainedShop, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, few in (
        (query_times, "_SINGLE", 4),
        (query_times, "_BATCH", 8),
        (index_kinds, "_SESSIONS", 40),
        (index_kinds, "_QUESTIONS", 40),
    ):
        monkeypatch.setattr(module, name, few)
    engines = {}
    for name in ENGINES:
        index_kinds.folder_of(shop, PRODUCTS, name).mkdir(parents=True)
        built = index_kinds.build(shop, PRODUCTS, name)
        engines[name] = json.loads(json.dumps(built | index_kinds.tune(shop, PRODUCTS, name)))
    timed = index_kinds.time_in_turns(shop, PRODUCTS, engines, rounds=1)
    for name, one in timed.items():
        assert engines[name]["recall"] >= 0.99, name
        assert engines[name]["bytes_on_disk"] > 0
        assert one["single_ms"] > 0
        assert one["batch_ms"] > 0
        assert one["recall_of_sessions"] > 0.5
        assert ("bare_single_ms" in one) == (name in ("auto", "flat", "ivf-fp16"))
    sizes = [{"products": PRODUCTS, "engines": {name: engines[name] | timed[name] for name in engines}}]
    table = index_kinds.table({"sizes": sizes})
    assert all(name in table for name in ENGINES)
    assert "1,200 vectors" in table


def test_a_live_query_is_the_sum_of_its_steps(shop: TrainedShop) -> None:
    options = argparse.Namespace(home=shop.home, sessions=10, threads=1, where="price < 80", explain=True)
    report = live_query.measure(options)
    for when in ("first", "warm"):
        shares = [step["share"] for name, step in report[when].items() if name != "all"]
        assert sum(shares) == pytest.approx(1, abs=0.01)
        assert min(shares) >= 0
        assert report[when]["encode"]["p50_ms"] <= report[when]["all"]["p50_ms"]
    assert report["alone"]["p50_ms"] > 0
    assert "times that" in live_query.table(report)


def test_the_command_lines_say_what_they_take(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for runner in (index_kinds, live_query):
        with pytest.raises(SystemExit) as ended:
            runner.main(["--help"])
        assert ended.value.code == 0
        assert "HOME" in capsys.readouterr().out
