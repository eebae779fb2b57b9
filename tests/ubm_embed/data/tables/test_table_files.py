import gzip
import json
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from ubm_embed.data.tables.formats import CsvFormat
from ubm_embed.data.tables.table_files import collect_tables, find_files, scan_table, table_files, table_kind
from ubm_embed.errors import InvalidData, NotFound

ROWS = [{"id": "007", "price": 1.5}, {"id": "x", "price": 2}]
TEXTS = [("007", "1.5"), ("x", "2")]


def write(file: Path, text: str) -> Path:
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "wt", encoding="utf-8") as stream:
        stream.write(text)
    return file


def csv() -> str:
    return "id,price\n007,1.5\nx,2\n"


def lines() -> str:
    return "\n".join(map(json.dumps, ROWS)) + "\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", csv()),
        ("t.csv.gz", csv()),
        ("t.CSV", csv()),
        ("t.json", json.dumps(ROWS, indent=1)),
        ("t.json.gz", json.dumps(ROWS)),
        ("lines.json", lines()),
        ("t.jsonl", lines()),
        ("t.ndjson", lines()),
        ("t.jsonl.gz", lines()),
    ],
)
def test_every_column_of_a_text_form_arrives_as_text(tmp_path: Path, name: str, text: str) -> None:
    assert scan_table(write(tmp_path / name, text)).collect().rows() == TEXTS


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [1, 2], "tags": [["a"], []]})
    frame.write_parquet(tmp_path / "t.parquet")
    assert scan_table(tmp_path / "t.parquet").collect().equals(frame)


def test_json_values_of_mixed_kinds_arrive_as_their_json(tmp_path: Path) -> None:
    file = write(tmp_path / "t.jsonl", '{"a": {"colour": "red"}}\n{"a": [1, "x"], "late": true}\n\n{"a": null}\n')
    frame = scan_table(file).collect()
    assert [json.loads(value) if value else None for value in frame["a"]] == [{"colour": "red"}, [1, "x"], None]
    assert frame["late"].to_list() == [None, "true", None]


def test_a_schema_says_what_to_read_from_json(tmp_path: Path) -> None:
    file = write(tmp_path / "t.jsonl", '{"p": {"id": 1, "more": 2}, "n": 1}\n{"p": {"id": "x"}}\n')
    schema = {"p": pl.Struct({"id": pl.String, "absent": pl.String})}
    assert scan_table(file, schema=schema).collect().to_dicts() == [
        {"p": {"id": "1", "absent": None}},
        {"p": {"id": "x", "absent": None}},
    ]


def test_a_folder_is_its_files_of_one_kind_by_name(tmp_path: Path) -> None:
    write(tmp_path / "b.csv", "id,more\n2,x\n")
    write(tmp_path / "a.csv.gz", "id\n1\n")
    write(tmp_path / "README.md", "not a table")
    write(tmp_path / ".hidden.jsonl", "{}")
    assert scan_table(tmp_path).collect().rows() == [("1", None), ("2", "x")]


def test_a_folder_is_read_with_the_folders_in_it_but_nothing_hidden(tmp_path: Path) -> None:
    # As Segment lays out its logs in S3, and as Spark leaves its output.
    names = ("s/1709251200000/1709287200000.ab.1.1.2.gz", "s/1709251200000/1709287200000.ab.1.1.1.gz", "s/2/x.1.1.1.gz")
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, f'{{"n": {number}}}\n')
    for hidden in ("_SUCCESS", "_temporary/part-0.csv", ".git/a.csv", "s/.part.crc", "s/2/_metadata"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_text("a,b\n1,2\n")
    (tmp_path / "s" / "part-7.json").touch()  # of a worker that had no rows
    (tmp_path / "s" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert [str(file.relative_to(tmp_path)) for file in table_files(tmp_path)] == sorted(names)
    assert scan_table(tmp_path).collect()["n"].to_list() == ["1", "0", "2"]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("events_000000000000", b' {"a": 1}\n', "JSON Lines"),
        ("events", b"\xef\xbb\xbf" + b'{"a": 1}', "JSON Lines"),
        ("t.log", b'[{"a": 1}]', "JSON"),
        ("t.dat", b"a|b\n1|2\n", "CSV"),
        ("t.txt", b"a\tb\n1\t2\n", "CSV"),
        ("t.tsv", b"a\n1\n", "CSV"),
        ("t.TAB", b"a\n1\n", "CSV"),
        ("t.gz", gzip.compress(b"a;b\n1;2\n", mtime=0), "CSV"),
        ("t.dat", "a;b\n1;2\n".encode("utf-16"), "CSV"),
        ("t.csv.zst", pa.compress(b"a\n1\n", codec="zstd", asbytes=True), "CSV"),
        ("t.ndjson.zst", pa.compress(b'{"a": 1}', codec="zstd", asbytes=True), "JSON Lines"),
        ("feed", b"<?xml version='1.0'?><rss><item><id>1</id></item></rss>", "XML"),
    ],
)
def test_the_kind_is_by_content_where_the_name_does_not_tell(
    tmp_path: Path, name: str, content: bytes, kind: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert table_kind(tmp_path / name) == kind
    assert scan_table(tmp_path / name, row="row").collect().select(pl.first(), "row").row(0) == ("1", 1)


def test_the_row_number_replaces_a_column_of_its_name(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", "row,a\n7,1\n")
    write(tmp_path / "t.jsonl", '{"row": 7, "problem": 8, "a": "1"}\n')
    pl.DataFrame({"row": [7], "a": ["1"]}).write_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.jsonl", "t.parquet"):
        frame = scan_table(tmp_path / name, row="row", problem="problem")
        assert frame.select("a", "row", "problem").collect().rows() == [("1", 1, None)]


def test_parquet_is_known_without_its_suffix(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "part-0")
    assert scan_table(tmp_path / "part-0", row="row").collect().rows() == [(1, 1)]


@pytest.mark.parametrize(
    ("name", "content"), [("a.md", "# a, b"), ("a.py", "x = 1, 2"), ("a.txt", "words"), ("a.png", "\0,")]
)
def test_what_is_no_table_is_left_out_of_a_folder(tmp_path: Path, name: str, content: str) -> None:
    write(tmp_path / name, content)
    write(tmp_path / "t.csv", csv())
    assert table_files(tmp_path) == [tmp_path / "t.csv"]


def test_text_in_parquet_is_text_however_it_is_stored(tmp_path: Path) -> None:
    values, kind = ["view", None, "add"], pl.Enum(["add", "view"])
    frame = pl.DataFrame(
        {
            "category": pl.Series(values, dtype=pl.Categorical),
            "enum": pl.Series(values, dtype=kind),
            "bytes": [b"view", None, "\u00e9".encode()],
            "list": pl.Series([values, None, []], dtype=pl.List(pl.Categorical)),
            "record": pl.Series([{"a": value} for value in values], dtype=pl.Struct({"a": kind})),
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    read = scan_table(tmp_path / "t.parquet").collect()
    assert read["category"].to_list() == read["enum"].to_list() == values
    assert read["bytes"].to_list() == ["view", None, "\u00e9"]
    assert read["list"].to_list() == [values, None, []]
    assert read["record"].to_list() == [{"a": value} for value in values]
    assert read["category"].dtype == read["bytes"].dtype == pl.String


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    for name in "ab":
        pl.DataFrame({"a": list(range(10_000))}).write_parquet(tmp_path / f"{name}.parquet")
    content = bytearray((tmp_path / "b.parquet").read_bytes())
    content[4:2000] = bytes(1996)
    (tmp_path / "b.parquet").write_bytes(content)
    files = table_files(tmp_path)
    with pytest.raises(InvalidData, match="not readable as Parquet") as caught:
        collect_tables([scan_table(tmp_path)], files)
    assert caught.value.file == tmp_path / "b.parquet"


@pytest.mark.parametrize(
    ("size", "problem"), [(-9, "the file may be cut short"), (9, "cut short"), (3, "not Parquet, as its name says")]
)
def test_a_cut_parquet_file_is_called_so(tmp_path: Path, size: int, problem: str) -> None:
    pl.DataFrame({"a": ["x"]}).write_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:size])
    with pytest.raises(InvalidData, match=problem):
        scan_table(tmp_path / "t.parquet")


def test_bytes_in_parquet_that_are_no_text_are_named(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    pl.DataFrame({"id": [b"a", b"b", None], "title": [b"x", None, b"\xff"]}).write_parquet(file)
    with pytest.raises(InvalidData, match="not UTF-8 text") as caught:
        collect_tables([scan_table(file)], [file])
    assert (caught.value.file, caught.value.row, caught.value.field) == (file, 3, "title")
    assert scan_table(file).select("id").collect()["id"].to_list() == ["a", "b", None]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.csv", b"PAR1....PAR1", "expected CSV, as its name says, found Parquet"),
        ("t.json", b"PAR1....PAR1", "expected JSON, as its name says, found Parquet"),
        ("t.csv", b'{"a": 1, "b": "x"}\n', "expected CSV, as its name says, found JSON Lines"),
        ("t.csv.gz", gzip.compress(b'[{"a": 1}]', mtime=0), "expected CSV, as its name says, found JSON"),
        ("t.tsv", b'<?xml version="1.0"?><rss/>', "expected CSV, as its name says, found XML"),
        ("t.csv", b"PK\x03\x04...", "expected CSV, as its name says, found a ZIP archive"),
        ("t.parquet", b"a,b\n1,2\n", "not Parquet, as its name says"),
    ],
)
def test_a_file_that_is_something_else_than_its_name_says_is_called_so(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidData, match=problem):
        scan_table(tmp_path / name)


def test_a_table_without_a_header_may_begin_like_json(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", '{"a": 1}|x\n')
    frame = scan_table(tmp_path / "t.csv", csv=CsvFormat(names=("a", "b"), separator="|", quote=""))
    assert frame.collect().rows() == [('{"a": 1}', "x")]


def test_a_file_that_occurs_again_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    file = write(tmp_path / "logs" / "a.csv", csv())
    (tmp_path / "logs" / "b.csv").symlink_to(file)
    (tmp_path / "c.csv").symlink_to(file)
    found = find_files([tmp_path / "logs", file, tmp_path / "c.csv"])
    assert found.files == [file]
    assert found.left_out == {
        str(tmp_path / "logs" / "b.csv"): f"the same file as {file}",
        str(file): "given twice",
        str(tmp_path / "c.csv"): f"the same file as {file}",
    }
    assert scan_table(tmp_path / "logs").collect().height == 2


def test_an_empty_file_among_others_is_left_out_unless_it_cannot_be_right(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", csv())
    write(tmp_path / "b.csv", "")
    assert find_files([tmp_path]).left_out == {str(tmp_path / "b.csv"): "empty"}
    (tmp_path / "p").mkdir()
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "p" / "a.parquet")
    (tmp_path / "p" / "b.parquet").touch()
    with pytest.raises(InvalidData, match="empty") as caught:
        scan_table(tmp_path / "p")
    assert caught.value.file == tmp_path / "p" / "b.parquet"


def test_columns_of_several_files_go_together_or_are_named(tmp_path: Path) -> None:
    def files(*frames: pl.DataFrame) -> Path:
        for number, frame in enumerate(frames):
            frame.write_parquet(tmp_path / f"{number}.parquet")
        return tmp_path

    texts, whole = pl.DataFrame({"a": ["x"]}), pl.DataFrame({"a": [1], "b": [True]})
    assert scan_table(files(whole, texts)).collect().rows() == [("1", True), ("x", None)]
    assert scan_table(files(whole, pl.DataFrame({"a": [0.5]}))).collect()["a"].to_list() == [1.0, 0.5]
    for other in (pl.DataFrame({"a": [["x"]]}), pl.DataFrame({"a": [datetime(2024, 1, 1)]})):
        with pytest.raises(
            InvalidData, match=r"expected a whole number as in .*0\.parquet, found a (list|date)"
        ) as caught:
            scan_table(files(whole, other))
        assert (caught.value.file, caught.value.field) == (tmp_path / "1.parquet", "a")


@pytest.mark.parametrize(("names", "problem"), [([], "found none"), (["a.csv", "b.jsonl"], "found CSV and JSON Lines")])
def test_a_folder_without_one_kind_is_refused(tmp_path: Path, names: list[str], problem: str) -> None:
    for name in names:
        write(tmp_path / name, "{}")
    with pytest.raises(InvalidData, match=problem) as caught:
        scan_table(tmp_path)
    assert caught.value.file == tmp_path


def test_a_missing_path_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"absent\.csv"):
        scan_table(tmp_path / "absent.csv")


@pytest.mark.parametrize("name", ["t.pdf", "t", "t.parquet.gz", "t.txt"])
def test_a_file_of_no_known_kind_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "x")
    with pytest.raises(InvalidData, match="content that is not a table") as caught:
        scan_table(tmp_path / name)
    assert caught.value.file == tmp_path / name


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.json", "t.jsonl"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InvalidData, match="empty") as caught:
        scan_table(tmp_path / name)
    assert caught.value.file == tmp_path / name


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.parquet", b"PAR1 nonsense"),
        ("t.jsonl", b'{"a": "\xff"}'),
        ("t.jsonl.gz", b"not compressed"),
        ("t.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000, mtime=0)[:-9]),
        ("t.json", b"[]"),
        ("t.json", b" \n"),
        ("t.jsonl", b'{"a": NaN}'),
    ],
)
def test_an_unreadable_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidData) as caught:
        scan_table(tmp_path / name)
    assert caught.value.file == tmp_path / name


@pytest.mark.parametrize(
    ("name", "text", "row", "problem"),
    [
        ("t.jsonl", '{"a": 1}\n{"a": 2}\n{"a": }\n', 3, "column 7"),
        ("t.jsonl", '{"a": 1}\n\n[1]\n', 3, r"expected an object, got \[1\]"),
        ("t.json", '[{"a": 1},\n {"a": }]', 2, "column 8"),
        ("t.json", '[{"a": 1}, 7]', 2, "expected an object, got 7"),
    ],
)
def test_malformed_json_is_named_by_line(tmp_path: Path, name: str, text: str, row: int, problem: str) -> None:
    file = write(tmp_path / name, text)
    with pytest.raises(InvalidData, match=problem) as caught:
        scan_table(file)
    assert (caught.value.file, caught.value.row) == (file, row)


def test_malformed_json_read_by_a_schema_is_named_when_collected(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "a.jsonl", '{"a": 1}\n'), write(tmp_path / "b.jsonl", '{"a": 1}\n{"a"\n')
    frame = scan_table(tmp_path, schema={"a": pl.String()})
    with pytest.raises(InvalidData) as caught:
        collect_tables([frame], [good, bad])
    assert (caught.value.file, caught.value.row) == (bad, 2)


@pytest.mark.parametrize("content", [b"a,b\n1,2,3\n", b"a,b\n\xff,2\n"])
def test_a_bad_csv_row_is_an_error_when_collected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InvalidData) as caught:
        collect_tables([scan_table(tmp_path / "t.csv")], [tmp_path / "t.csv"])
    assert caught.value.file == tmp_path / "t.csv"


@pytest.mark.parametrize("folder", ["shop [2024]", "shop*", "shop?", "{shop,other}", "[", "Bücher 100%", "a%20b"])
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json", "t.parquet"])
def test_a_name_is_not_a_pattern(tmp_path: Path, folder: str, name: str) -> None:
    for place, value in ((folder, "ours"), ("shop 2", "other"), ("shop2", "other")):
        (tmp_path / place).mkdir()
        frame, file = pl.DataFrame({"id": [value]}), tmp_path / place / name
        if file.suffix == ".parquet":
            frame.write_parquet(file)
        else:
            write(file, {".csv": frame.write_csv, ".jsonl": frame.write_ndjson}.get(file.suffix, frame.write_json)())
    assert scan_table(tmp_path / folder / name).collect().rows() == [("ours",)]
