"""PNGs of a diagnosis."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from indexer.diagnostics.pictures.pngs import write_pngs
from indexer.diagnostics.report import ChartKind
from tests.indexer.diagnostics.pictures.made_up import ROWS, chart, diagnosis
from ubm_embed.errors import Conflict, NotFound


def size(file: Path) -> tuple[int, int]:
    """Width and height in the header of a PNG."""
    data = file.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_every_kind_has_a_picture(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    files = write_pngs(diagnosis(), tmp_path / "new", lambda what, done, total, note="": calls.append((done, total)))
    assert [file.stem for file in files] == [str(kind) for kind in ROWS]
    assert {*files} == {*(tmp_path / "new").iterdir()}
    assert all(min(size(file)) > 300 for file in files)
    assert calls == [(done, len(ROWS)) for done in range(1, len(ROWS) + 1)]


def test_a_chart_without_rows_has_none(tmp_path: Path) -> None:
    assert write_pngs(diagnosis(chart(ChartKind.BARS, rows=[])), tmp_path) == []


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "bars.png").mkdir()
    with pytest.raises(Conflict, match=r"bars\.png"):
        write_pngs(diagnosis(chart(ChartKind.BARS)), tmp_path)


def test_a_missing_library_is_named_with_the_line_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(NotFound, match=r"pip install 'ubm-embed\[diagnose\]'"):
        write_pngs(diagnosis(), tmp_path)
