"""JSON gives what the json module of the standard library gives, as text and records, or says what does not fit."""

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ubm_embed.data.tables.json_table import scan_json
from ubm_embed.data.tables.table_files import scan_table
from ubm_embed.data.tables.table_kinds import holds_elements
from ubm_embed.errors import InvalidData

FUZZ = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
RECORD = pl.Struct({"x": pl.String, "y": pl.List(pl.Struct({"z": pl.String}))})
SCHEMA: dict[str, pl.DataType] = {"a": pl.String(), "b": RECORD, "c": pl.String()}

TEXTS = st.text(st.characters(exclude_categories=()), max_size=5) | st.sampled_from(["[1]", "{", "\ud83d", "\ude00x"])
NUMBERS = st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


def read(file: Path, *, in_elements: bool = False, **options: Any) -> pl.DataFrame:
    return scan_json(file, in_elements=in_elements, **options).collect(engine="streaming")


def lines(tmp_path: Path, *texts: str | bytes, end: bytes = b"\n") -> Path:
    file = tmp_path / "t.jsonl"
    file.write_bytes(b"".join((text.encode() if isinstance(text, str) else text) + end for text in texts))
    return file


def whole(text: str) -> str:
    return "".join("\ufffd" if 0xD800 <= ord(character) < 0xE000 else character for character in text)


def as_text(value: Any) -> str | None:
    """A plain value as text; numbers are compared by their value, where -0.0 is 0.0."""
    if value is None or isinstance(value, bool):
        return None if value is None else json.dumps(value)
    return whole(value) if isinstance(value, str) else f"number {float(value) + 0.0!r}"


def comparable(value: Any) -> Any:
    """A nested value with plain values as `as_text` has them."""
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    return {key: comparable(inner) for key, inner in value.items()} if isinstance(value, dict) else as_text(value)


def found(text: str | None, like: Any) -> str | None:
    is_number = isinstance(like, int | float) and not isinstance(like, bool)
    return f"number {float(text) + 0.0!r}" if is_number and text is not None else text


@FUZZ
@given(
    rows=st.lists(OBJECTS, min_size=1, max_size=5),
    chunk_bytes=st.integers(1, 60),
    ascii_only=st.booleans(),
    in_elements=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n", "\n \n"]),
    mark=st.sampled_from(["", "\ufeff"]),
)
def test_every_row_arrives_and_plain_values_as_they_are(
    tmp_path: Path, rows: list[Any], chunk_bytes: int, ascii_only: bool, in_elements: bool, line_end: str, mark: str
) -> None:
    file = tmp_path / "t.json"
    if in_elements:
        text = json.dumps(rows, ensure_ascii=ascii_only, indent=1 if line_end == "\n" else None)
    else:
        text = line_end.join(json.dumps(row, ensure_ascii=ascii_only) for row in rows)
    file.write_bytes((mark + whole(text)).encode())
    options = {"in_elements": in_elements, "row": "row", "problem": "problem", "chunk_bytes": chunk_bytes}
    frame = read(file, schema=SCHEMA, json_text=["c"], **options)
    step = 2 if line_end == "\n \n" and not in_elements else 1
    assert frame["row"].to_list() == [1 + step * row for row in range(len(rows))]
    for row, values in zip(rows, frame.to_dicts(), strict=True):
        for name in "ac":
            value = row.get(name)
            if not isinstance(value, list | dict):
                assert found(values[name], value) == as_text(value)
            elif name == "c":
                assert comparable(json.loads(values[name])) == comparable(value)
        a, b = row.get("a"), row.get("b")
        joined = a if isinstance(a, list) else []
        fits = not isinstance(a, dict) and not any(isinstance(one, list | dict) for one in joined)
        assert fits or "field a: expected text, got" in values["problem"]
        if isinstance(b, dict) and not isinstance(b.get("x"), list | dict):
            assert found(values["b"]["x"], b.get("x")) == as_text(b.get("x"))
        assert (values["b"] is None) == (not isinstance(b, dict) and not _is_object(b))


def _is_object(text: Any) -> bool:
    try:
        return isinstance(text, str) and isinstance(json.loads(text), dict)
    except ValueError:
        return False


@FUZZ
@given(texts=st.lists(st.text('{}[]",:a1e.+-\\u \tNn', max_size=8), max_size=4), chunk_bytes=st.integers(1, 20))
def test_text_that_is_not_json_is_an_error(tmp_path: Path, texts: list[str], chunk_bytes: int) -> None:
    file = lines(tmp_path, '{"a": 1}', *texts)
    try:
        values = [json.loads(text, parse_constant=float) for text in ['{"a": 1}', *texts] if text.strip(" \t")]
        valid = all(isinstance(value, dict) and not _has_constants(value) for value in values)
    except ValueError:
        valid = False
    if valid:
        assert read(file, schema={"a": pl.String()}, json_text=["a"], chunk_bytes=chunk_bytes).height == len(values)
    else:
        with pytest.raises(InvalidData) as caught:
            read(file, schema={"a": pl.String()}, json_text=["a"], chunk_bytes=chunk_bytes)
        assert caught.value.row is not None


def _has_constants(value: Any) -> bool:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (isinstance(value, float) and not math.isfinite(value)) or any(map(_has_constants, children))


FITS = '{"a": "1", "b": {"x": "2", "y": [{"z": "3"}]}}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"b": "{\\"x\\": 1, \\"y\\": [{\\"z\\": 2}]}"}', {"x": "1", "y": [{"z": "2"}]}),  # warehouses
        ('{"b": {"y": "[{\\"z\\": \\"p\\"}]"}}', {"x": None, "y": [{"z": "p"}]}),
        ('{"b": {"y": ""}}', {"x": None, "y": None}),
        ('{"b": ""}', None),
        ('{"b": []}', None),  # an empty map of PHP
        ('{"b": {"x": ["Shoes", "Men", null, 3]}}', {"x": "Shoes > Men > 3", "y": None}),
        ('{"b": {"x": []}}', {"x": None, "y": None}),
        ('{"b": {"x": "[New] shoe"}}', {"x": "[New] shoe", "y": None}),
        ('{"b": {"x": "cut \\ud83d"}}', {"x": "cut \ufffd", "y": None}),
        ('{"b": {"x": "\\ude00 cut"}}', {"x": "\ufffd cut", "y": None}),
        ('{"b": {"x": "\\ud83d\\ude00", "y": []}}', {"x": "😀", "y": []}),
        ('{"b": {"x": 1.10}}', {"x": "1.1", "y": None}),
        ('{"b": {"x": 1e400}}', {"x": "1e400", "y": None}),
        ('{"b": {"x": 123456789012345678901234567890}}', {"x": "123456789012345678901234567890", "y": None}),
    ],
)
def test_what_fits_in_another_form_is_read_without_a_problem(tmp_path: Path, text: str, expected: Any) -> None:
    frame = read(lines(tmp_path, FITS, text, FITS), schema=SCHEMA, problem="problem")
    assert frame["problem"].to_list() == [None] * 3
    assert frame["b"].to_list()[1] == expected
    assert frame["b"].to_list()[::2] == [json.loads(FITS)["b"]] * 2


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ('{"b": [1]}', "b", "expected an object, got [1]"),
        ('{"b": 3}', "b", "expected an object, got 3"),
        ('{"b": "text"}', "b", 'expected an object, got "text"'),
        ('{"b": {"y": 3}}', "b.y", "expected a list, got 3"),
        ('{"b": {"y": {"z": 1}}}', "b.y", 'expected a list, got {"z": 1}'),
        ('{"b": {"y": "a,b"}}', "b.y", 'expected a list, got "a,b"'),
        ('{"b": {"y": [{"z": 1}, 7]}}', "b.y[1]", "expected an object, got 7"),
        ('{"a": {"k": "v"}}', "a", 'expected text, got {"k": "v"}'),
        ('{"b": {"x": [{"k": 1}]}}', "b.x", 'expected text, got [{"k": 1}]'),
        ("[]", None, "expected an object, got []"),
        ("3", None, "expected an object, got 3"),
        ('"text"', None, 'expected an object, got "text"'),
    ],
)
def test_what_does_not_fit_is_said_of_its_row_and_costs_no_other(
    tmp_path: Path, text: str, field: str | None, problem: str
) -> None:
    file = lines(tmp_path, FITS, "", text, FITS)
    frame = read(file, schema=SCHEMA, row="row", problem="problem")
    assert frame["row"].to_list() == [1, 3, 4]
    assert frame["problem"].to_list() == [None, f"field {field}: {problem}" if field else problem, None]
    assert frame["b"].to_list()[::2] == [json.loads(FITS)["b"]] * 2
    with pytest.raises(InvalidData) as caught:
        read(file, schema=SCHEMA)
    assert (caught.value.file, caught.value.row, caught.value.field) == (file, 3, field)
    assert caught.value.problem == problem


def test_one_odd_row_among_many_costs_no_other(tmp_path: Path) -> None:
    texts = [json.dumps({"a": f"{row}", "b": {"x": f"text {row}"}}) for row in range(5000)]
    odd = {17: '{"b": 3}', 2500: '{"b": {"y": 3}}', 4999: '{"a": "\\ud83d"}'}
    for row, text in odd.items():
        texts[row] = text
    frame = read(lines(tmp_path, *texts), schema=SCHEMA, row="row", problem="problem", chunk_bytes=1 << 17)
    assert frame["row"].to_list() == list(range(1, 5001))
    assert frame.filter(pl.col("problem").is_not_null())["row"].to_list() == [18, 2501]
    kept = [row for row in range(5000) if row not in odd]
    assert frame["a"].gather(kept).to_list() == [str(row) for row in kept]
    assert frame["a"][4999] == "\ufffd"


@pytest.mark.parametrize("problem", [None, "problem"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": }', "not JSON: Expecting value at column 7"),
        ('{"a": 1} {"a": 2}', "not JSON: Extra data at column 10"),
        ('{"a": "\x01"}', "not JSON: Invalid control character at column 8"),
        ('{"a": 1', "not JSON"),
        ('{"a": NaN}', "NaN is not a JSON value"),
        (b'{"a": "\xff"}', "not UTF-8 text"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
    ],
)
def test_malformed_json_is_an_error_even_where_problems_are_collected(
    tmp_path: Path, text: str | bytes, message: str, problem: str | None
) -> None:
    file = lines(tmp_path, '{"a": 1}', text, '{"a": 3}', end=b"\r\n")
    for schema in ({"a": pl.String()}, None):
        with pytest.raises(InvalidData, match=message) as caught:
            read(file, schema=schema, problem=problem)
        assert (caught.value.file, caught.value.row) == (file, 2)


@pytest.mark.parametrize(
    "text",
    [
        "a\\nb",
        "a\nb",
        "\t",
        '"',
        "\x1f",
        "\\",
        "\\u00e9",
        "\U0001f600",
    ],
)
def test_json_text_is_that_of_the_value_whatever_characters_it_has(tmp_path: Path, text: str) -> None:
    value = {"k": [text, {text: 1}]}
    file = lines(tmp_path, json.dumps({"a": {"k": 1.0}}), json.dumps({"a": value}), json.dumps({"a": value, "b": text}))
    for schema in (None, {"a": pl.String()}):
        texts = read(file, schema=schema, json_text=["a"])["a"]
        assert [json.loads(one) for one in texts] == [{"k": 1}, value, value]


def test_without_a_schema_every_key_is_text_and_nested_values_are_json(tmp_path: Path) -> None:
    file = lines(tmp_path, '{"a": {"k": ["\u00e9"]}}', '{"b": true, "a": "x"}', '{"c": "\\ud83d", "a": null}')
    frame = read(file, row="row")
    assert frame.columns == ["a", "b", "c", "row"]
    assert json.loads(frame["a"][0]) == {"k": ["é"]}
    assert frame.select("a", "b", "c").rows()[1:] == [("x", "true", None), (None, None, "\ufffd")]


@pytest.mark.parametrize("chunk_bytes", [1, 3, 1 << 20])
@pytest.mark.parametrize(
    ("text", "row", "message"),
    [
        ('[{"a": 1},\n {"a": }]', 2, "Expecting value at line 2, column 8"),
        ('[{"a": "b', 1, "Unterminated string starting at line 1, column 8"),
        ('[{"a": 1}, {"a": 2}', 2, r"expected , or \] at line 1, column 20"),
        ('[{"a": 1} {"a": 2}]', 1, r"expected , or \]"),
        ('[{"a": 1}] x', 1, "text after the array"),
        ('[{"a": 1},]', 2, "Expecting value"),
        ('[{"a": NaN}]', 1, "NaN is not a JSON value"),
        ('[{"a": 1}, 12]', 2, "expected an object, got 12$"),
        ('[{"a": "' + "x" * 100, 1, "Unterminated string"),
    ],
)
def test_a_malformed_array_is_named_by_element(
    tmp_path: Path, text: str, row: int, message: str, chunk_bytes: int
) -> None:
    file = tmp_path / "t.json"
    file.write_text(text)
    with pytest.raises(InvalidData, match=message) as caught:
        read(file, in_elements=True, schema={"a": pl.String()}, chunk_bytes=chunk_bytes)
    assert caught.value.file == file
    assert caught.value.row in (row, row + 1)


def test_only_the_columns_that_are_asked_for_are_read(tmp_path: Path) -> None:
    file = lines(tmp_path, FITS, '{"a": 1, "b": 3}')
    frame = scan_json(file, in_elements=False, schema=SCHEMA, row="row", problem="problem")
    assert frame.select("a").collect()["a"].to_list() == ["1", "1"]
    assert frame.select("row").collect()["row"].to_list() == [1, 2]
    problems = frame.filter(pl.col("problem").is_not_null()).select("row", "problem").collect().rows()
    assert problems == [(2, "field b: expected an object, got 3")]


def test_a_line_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("json_lines", "json_array"):
        monkeypatch.setattr(f"ubm_embed.data.tables.{module}.MAX_RECORD_BYTES", 1000)
    long = json.dumps({"a": "x" * 5000})
    with pytest.raises(InvalidData, match="a line of more than") as caught:
        read(lines(tmp_path, '{"a": 1}', long), schema={"a": pl.String()}, chunk_bytes=100)
    assert caught.value.row == 2
    (tmp_path / "t.json").write_text(f'[{{"a": 1}}, {long}]')
    with pytest.raises(InvalidData, match="an element of more than") as caught:
        read(tmp_path / "t.json", in_elements=True, schema={"a": pl.String()}, chunk_bytes=100)
    assert caught.value.row == 2


PRETTY = """{
 "a": "1",
 "b": {"x": "{"}
}"""


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (PRETTY, 1),
        (f"{PRETTY}\n{PRETTY}\n\n{PRETTY}\n", 3),  # as `jq` prints them
        ('{"a": "1"}{"a": "1"} {"a": "1"}', 3),  # as Firehose joins them
        ('{"a": "1",\n"b": null}', 1),
        ('\n{"a": "1"}\n{"a": "1"}\n', 2),
        ('{"a": "1"}', 1),
    ],
)
def test_objects_may_go_over_several_lines(tmp_path: Path, text: str, rows: int, chunk_bytes: int) -> None:
    file = tmp_path / "t.json"
    file.write_text(text)
    assert scan_table(file).select("a").collect()["a"].to_list() == ["1"] * rows
    if holds_elements(file):
        frame = read(file, in_elements=True, schema={"a": pl.String()}, row="row", chunk_bytes=chunk_bytes)
        assert frame.rows() == [("1", row) for row in range(1, rows + 1)]


def test_a_malformed_object_over_lines_is_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(f'{PRETTY}\n{{\n "a": 1,\n}}')
    with pytest.raises(InvalidData, match=r"not JSON: .* at line 7, column 1") as caught:
        scan_table(tmp_path / "t.json")
    assert caught.value.row == 2


def test_an_object_longer_than_what_is_looked_at_is_known_by_its_beginning(tmp_path: Path) -> None:
    events = [{"a": str(number)} for number in range(20_000)]
    for indent in (1, None):
        (tmp_path / "t.json").write_text(json.dumps({"events": events}, indent=indent))
        (text,) = scan_table(tmp_path / "t.json").collect()["events"]
        assert json.loads(text) == events
