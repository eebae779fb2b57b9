"""Files of products through a mapping: columns in their types, attributes, and errors by row and column."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from ubm_embed.data.mappings.mapped_catalogue import dropped_rows, lost_values, mapped_catalogue
from ubm_embed.data.mappings.mapping import CatalogueMapping, Mapping
from ubm_embed.data.tables.table_files import collect_tables
from ubm_embed.errors import InvalidData

COLUMNS = 'product_id = "id"\ntitle = "name"\n'


def part(folder: Path, toml: str) -> CatalogueMapping:
    (folder / "map.toml").write_text(toml)
    chosen = Mapping.read(folder / "map.toml").catalogue_of("any")
    assert chosen is not None
    return chosen


def read(folder: Path, toml: str, text: str, name: str = "items.csv") -> pl.DataFrame:
    (folder / name).write_text(text)
    return collect_tables([mapped_catalogue(folder / name, part(folder, toml))], [folder / name])[0]


def test_columns_have_the_types_that_the_mapping_declares(tmp_path: Path) -> None:
    products = read(
        tmp_path,
        f"""
        [catalogue.columns]
        {COLUMNS}
        category = ["top", "sub"]
        price = {{path = "p", type = "price"}}
        stock = {{path = "s", type = "boolean"}}
        stars = {{path = "r", type = "number"}}
        count = {{path = "c", type = "integer"}}
        since = {{path = "t", type = "time"}}
        code = {{path = "id", type = "text"}}
        free = "c"
        """,
        'id,name,top,sub,p,s,r,c,t\n007,Shoe,A,B,"$1,299.00",yes,4.5,3.0,2024-05-01\n8,,A,,,,,,\n',
    )
    assert products.drop("since").rows() == [
        ("007", "Shoe", "A > B", None, 1299.0, True, 4.5, 3, "007", "3.0"),
        ("8", None, "A", None, None, None, None, None, "8", None),
    ]
    assert products["since"].to_list() == [datetime(2024, 5, 1), None]
    assert products.columns[:4] == ["product_id", "title", "category", "attributes"]


def test_attributes_come_from_columns_and_from_one_that_holds_all(tmp_path: Path) -> None:
    toml = f'[catalogue.columns]\n{COLUMNS}attributes = "all"\n[catalogue.attributes]\ncolour = "farbe"\n'
    rows = [
        {"id": 1, "name": "a", "all": {"size": 42}, "farbe": "red"},
        {"id": 2, "name": "b", "all": None, "farbe": None},
        {"id": 3, "name": "c", "all": [{"name": "size", "value": "M"}], "farbe": ""},
    ]
    expected = [
        [{"name": "size", "value": "42"}, {"name": "colour", "value": "red"}],
        [],
        [{"name": "size", "value": "M"}],
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    assert read(tmp_path, toml, text, "items.jsonl")["attributes"].to_list() == expected
    table = pl.DataFrame([row | {"all": json.dumps(row["all"]) if row["all"] else None} for row in rows])
    assert read(tmp_path, toml, table.write_csv())["attributes"].to_list() == expected


def test_further_columns_stay_if_the_mapping_says_so(tmp_path: Path) -> None:
    toml = f"[catalogue]\nkeep_others = true\n[catalogue.columns]\n{COLUMNS}"
    text = "id,name,title,stock\n1,Shoe,x,3\n"
    assert read(tmp_path, toml, text).columns == ["product_id", "title", "category", "attributes", "stock"]
    text = '{"id": 1, "name": "Shoe"}\n{"id": 2, "name": "Sock", "stock": 3, "tags": ["a", "b"]}\n'
    products = read(tmp_path, toml, text, "items.jsonl")
    assert products.select("stock", "tags").rows() == [(None, None), ("3", "a > b")]


def test_what_is_lost_or_left_out_is_counted(tmp_path: Path) -> None:
    toml = f"""
        [catalogue]
        drop = [{{path = "kind", is_in = ["variation"], reason = "variation"}}]
        [catalogue.columns]
        {COLUMNS}
        price = {{path = "p", type = "price", invalid = "null"}}
        """
    text = "id,name,p,kind\n1,a,call us,simple\n2,b,3,simple\n3,c,call us,variation\n4,d,,simple\n"
    assert read(tmp_path, toml, text)["price"].to_list() == [None, 3.0, None]
    assert lost_values(tmp_path / "items.csv", part(tmp_path, toml)) == {"price": 1}
    assert dropped_rows(tmp_path / "items.csv", part(tmp_path, toml)) == {"variation": 1}


def test_rows_can_be_numbered_as_in_the_file(tmp_path: Path) -> None:
    toml = f'[catalogue]\ndrop = [{{path = "id", is_in = ["1"]}}]\n[catalogue.columns]\n{COLUMNS}'
    (tmp_path / "items.csv").write_text("id,name\n1,a\n2,b\n")
    frame = mapped_catalogue(tmp_path / "items.csv", part(tmp_path, toml), row="row")
    assert frame.collect().select("product_id", "row").rows() == [("2", 2)]


@pytest.mark.parametrize(
    ("name", "text", "row", "field", "problem"),
    [
        ("items.csv", "id,name\n1,a\n", None, "p", "missing column"),
        ("items.csv", "id,name,p\n1,a,3\n2,b,call us\n", 2, "p", "expected a price for price, got 'call us'"),
        ("items.jsonl", '{"id": 1, "name": "a"}\n', None, "p", "missing column; found id, name; if"),
        ("items.jsonl", '{"id": 1, "name": {"en": "a"}, "p": 1}\n', 1, "name", "expected one value"),
        ("items.jsonl", '{"id": 1, "name": "a", "p": 1}\n[]\n', 2, None, "expected an object"),
    ],
)
def test_errors_name_file_row_and_column(
    tmp_path: Path, name: str, text: str, row: int | None, field: str | None, problem: str
) -> None:
    with pytest.raises(InvalidData) as caught:
        read(tmp_path, f'[catalogue.columns]\n{COLUMNS}price = {{path = "p", type = "price"}}\n', text, name)
    assert problem in caught.value.problem
    assert (caught.value.file, caught.value.row, caught.value.field) == (tmp_path / name, row, field)


def test_a_key_without_a_value_in_any_row_is_a_column(tmp_path: Path) -> None:
    toml = f"[catalogue.columns]\n{COLUMNS}price = {{path = 'p', type = 'price'}}\n"
    products = read(tmp_path, toml, '{"id": "1", "name": "Shoe", "p": null}\n', "items.jsonl")
    assert products["price"].to_list() == [None]
    with pytest.raises(InvalidData, match=r"field 'p': .*; found id, name;"):
        read(tmp_path, toml, '{"id": "1", "name": "Shoe"}\n', "items.jsonl")
