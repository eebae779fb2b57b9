"""Workbooks, made here from the parts that Excel writes."""

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from ubm_embed.data.tables.table_files import scan_table
from ubm_embed.errors import InvalidData, NotFound

_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_LINKS = f'<Relationships xmlns="{_PACKAGE}/relationships">'
_FORMATS = '<cellXfs><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs>'
DATE = 45352.4375  # 2024-03-01 10:30


def workbook(file: Path, *sheets: Sequence[Sequence[Any]], settings: str = "") -> Path:
    numbers = range(1, len(sheets) + 1)
    names = "".join(f'<sheet name="S{number}" sheetId="{number}" r:id="r{number}"/>' for number in numbers)
    names = f"<sheets>{names}</sheets>"
    links = "".join(
        f'<Relationship Id="r{number}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{number}.xml"/>'
        for number in numbers
    )
    styles = f'<Relationship Id="styles" Type="{_OFFICE}/styles" Target="styles.xml"/>'
    root = f'<Relationship Id="r" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"/>',
        "_rels/.rels": f"{_LINKS}{root}</Relationships>",
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">{settings}{names}</workbook>',
        "xl/_rels/workbook.xml.rels": f"{_LINKS}{links}{styles}</Relationships>",
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}">{_FORMATS}</styleSheet>',
    }
    for number, rows in zip(numbers, sheets, strict=True):
        cells = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in rows)
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            f'<worksheet xmlns="{_MAIN}"><sheetData>{cells}</sheetData></worksheet>'
        )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, f'<?xml version="1.0"?>{text}')
    return file


def _cell(value: Any) -> str:
    if value is None:
        return "<c/>"
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return f'<c s="{int(value == DATE)}"><v>{value}</v></c>'


def test_every_cell_is_text_and_sheets_of_the_same_columns_are_one_table(tmp_path: Path) -> None:
    header = ["id", "price", "time", None]
    rows = [["007", 17.0, DATE, "x"], [None] * 4, [85048, 2.55, DATE, None]]
    file = workbook(tmp_path / "t.xlsx", [header, *rows], [], [header, ["9", None, None, "y"]])
    frame = scan_table(file, row="row", problem="problem").collect()
    assert frame.columns == ["id", "price", "time", "column_4", "row", "problem"]
    assert frame.rows() == [
        ("007", "17", "2024-03-01 10:30:00", "x", 1, None),
        ("85048", "2.55", "2024-03-01 10:30:00", None, 2, None),
        ("9", None, None, "y", 3, None),
    ]


@pytest.mark.parametrize(("settings", "day"), [("", "2024-03-01"), ('<workbookPr date1904="1"/>', "2028-03-02")])
def test_a_time_that_lost_its_format_is_a_time(tmp_path: Path, settings: str, day: str) -> None:
    rows = [[DATE, DATE], [45352.5, 3], [DATE, 45352.5], [7, 4], [DATE, None]]
    file = workbook(tmp_path / "t.xlsx", [["time", "price"], *rows], settings=settings)
    frame = scan_table(file).collect()
    date = f"{day} 10:30:00"
    assert frame["time"].to_list() == [date, f"{day} 12:00:00", date, "7", date]  # 7 is no plausible day
    assert frame["price"].to_list() == [date, "3", "45352.5", "4", None]  # most are numbers


def test_sheets_with_different_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="the sheets 'S1' and 'S2' have different columns") as caught:
        scan_table(workbook(tmp_path / "t.xlsx", [["id"], ["1"]], [["notes"]]))
    assert caught.value.file == tmp_path / "t.xlsx"


@pytest.mark.parametrize(
    ("sheets", "problem"), [([[]], "empty; expected a sheet"), ([[["a", "a"], ["1", "2"]]], "names 'a' more than once")]
)
def test_a_workbook_without_a_table_is_refused(tmp_path: Path, sheets: list[Any], problem: str) -> None:
    with pytest.raises(InvalidData, match=problem):
        scan_table(workbook(tmp_path / "t.xlsx", *sheets))


def test_what_is_no_workbook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_bytes(b"not a zip")
    with pytest.raises(InvalidData, match="not an Excel workbook"):
        scan_table(tmp_path / "t.xlsx")
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(InvalidData, match="not readable as an Excel workbook") as caught:
        scan_table(tmp_path / "t.xlsx")
    assert caught.value.file == tmp_path / "t.xlsx"


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ubm_embed.data.tables.excel_files._MAX_UNPACKED_BYTES", 1 << 20)
    file = workbook(tmp_path / "t.xlsx", [["id"], ["x" * (2 << 20)]])
    with pytest.raises(InvalidData, match="unpacks to 2 MB, more than 1"):
        scan_table(file)


def test_a_missing_library_is_named_with_the_line_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    with pytest.raises(NotFound, match=r"pip install 'ubm-embed\[excel\]'"):
        scan_table(workbook(tmp_path / "t.xlsx", [["id"], ["1"]]))
