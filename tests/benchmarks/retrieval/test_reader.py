"""A reader in a process of its own does what it is told; the figures of so small a shop mean nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.changed_catalogue import change
from benchmarks.refresh.toy_store import ALLOW
from benchmarks.report import RESULTS
from benchmarks.retrieval import reader, reader_process, reader_rows
from benchmarks.retrieval.reader_driver import Reader
from benchmarks.retrieval.reader_process import ReaderProcess, Readers, Side, TimeLimitError, command_cost
from benchmarks.retrieval.reader_rows import Measurement, latency
from benchmarks.retrieval.reader_stores import TODAY, Inputs, rules
from benchmarks.retrieval.shop_home import TrainedShop
from indexer.refresh.refresh import refresh
from ubm_embed.data.corpus import PRODUCTS_FILE, Corpus

SESSIONS = 6
KINDS = ["none", "where", "max_per", "diversity", "exclude", "boost", "all"]


class ReaderHere(ReaderProcess):
    """A reader in this process, which starts at once."""

    def __init__(self, side: Side, sessions: Path) -> None:
        documents = map(json.dumps, json.loads(sessions.read_text("utf-8")))
        self._reader = Reader(str(side.store), list(documents))

    def do(self, task: str, limit_s: float = 0.0, **options: Any) -> Any:
        return getattr(self._reader, task)(**options)

    def close(self) -> None:
        self._reader.close()


@pytest.fixture(scope="module")
def documents(shop: TrainedShop) -> list[dict[str, Any]]:
    return [one for one in shop.sessions() if len(one["interactions"]) > 1][:SESSIONS]


@pytest.fixture(scope="module")
def inputs(shop: TrainedShop, documents: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Today's code alone, over the shop's own store."""
    sessions = tmp_path_factory.mktemp("inputs") / "sessions.json"
    sessions.write_text(json.dumps(documents), "utf-8")
    side = Side(TODAY, RESULTS.parents[1], shop.store, shop.store)
    return Inputs((side,), sessions, sessions, rules(Corpus.open(shop.corpus).products), (1,))


@pytest.fixture(scope="module")
def process(inputs: Inputs) -> Iterator[ReaderProcess]:
    with ReaderProcess(inputs.sides[0], inputs.sessions) as started:
        yield started


@pytest.fixture(scope="module")
def driver(shop: TrainedShop, documents: list[dict[str, Any]]) -> Iterator[Reader]:
    made = Reader(str(shop.store), [json.dumps(one) for one in documents])
    made.open()
    made.warm(SESSIONS)
    yield made
    made.close()


def test_a_reader_says_how_long_opening_took_and_what_it_opened(process: ReaderProcess) -> None:
    opened = process.do("open")
    assert opened["products"] == 1200
    assert min(opened[step] for step in ("import_s", "open_s", "first_answer_s")) > 0
    assert process.memory_mb() > 1


def test_a_reader_that_fails_is_an_error(process: ReaderProcess, inputs: Inputs) -> None:
    with ReaderProcess(inputs.sides[0], inputs.sessions) as another, pytest.raises(RuntimeError, match="'answers'"):
        another.do("answers", count=1)  # nothing is open


def test_a_reader_over_its_time_is_ended(inputs: Inputs) -> None:
    with ReaderProcess(inputs.sides[0], inputs.sessions) as another, pytest.raises(TimeLimitError, match="than 0 s"):
        another.do("open", 0.0)


def test_after_a_time_limit_another_reader_is_started(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    class Slow(ReaderHere):
        def __init__(self, side: Side, sessions: Path) -> None:
            started.append([])

        def do(self, task: str, limit_s: float = 0.0, **options: Any) -> Any:
            started[-1].append(task)
            if task == "queries":
                raise TimeLimitError("too slow")

    monkeypatch.setattr(reader_process, "ReaderProcess", Slow)
    readers = Readers(inputs.sides, inputs.sessions, warm=1)
    with pytest.raises(TimeLimitError):
        readers.do(inputs.sides[0], "queries")
    readers.do(inputs.sides[0], "answers")
    readers.do(inputs.sides[0], "answers")
    assert started == [["open", "warm", "queries"], ["open", "warm", "answers", "answers"]]


def test_queries_are_timed_one_by_one_until_the_limit(driver: Reader) -> None:
    assert len(driver.queries(0, 4)) == 4
    assert len(driver.queries(0, 4, seconds=0)) == 1
    assert len(driver.queries(0, 2 * SESSIONS)) == 2 * SESSIONS, "sessions come again"
    steps = driver.steps(0, 3)
    assert all(len(times) == 3 and min(times) > 0 for times in steps.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("anew", [False, True])
def test_queries_obey_rules_of_each_kind(driver: Reader, inputs: Inputs, kind: str, anew: bool) -> None:
    for one in inputs.rules[kind]:
        assert len(driver.queries(0, 1, rules=one, anew=anew)) == 1


def test_rules_of_a_kind_differ(inputs: Inputs) -> None:
    assert list(inputs.rules) == KINDS
    for kind in KINDS[1:]:
        variants = [json.dumps(one) for one in inputs.rules[kind]]
        assert len(set(variants)) == len(variants) > 1
    assert sorted(inputs.rules["all"][0]) == sorted(KINDS[1:-1])


def test_a_condition_matches_one_product_of_a_hundred() -> None:
    products = pl.DataFrame({"product_id": [str(n) for n in range(1000)], "price": [float(n) for n in range(1000)]})
    (where, *_) = rules(products)["where"]
    assert 9 <= products.filter(pl.sql_expr(where["where"])).height <= 11
    excluded, boosted = (rules(products)[kind][0][kind] for kind in ("exclude", "boost"))
    assert len(set(excluded)) == 500, "half of so few"
    assert min(boosted.values()) < 0 < max(boosted.values())


def test_cpu_time_and_function_calls_are_those_of_a_query(driver: Reader) -> None:
    assert driver.cpu_in_calls(4, 2) > 0
    assert driver.cpu_of_callers(3, 2) > 0
    assert driver.function_calls(2) == driver.function_calls(2) > 10


def test_queries_go_on_while_a_version_takes_over(
    shop: TrainedShop, documents: list[dict[str, Any]], tmp_path: Path
) -> None:
    store = shutil.copytree(shop.store, tmp_path / "store")
    catalogue = shutil.copyfile(shop.corpus / PRODUCTS_FILE, tmp_path / PRODUCTS_FILE)
    refresh(products=change(catalogue, 0.01, 1), store=store, allow=ALLOW)
    follower = Reader(str(store), [json.dumps(one) for one in documents])
    follower.open()
    times = follower.swap([1, 2], 2)
    assert follower.retriever.version.version == 2, "the one that was live is again"
    follower.close()
    assert len(times["before"]) == len(times["after"]) == 4


def test_a_command_costs_time_and_memory_and_may_not_fail() -> None:
    small, large = (command_cost(["-c", f"x = b'1' * {size}"], {}) for size in (1, 200_000_000))
    assert large["peak_mb"] - small["peak_mb"] == pytest.approx(200_000_000 / 2**20, rel=0.1)
    assert small["cpu_seconds"] > 0
    with pytest.raises(RuntimeError, match="exit"):
        command_cost(["-c", "exit(1)"], {})


def test_a_reader_that_takes_too_long_is_reported(inputs: Inputs) -> None:
    class Slow(Readers):
        def do(self, side: Side, task: str, limit_s: float = 0.0, **options: Any) -> Any:
            raise TimeLimitError("too slow")

    run = Measurement(inputs, Slow(inputs.sides, inputs.sessions, 0), SESSIONS, 1, 1.0)
    assert reader_rows.rules(run)[TODAY]["where"] == {"stopped": "too slow"}


def test_a_latency_has_its_percentiles() -> None:
    assert latency([0.001, 0.002, 0.003]) == {"p50_ms": 2.0, "p99_ms": 2.98, "max_ms": 3.0, "count": 3}


def test_rows_can_be_measured_one_after_the_other(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reader, "prepare", lambda *arguments: inputs)
    monkeypatch.setattr(reader_process, "ReaderProcess", ReaderHere)
    out = tmp_path / "report.json"
    common = ["home", "--sessions", str(SESSIONS), "--out", str(out), "--rows"]
    reader.main([*common, "queries", "calls"])
    first = json.loads(out.read_text("utf-8"))
    reader.main([*common, "load"])
    measured = json.loads(out.read_text("utf-8"))
    assert {name: measured["rows"][name] for name in first["rows"]} == first["rows"]
    assert list(measured["rows"]) == ["queries", "calls", "load"]
    assert measured["rows"]["load"]["figures"][TODAY]["one_call_ms"] > 0
    assert str(tmp_path) not in out.read_text("utf-8"), "reports are published, so they hold no paths"
    printed = capsys.readouterr().out
    reader.main(["--show", str(out)])
    assert printed.endswith(capsys.readouterr().out), "the table comes from the saved report alone"


@pytest.mark.slow
def test_both_sides_are_measured_in_one_run(
    shop: TrainedShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    options = ["--sessions", "4", "--commands", "1", "--limit-s", "5", "--scratch", str(tmp_path / "made")]
    reader.main([str(shop.home), "--before", str(RESULTS.parents[1]), "--out", str(out), *options])
    report = json.loads(out.read_text("utf-8"))
    assert list(report["rows"]) == list(reader_rows.ROWS)
    assert report["rows"]["queries"]["figures"]["same_matches"] > 0.9
    table = capsys.readouterr().out
    assert "1,200 products" in table
    assert all(kind in table for kind in KINDS)
