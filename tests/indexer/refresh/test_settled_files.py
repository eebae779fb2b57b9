"""A feed that is still being written is refused, and one that may have been cut short is reported."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import polars as pl
import pytest

from indexer.refresh import settled_files
from indexer.refresh.catalogue_scan import CatalogueScan
from indexer.refresh.settled_files import cut_short, require_settled
from ubm_embed.errors import Conflict

LINES = "product_id,title\np1,shoe\np2,sock\n"
NOW = 1_000_000.0


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited, on a clock that stands at `NOW`."""
    waited: list[float] = []
    monkeypatch.setattr(settled_files, "sleep", waited.append)
    monkeypatch.setattr(settled_files, "time", lambda: NOW)
    return waited


def write(file: Path, text: str = LINES, *, age: float = 3600) -> Path:
    file.write_text(text)
    os.utime(file, (NOW - age, NOW - age))
    return file


def test_an_old_and_complete_file_is_read_at_once(tmp_path: Path, waits: list[float]) -> None:
    require_settled([write(tmp_path / "p.csv")])
    assert waits == []


@pytest.mark.parametrize(("text", "age"), [(LINES, 0.5), (LINES[:-3], 3600)])
def test_a_doubtful_file_is_looked_at_twice(tmp_path: Path, waits: list[float], text: str, age: float) -> None:
    require_settled([write(tmp_path / "p.csv", text, age=age)])
    assert len(waits) == 1


def test_a_file_that_grows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "p.csv"
    file.write_text(LINES[:-3])
    monkeypatch.setattr(settled_files, "sleep", lambda _: file.write_text(LINES))
    with pytest.raises(Conflict, match=rf"p\.csv is still being written \({len(LINES) - 3} bytes, .* {len(LINES)}\)"):
        CatalogueScan.read(file)


def test_a_file_that_changes_while_it_is_scanned_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "p.csv")
    require_storable = "indexer.refresh.catalogue_scan.require_storable"
    monkeypatch.setattr(require_storable, lambda *_: file.write_text(LINES + "p3,boot\n"))
    with pytest.raises(Conflict, match=r"p\.csv changed while it was read"):
        CatalogueScan.read(file)


@pytest.mark.parametrize(
    ("name", "content", "cut"),
    [
        ("p.csv", LINES.encode(), False),
        ("p.csv", LINES[:-1].encode(), True),
        ("p.csv", LINES.replace("\n", "\r\n").encode(), False),
        ("p.csv", LINES.encode("utf-16"), False),
        ("p.csv", LINES[:-1].encode("utf-16"), True),
        ("p.csv.gz", gzip.compress(LINES[:-1].encode(), mtime=0), False),
        ("p.jsonl", b'{"product_id": "p1", "title": "shoe"}', True),
        ("p.json", b'[{"product_id": "p1", "title": "shoe"}]', False),
        ("p.json", b'{"product_id": "p1", "title": "shoe"}', True),
    ],
)
def test_a_file_of_lines_must_end_in_a_newline(tmp_path: Path, name: str, content: bytes, cut: bool) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert cut_short([file]) == ([file] if cut else [])


def test_parquet_has_an_end_of_its_own(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "p.parquet")
    assert cut_short([tmp_path / "p.parquet"]) == []


def test_the_last_product_of_a_file_that_may_be_cut_short_is_named(tmp_path: Path) -> None:
    scan = CatalogueScan.read(write(tmp_path / "p.csv", LINES[:-1]))
    said = "p.csv does not end in a newline and may have been cut short; its last product is 'p2'"
    assert scan.notices == (said,)
