"""CSV gives the rows that the csv module of the standard library gives, or an error that names the row."""

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ubm_embed.data.tables.csv_files import scan_csv
from ubm_embed.data.tables.formats import CsvFormat
from ubm_embed.errors import InvalidData

FUZZ = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
PIECES = st.sampled_from(
    ["a", "b", ",", '"', '""', "\n", "\r\n", "\r", " ", "é", "\u2028", "\0", 'x,"y\nz"\n', "1,2\n"]
)
VALUES = st.text(st.sampled_from('ab,;"\n\r é|\t'), max_size=4)


def write(file: Path, content: bytes | str) -> Path:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def read(file: Path, *, row: str | None = None, chunk_bytes: int = 1 << 20, **written: Any) -> pl.DataFrame:
    return scan_csv(file, CsvFormat(**written), row, chunk_bytes=chunk_bytes).collect(engine="streaming")


def reference(text: str, quote: str = '"') -> tuple[list[str], list[list[str]]]:
    """Header and rows by the standard library, as `csv.DictReader` takes them: without empty lines."""
    quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, quotechar=quote or None, quoting=quoting)
    header, *rows = [row for row in reader if row]
    return header, rows


def texts(frame: pl.DataFrame) -> list[list[str]]:
    return [[value or "" for value in row] for row in frame.rows()]


@FUZZ
@given(
    text=st.lists(PIECES, max_size=12).map("".join).map("x,y\n".__add__) | st.lists(PIECES, max_size=12).map("".join),
    chunk_bytes=st.integers(1, 30),
    quote=st.sampled_from(['"', ""]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_any_text_gives_the_same_rows_or_an_error(
    tmp_path: Path, text: str, chunk_bytes: int, quote: str, mark: bytes
) -> None:
    file = write(tmp_path / "t.csv", mark + text.encode())
    try:
        frame = read(file, row="row", chunk_bytes=chunk_bytes, quote=quote, separator=",")
    except InvalidData:
        return
    header, rows = reference(text, quote)
    assert frame.columns == [*(name or f"column_{number}" for number, name in enumerate(header, 1)), "row"]
    assert texts(frame.drop("row")) == rows
    assert frame["row"].to_list() == list(range(1, len(rows) + 1))


@FUZZ
@given(
    rows=st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=6),
    separator=st.sampled_from(",;\t|"),
    line_end=st.sampled_from(["\n", "\r\n"]),
    chunk_bytes=st.integers(1, 40),
    columns=st.sampled_from([["a"], ["c"], ["b", "row"], ["row"], ["c", "a"]]),
)
def test_whatever_the_csv_module_writes_is_read(
    tmp_path: Path, rows: list[tuple[str, ...]], separator: str, line_end: str, chunk_bytes: int, columns: list[str]
) -> None:
    out = io.StringIO(newline="")
    # With a line feed alone it would leave a carriage return without quotes, which no reader takes for text.
    quoting = csv.QUOTE_ALL if line_end == "\n" else csv.QUOTE_MINIMAL
    writer = csv.writer(out, delimiter=separator, lineterminator=line_end, quoting=quoting)
    writer.writerows([("a", "b", "c"), *rows])
    file = write(tmp_path / "t.csv", out.getvalue())
    frame = scan_csv(file, CsvFormat(), "row", chunk_bytes=chunk_bytes)
    whole = frame.collect(engine="streaming")
    assert texts(whole.drop("row")) == [list(row) for row in rows]
    assert frame.select(columns).collect(engine="streaming").equals(whole.select(columns))
    assert frame.filter(pl.col("a") == "a").select("b").collect().equals(whole.filter(pl.col("a") == "a").select("b"))
    assert frame.head(2).collect().equals(whole.head(2))


def test_a_stray_quote_in_a_column_that_is_not_read_is_an_error_too(tmp_path: Path) -> None:
    # pola-rs/polars#22395: a projected scan loses all rows between two of them.
    lines = [f"{row},x,y" for row in range(1, 2001)]
    lines[299] = '300,24" screen,y'
    lines[1699] = '1700,27" screen,y'
    file = write(tmp_path / "t.csv", "\n".join(["id,title,z", *lines]))
    with pytest.raises(
        InvalidData,
        match=r"a quote inside a field; double the quote, or, .*, declare quote = \"\" .* google_merchant_unquoted",
    ) as caught:
        scan_csv(file, CsvFormat()).select("id").collect(engine="streaming")
    assert (caught.value.row, caught.value.field) == (300, "title")
    assert read(file, quote="").height == 2000


@pytest.mark.parametrize("chunk_bytes", [7, 1 << 20])
@pytest.mark.parametrize(
    ("text", "row", "field", "problem"),
    [
        ("a,b\n1,2\n3\n4,5\n", 2, None, "expected 2 fields, found 1$"),
        ("a,b\n1,2\n3", 2, None, "expected 2 fields, found 1; the file may be cut short"),
        ("a,b\n1,2\n3,4,5\n", 2, None, "expected 2 fields, found 3"),
        ("a,b\n1,2,3\n4\n", 1, None, "expected 2 fields, found 3"),  # as many separators as two right rows
        ("a,b\n\n1,2\n\r\n3,4,5\n", 2, None, "found 3"),  # empty lines are no rows
        ("a\n1\n2,3\n", 2, None, "expected 1 fields, found 2"),
        ('a,b\n1,2\n3,"4\n5,6\n', 2, "b", "a quote that is never closed"),
        ('a,b\n1,2\n\n3,"4"x\n', 2, "b", "a quote inside a field"),
        ('a,b\n1,2\n3"4,5\n', 2, "a", "a quote inside a field"),
        ('a,b\n1,2\n"3\\"4",5\n', 2, "a", "a quote inside a field"),
        ('a,b\n1, "2"\n', 1, "b", "a quote inside a field"),
        ("a,b\n1,2\n3,\0\n", 2, "b", "a NUL character"),
        ("a,b\n1,2\r3,4\n", 1, None, "found 3"),
        ("a,b\n1,2\n3,4\r5\n", 2, "b", "a carriage return without a line feed"),
        (b"a,b\n1,2\n3,\xe9\n", 2, "b", "not UTF-8 text"),
        (b"a,b\n1,2\n3,\xc3", 2, "b", "not UTF-8 text"),
    ],
)
def test_a_malformed_row_is_named(
    tmp_path: Path, text: str | bytes, row: int, field: str | None, problem: str, chunk_bytes: int
) -> None:
    file = write(tmp_path / "t.csv", text)
    with pytest.raises(InvalidData, match=problem) as caught:
        read(file, chunk_bytes=chunk_bytes)
    assert (caught.value.file, caught.value.row, caught.value.field) == (file, row, field)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b,a,b\n1,2,3,4\n", "the header names 'a', 'b' more than once"),
        ("\n\r\n", "empty; expected CSV"),
        ("\xef\xbb\xbf".encode("latin-1"), "empty; expected CSV"),
        (b"\xe9,b\n1,2\n", "the header is not UTF-8 text"),
        ("a,b\r1,2\r", "a carriage return without a line feed"),
    ],
)
def test_a_malformed_header_is_an_error(tmp_path: Path, text: str | bytes, problem: str) -> None:
    with pytest.raises(InvalidData, match=problem) as caught:
        read(write(tmp_path / "t.csv", text))
    assert (caught.value.file, caught.value.row) == (tmp_path / "t.csv", None)


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    for text in ("a,b", "a,b\n", "a,b\r\n\r\n"):
        frame = read(write(tmp_path / "t.csv", text), row="row")
        assert frame.rows() == []
        assert frame.schema == {"a": pl.String(), "b": pl.String(), "row": pl.Int64()}


def test_columns_without_a_name_are_numbered(tmp_path: Path) -> None:
    assert read(write(tmp_path / "t.csv", ",a,\n0,1,2\n")).to_dicts() == [{"column_1": "0", "a": "1", "column_3": "2"}]


def test_an_empty_field_is_null_and_an_empty_text_is_not(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", 'a,b\n,""\nNA,\\N\n')
    assert read(file).rows() == [(None, ""), ("NA", "\\N")]
    assert read(file, nulls=("NA", "\\N")).rows() == [(None, ""), (None, None)]


def test_a_file_without_a_header_has_the_names_that_are_declared(tmp_path: Path) -> None:
    file = write(tmp_path / "t.dat", "1|2\n3|4\n")
    assert read(file, names=("a", "b")).to_dicts() == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert read(file, names=("a",), separator=";")["a"].to_list() == ["1|2", "3|4"]
    with pytest.raises(InvalidData, match="expected 3 fields, found 2") as caught:
        read(file, names=("a", "b", "c"))
    assert caught.value.row == 1


@pytest.mark.parametrize(
    ("header", "separator"),
    [("a,b", ","), ("a;b", ";"), ("a\tb", "\t"), ("a|b", "|"), ("a;b;c, d", ";"), ('"a,b,c";d', ";"), ("a", ",")],
)
def test_the_separator_is_the_one_of_the_header(tmp_path: Path, header: str, separator: str) -> None:
    frame = read(write(tmp_path / "t.csv", f"{header}\n"))
    assert frame.columns == next(csv.reader([header], delimiter=separator))


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1 << 20])
@pytest.mark.parametrize("line", ["sep=;\r\n", "SEP=;\n", '"sep=;"\n', "\ufeffsep=;\n"])
def test_the_line_of_excel_names_the_separator_and_is_no_row(tmp_path: Path, line: str, chunk_bytes: int) -> None:
    file = write(tmp_path / "t.csv", f"{line}a, b;c,d\n1;2\n\n3;4\n")
    assert read(file, row="row", chunk_bytes=chunk_bytes).rows() == [("1", "2", 1), ("3", "4", 2)]
    assert read(file, names=("x", "y")).rows()[0] == ("a, b", "c,d")
    with pytest.raises(InvalidData) as caught:
        read(write(tmp_path / "t.csv", f"{line}a;b\n1;2\n3\n"), chunk_bytes=chunk_bytes)
    assert caught.value.row == 2


def test_a_file_with_the_line_of_excel_alone_is_empty(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="empty; expected CSV"):
        read(write(tmp_path / "t.csv", "sep=;"))
    for header in ("sep=;,b", "sep=", "my sep=;"):  # of a table all the same
        assert len(read(write(tmp_path / "t.csv", f"{header}\n")).columns) >= 1


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.text("a:|é ", max_size=5), min_size=2, max_size=2), max_size=6),
    st.sampled_from(["::", "||", ":|:"]),
    st.integers(1, 9),
)
def test_a_separator_of_several_characters(
    tmp_path: Path, rows: list[list[str]], separator: str, chunk_bytes: int
) -> None:
    lines = [separator.join(row) for row in rows]
    expected = [line.split(separator) for line in lines if line]
    file = write(tmp_path / "t.csv", "".join(f"{line}\n" for line in [f"x{separator}y", *lines]))
    written = CsvFormat(separator=separator, quote="")
    frame = scan_csv(file, written, chunk_bytes=chunk_bytes)
    if any(len(row) != 2 for row in expected):
        with pytest.raises(InvalidData, match=r"row \d"):
            frame.collect()
    else:
        assert [[text or "" for text in row] for row in frame.collect().rows()] == expected


def test_a_separator_of_several_characters_inside_quotes(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", 'a::"b::c"\n1::"2::""3"""\n::4:\n')
    assert scan_csv(file, CsvFormat(separator="::")).collect().rows() == [("1", '2::"3"'), (None, "4:")]
    named = CsvFormat(separator="::", names=("a", "b"))
    assert scan_csv(write(tmp_path / "t.csv", "1::2\n"), named).collect().rows() == [("1", "2")]
    with pytest.raises(InvalidData, match=r"U\+001F"):
        scan_csv(write(tmp_path / "t.csv", "a::b\n1::2\x1f\n"), CsvFormat(separator="::")).collect()
    with pytest.raises(ValueError, match="must not hold the quote"):
        CsvFormat(separator='":"')


def test_a_file_that_is_not_utf8_is_read_in_the_fallback_encoding(tmp_path: Path) -> None:
    late = "x\n" * 2_000_000
    for text, encoding in (
        ("é", "utf-8"),
        ("é", "cp1252"),
        ("é", "utf-16"),
        (late + "é", "cp1252"),
        (late + "é", "utf-8"),
    ):
        file = write(tmp_path / "t.csv", f"a\n{text}\n".encode(encoding))
        frame = scan_csv(file, CsvFormat(fallback_encoding="cp1252")).collect()
        assert frame["a"].to_list()[-1] == "é"


@pytest.mark.parametrize("chunk_bytes", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("a,b\né,😀\n".encode(), None),
        ("a,b\né,😀\n".encode("utf-8-sig"), None),
        ("a,b\né,😀\n".encode("utf-8-sig"), "cp1252"),  # the mark says what it is
        ("a,b\né,😀\n".encode("utf-16"), None),
        ("\ufeffa,b\né,😀\n".encode("utf-16-be"), None),
        ("a,b\né,😀\n".encode("utf-16-le"), "utf-16-le"),
        ("a,b\né,😀\n".encode("utf-32"), None),
        ("a,b\né,😀\n".encode("gb18030"), "gb18030"),
        (gzip.compress(b"a,b\n") + gzip.compress("é,😀\n".encode()), None),  # as `cat` joins two files
        (pa.compress("a,b\né,😀\n".encode(), codec="zstd", asbytes=True), None),
    ],
    # gzip writes the time into its header, which must not be part of a test's name.
    ids=["utf-8", "mark", "mark and cp1252", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "gb18030", "gzip", "zstd"],
)
def test_text_is_read_in_any_encoding_and_compression(
    tmp_path: Path, content: bytes, encoding: str | None, chunk_bytes: int
) -> None:
    frame = read(write(tmp_path / "t.csv", content), encoding=encoding, chunk_bytes=chunk_bytes)
    assert frame.to_dicts() == [{"a": "é", "b": "😀"}]


@pytest.mark.parametrize(
    ("content", "encoding", "problem", "row"),
    [
        (b"a,b\n1,2\n3,\x81\n", "cp1252", "not cp1252 text", 2),
        ("a,b\n1,2\n".encode("utf-16")[:-1], None, "not utf-16 text", 1),
        ("a,b\n1,2\n".encode("utf-16-le"), None, "NUL", None),
        (b"a,b\n", "klingon", "unknown encoding 'klingon'", None),
        (b"a,b\n", "base64", "unknown encoding 'base64'", None),
    ],
)
def test_text_in_another_encoding_is_refused(
    tmp_path: Path, content: bytes, encoding: str | None, problem: str, row: int | None
) -> None:
    with pytest.raises(InvalidData, match=problem) as caught:
        read(write(tmp_path / "t.csv", content), encoding=encoding)
    assert (caught.value.file, caught.value.row) == (tmp_path / "t.csv", row)


ROWS = "a,b\n" + "".join(f"{row},x\n" for row in range(20_000))


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(ROWS.encode())[:-9],
        gzip.compress(ROWS.encode())[:5000],
        gzip.compress(ROWS.encode())[:5000] + b"\0" * 50 + gzip.compress(ROWS.encode())[5050:],
        pa.compress(ROWS.encode(), codec="zstd", asbytes=True)[:-5],
        b"\x1f\x8bnot gzip",
        b"\x28\xb5\x2f\xfdnot zstd",
    ],
    ids=["gzip without its end", "half of gzip", "gzip with a hole", "zstd without its end", "no gzip", "no zstd"],
)
def test_a_damaged_compressed_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InvalidData, match=r"not a complete (gzip|Zstandard) file") as caught:
        read(write(tmp_path / "t.csv", content))
    assert caught.value.file == tmp_path / "t.csv"


def test_a_record_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ubm_embed.data.tables.csv_files.MAX_RECORD_BYTES", 1000)
    for long in ("x" * 3000, '"' + "x,\n" * 1000):
        file = write(tmp_path / "t.csv", f"a,b\n1,2\n3,{long}\n")
        with pytest.raises(InvalidData, match="longer than") as caught:
            read(file, chunk_bytes=100)
        assert caught.value.row == 2


def test_a_file_that_changes_after_it_was_looked_at_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", "a,b\n1,2\n")
    frame = scan_csv(file, CsvFormat())
    assert frame.collect().height == 1
    write(file, "a,b\n1,2\n3,4\n")
    with pytest.raises(InvalidData, match="changed while it was read") as caught:
        frame.collect()
    assert caught.value.file == file


@pytest.mark.parametrize(
    "written",
    [{"separator": "\n"}, {"separator": "é"}, {"quote": "\r"}, {"separator": '"'}, {"separator": ",", "quote": ","}],
)
def test_an_invalid_format_is_refused(written: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"separator|quote"):
        CsvFormat(**written)
