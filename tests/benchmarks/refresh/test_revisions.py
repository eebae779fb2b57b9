"""The runner of revisions changes what it says, and saves raw figures; those of so small a shop mean nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import polars as pl
import pytest

from benchmarks.refresh import revisions
from benchmarks.refresh.toy_store import write_catalogue
from benchmarks.retrieval.shop_home import TrainedShop


def test_changes_are_new_products_titles_and_prices_in_turns(tmp_path: Path) -> None:
    rows = pl.read_parquet(write_catalogue(tmp_path, 50, 0))
    changes = revisions.single_changes(rows, 6)
    known = [change["product_id"] in set(rows["product_id"]) for change in changes]
    assert known == [False, True, True] * 2
    assert [sorted(change) for change in changes[1:3]] == [["product_id", "title"], ["price", "product_id"]]
    assert [sorted(change) for change in revisions.bulk_changes(rows[:2])] == [
        ["product_id", "title"],
        ["price", "product_id"],
    ]


class Handler(BaseHTTPRequestHandler):
    """Answers the third request."""

    requests = 0

    def do_GET(self) -> None:
        Handler.requests += 1
        self.send_response(200 if Handler.requests > 2 else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Handler, "requests", 0)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_product_is_waited_for_until_it_is_answered(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    revisions.wait_for(address)
    assert Handler.requests == 3
    monkeypatch.setattr(revisions, "_SERVICE_SECONDS", 0.0)
    with pytest.raises(TimeoutError):
        revisions.wait_for(address)


def test_a_report_has_raw_figures(
    shop: TrainedShop, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A service in a process of its own takes seconds to start.
    monkeypatch.setattr(revisions, "seconds_to_answer", lambda *_: {"command": [0.7], "request": [0.02]})
    monkeypatch.setattr(revisions, "_WARM_UP", 1)
    out = tmp_path / "report.json"
    revisions.main([str(shop.home), "--upserts", "6", "--queries", "2", "--out", str(out)])
    report = json.loads(out.read_text("utf-8"))
    assert str(shop.home) not in out.read_text("utf-8"), "reports are published, so they hold no paths"
    assert len(report["upserts"]["milliseconds"]) == 6
    assert {name: [one["share"] for one in entries] for name, entries in report["queries"].items()} == {
        name: [0.0, 0.01, 0.05] for name in revisions.RULES
    }
    shares = report["queries"]["no rules"]
    assert [len(one["milliseconds"]) for one in shares] == [2, 2, 2]
    assert shares[0]["revision_rows"] < shares[1]["revision_rows"] < shares[2]["revision_rows"]
    measured = capsys.readouterr().out
    assert "to the first answer: command 0.70 s" in measured
    revisions.main(["--show", str(out)])
    assert capsys.readouterr().out == measured, "the table comes from the saved report alone"
