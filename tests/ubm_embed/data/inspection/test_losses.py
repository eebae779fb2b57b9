"""The report of ingest, as inspect reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ubm_embed.data.inspection.losses import IngestLosses
from ubm_embed.data.logs.ingestion import ingest
from ubm_embed.errors import InvalidData, NotFound

LOG = "session_id,action,product_id,title\ns,view,p,Shoe\ns,view,p,\ns,view,q,\ns,view,r,Boot\n"


def test_shares_are_of_the_events_that_were_meant() -> None:
    found = IngestLosses.from_counts(
        100, {"other event": 30, "duplicate message": 10, "repeated": 10, "product without text": 5, "no timestamp": 5}
    )
    assert (found.unknown_product_share, found.lost_share) == (0.1, 0.2)


def test_what_ingest_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    report = ingest([tmp_path / "log.csv"], kind="native", out=tmp_path / "corpus")
    (tmp_path / "report.json").write_text(json.dumps(report.to_dict()))
    found = IngestLosses.read(tmp_path / "report.json")
    assert found.events == 4
    assert found.unknown_product_share == pytest.approx(1 / 3)  # of p, q, r; the second p is a repeat


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"report\.json"):
        IngestLosses.read(tmp_path / "report.json")


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], None),
        ({}, "events"),
        ({"events": True, "dropped": {}}, "events"),
        ({"events": -1, "dropped": {}}, "events"),
        ({"events": 1}, "dropped"),
        ({"events": 1, "dropped": {"no timestamp": "1"}}, "dropped"),
    ],
)
def test_not_a_report(tmp_path: Path, document: Any, field: str | None) -> None:
    (tmp_path / "report.json").write_text(json.dumps(document))
    with pytest.raises(InvalidData) as raised:
        IngestLosses.read(tmp_path / "report.json")
    assert (raised.value.file, raised.value.field) == (tmp_path / "report.json", field)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_not_json(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "report.json").write_bytes(data)
    with pytest.raises(InvalidData, match="not JSON"):
        IngestLosses.read(tmp_path / "report.json")
