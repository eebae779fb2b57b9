"""A catalogue read in batches is the catalogue read at once."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ubm_embed.data.products import PRODUCT_SCHEMA, product_batches, read_products
from ubm_embed.errors import InvalidData, NotFound

COUNT = 23


def rows(**changes: dict[int, Any]) -> list[dict[str, Any]]:
    """Products with values of some rows changed, by column and 0-based row."""
    result = [
        {
            "product_id": f"{row:03}",
            "title": f"shoe {row}" if row % 5 else "",
            "category": None if row % 3 else "shoes",
            "attributes": {"size": str(row), "colour": "red"} if row % 2 else {"material": "leather"},
            "price": f"{row}.50" if row == 20 else str(row),
            "code": "007" if row == 21 else str(row),
            "stock": None if row < 21 else str(row),
        }
        for row in range(COUNT)
    ]
    for column, values in changes.items():
        for row, value in values.items():
            result[row][column] = value
    return result


def write_parquet(file: Path, products: list[dict[str, Any]]) -> None:
    pairs = [[{"name": name, "value": value} for name, value in row["attributes"].items()] for row in products]
    frame = pl.DataFrame([row | {"attributes": None} for row in products], infer_schema_length=None)
    frame.with_columns(pl.Series("attributes", pairs)).write_parquet(file)


def write_csv(file: Path, products: list[dict[str, Any]]) -> None:
    pl.DataFrame([row | {"attributes": json.dumps(row["attributes"])} for row in products]).write_csv(file)


def write_lines(file: Path, products: list[dict[str, Any]]) -> None:
    text = "\n".join(json.dumps(row) for row in products)
    file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())


def write_array(file: Path, products: list[dict[str, Any]]) -> None:
    file.write_text(json.dumps(products))


Write = Callable[[Path, list[dict[str, Any]]], None]
FORMS: dict[str, Write] = {
    "p.parquet": write_parquet,
    "p.csv": write_csv,
    "p.jsonl": write_lines,
    "p.jsonl.gz": write_lines,
    "p.json": write_array,
}


@pytest.fixture(params=FORMS)
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A file of one kind, to be written."""
    return tmp_path / request.param


def write(file: Path, products: list[dict[str, Any]]) -> Path:
    FORMS[file.name](file, products)
    return file


@pytest.mark.parametrize("batch", [1, 2, 7, 22, 23, 24, 1000])
def test_batches_together_are_the_catalogue(file: Path, batch: int) -> None:
    write(file, rows())
    batches = list(product_batches(file, batch))
    whole = read_products(file)
    assert pl.concat(batches).equals(whole)
    assert {tuple(one.schema.items()) for one in batches} == {tuple(whole.schema.items())}
    assert not any(one.is_empty() for one in batches)
    if batch < COUNT:
        assert len(batches) > 1


def test_a_column_is_of_numbers_only_where_all_of_the_file_is(file: Path) -> None:
    write(file, rows())
    first = next(product_batches(file, 5))
    if file.suffix == ".parquet":  # has types of its own
        assert {first.schema[name] for name in ("price", "code", "stock")} == {pl.String()}
    else:
        assert (first.schema["price"], first.schema["code"], first.schema["stock"]) == (pl.Float64, pl.String, pl.Int64)
    assert first["code"].to_list() == ["0", "1", "2", "3", "4"]


def test_the_default_reads_any_file(file: Path) -> None:
    assert pl.concat(product_batches(write(file, rows()))).equals(read_products(file))


def test_several_files_of_a_folder_are_one_catalogue(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    write_csv(folder / "1.csv", rows()[:9])
    write_csv(folder / "2.csv", rows()[9:])
    whole = read_products(folder)
    assert whole["product_id"].to_list() == [f"{row:03}" for row in range(COUNT)]
    assert pl.concat(product_batches(folder, 4)).equals(whole)


@pytest.mark.parametrize("batch", [1, 4, 19, 1000])
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"product_id": {18: ""}}, "product_id"),
        ({"product_id": {18: None}}, "product_id"),
        ({"title": {18: " "}, "category": {18: None}, "attributes": {18: {"size": ""}}}, "title"),
    ],
)
def test_a_bad_row_is_counted_from_the_files_start(
    file: Path, change: dict[str, dict[int, Any]], field: str, batch: int
) -> None:
    write(file, rows(**change))
    with pytest.raises(InvalidData) as caught:
        list(product_batches(file, batch))
    assert (caught.value.file, caught.value.row, caught.value.field) == (file, 19, field)
    with pytest.raises(InvalidData) as whole:
        read_products(file)
    assert str(caught.value) == str(whole.value)


@pytest.mark.parametrize("batch", [4, 1000])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_bad_attributes_are_counted_from_the_files_start(tmp_path: Path, kind: str, batch: int) -> None:
    file = tmp_path / f"p.{kind}"
    products = [row | {"attributes": json.dumps(row["attributes"])} for row in rows()]
    products[18]["attributes"] = "{"
    pl.DataFrame(products).write_csv(file) if kind == "csv" else write_lines(file, products)
    with pytest.raises(InvalidData) as caught:
        list(product_batches(file, batch))
    assert (caught.value.row, caught.value.field) == (19, "attributes")


def test_malformed_json_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    lines = [json.dumps(row) for row in rows()]
    lines[18] = lines[18][:-3]
    file.write_text("\n".join(lines))
    with pytest.raises(InvalidData) as caught:
        list(product_batches(file, 4))
    assert caught.value.row == 19


def test_an_id_given_twice_is_left_to_who_knows_all_of_them(file: Path) -> None:
    write(file, rows(product_id={18: "003"}))
    assert pl.concat(product_batches(file, 4)).height == COUNT


@pytest.mark.parametrize("name", ["p.parquet", "p.csv"])
def test_no_rows_are_refused(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame(schema=PRODUCT_SCHEMA).drop("attributes")
    frame.write_parquet(tmp_path / name) if name == "p.parquet" else frame.write_csv(tmp_path / name)
    with pytest.raises(InvalidData, match="no rows; expected at least one"):
        list(product_batches(tmp_path / name))


def test_a_missing_column_or_file_is_named(tmp_path: Path) -> None:
    pl.DataFrame({"product_id": ["a"]}).write_csv(tmp_path / "p.csv")
    with pytest.raises(InvalidData, match="missing column") as caught:
        list(product_batches(tmp_path / "p.csv"))
    assert caught.value.field == "title"
    with pytest.raises(NotFound):
        list(product_batches(tmp_path / "q.csv"))
