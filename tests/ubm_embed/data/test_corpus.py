import json
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ubm_embed.data.corpus import ATTRIBUTES, PRODUCT_SCHEMA, Corpus, iter_products, read_interactions, read_products
from ubm_embed.data.session import Product
from ubm_embed.errors import Conflict, InvalidData, NotFound

RED = [{"name": "colour", "value": "red"}]


def write_lines(file: Path, *rows: dict[str, Any]) -> Path:
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def write_text(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def corpus() -> Corpus:
    products = pl.DataFrame({"product_id": ["p"], "title": ["shoe"], "category": [None], "attributes": [RED]})
    interactions = pl.DataFrame(
        {"session_id": ["s", "s"], "position": [0, 1], "action": ["search", "buy"]}
        | {"product_id": [None, "p"], "query": ["red", None]}
    )
    return Corpus(products.cast({"category": pl.String}), interactions.cast({"position": pl.Int32}))


def test_a_written_corpus_opens_as_it_was(tmp_path: Path) -> None:
    corpus().write(tmp_path / "c")
    opened = Corpus.open(tmp_path / "c")
    assert opened.products.equals(corpus().products)
    assert opened.interactions.equals(corpus().interactions)
    assert opened.sessions == 1


def test_a_corpus_is_replaced_only_on_request(tmp_path: Path) -> None:
    corpus().write(tmp_path / "c")
    with pytest.raises(Conflict):
        corpus().write(tmp_path / "c")
    corpus().write(tmp_path / "c", overwrite=True)


def test_an_interaction_with_an_unknown_product_is_refused(tmp_path: Path) -> None:
    known = corpus()
    strange = known.interactions.with_columns(product_id=pl.Series([None, "q"]))
    Corpus(known.products, strange).write(tmp_path / "c")
    with pytest.raises(InvalidData, match="got 'q'"):
        Corpus.open(tmp_path / "c")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mapping.csv", 'product_id,title,attributes\n007,shoe,"{""colour"": ""red""}"\n'),
        ("pairs.csv", 'product_id,title,attributes\n007,shoe,"[{""name"": ""colour"", ""value"": ""red""}]"\n'),
        ("mapping.jsonl", '{"product_id": "007", "title": "shoe", "attributes": {"colour": "red", "size": null}}'),
        ("pairs.jsonl", '{"product_id": "007", "title": "shoe", "attributes": [{"name": "colour", "value": "red"}]}'),
        ("array.json", '[{"product_id": "007", "title": "shoe", "attributes": {"colour": ["red"]}}]'),
    ],
)
def test_products_are_the_same_from_every_text_form(tmp_path: Path, name: str, text: str) -> None:
    products = read_products(write_text(tmp_path / name, text))
    assert dict(products.schema) == PRODUCT_SCHEMA
    assert products.rows() == [("007", "shoe", None, RED)]


@pytest.mark.parametrize(
    "attributes",
    [
        pl.Series([RED], dtype=ATTRIBUTES),
        pl.Series([{"colour": "red", "size": None}]),
        pl.Series([[{"key": "colour", "value": "red"}, {"key": "size", "value": None}]]),
        pl.Series(['{"colour": "red"}']),
    ],
    ids=["pairs", "struct", "map", "text"],
)
def test_attributes_are_the_same_from_every_parquet_type(tmp_path: Path, attributes: pl.Series) -> None:
    frame = pl.DataFrame({"product_id": [7], "title": ["shoe"], "attributes": attributes})
    frame.write_parquet(tmp_path / "p.parquet")
    assert read_products(tmp_path / "p.parquet").rows() == [("7", "shoe", None, RED)]


def test_attribute_values_of_other_kinds_become_text(tmp_path: Path) -> None:
    file = write_lines(
        tmp_path / "p.jsonl", {"product_id": 1, "title": "x", "attributes": {"n": 3, "b": True, "l": [1]}}
    )
    (product,) = iter_products(read_products(file))
    assert product == Product("x", None, (("n", "3"), ("b", "true"), ("l", "1")), "1")


def test_a_product_without_attributes_has_none(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "p.jsonl", {"product_id": 1, "title": "x"}, {"product_id": 2, "title": "y"})
    assert [product.attributes for product in iter_products(read_products(file))] == [(), ()]


def test_further_columns_of_text_files_are_numbers_where_all_values_are(tmp_path: Path) -> None:
    file = write_text(
        tmp_path / "p.csv", "product_id,title,price,stock,sku,big\n1,12,9,3,007,99999999999999999999\n2,x,9.5,,8,1\n"
    )
    products = read_products(file)
    assert products["title"].to_list() == ["12", "x"]
    assert products.select("price", "stock", "sku", "big").rows() == [
        (9.0, 3, "007", "99999999999999999999"),
        (9.5, None, "8", "1"),
    ]


def test_float_ids_lose_their_zero(tmp_path: Path) -> None:
    pl.DataFrame({"product_id": [7.0, 8.5], "title": ["x", "y"]}).write_parquet(tmp_path / "p.parquet")
    assert read_products(tmp_path / "p.parquet")["product_id"].to_list() == ["7", "8.5"]


@pytest.mark.parametrize(
    ("text", "row", "field"),
    [
        ("title\nx\n", None, "product_id"),
        ("product_id\n1\n", None, "title"),
        ("product_id,title\n", None, None),
        ("product_id,title\n1,x\n,y\n", 2, "product_id"),
        ("product_id,title\n1,x\n1,y\n", 2, "product_id"),
        ("product_id,title\n1,x\n2,\n", 2, "title"),
        ("product_id,title,attributes\n1,x,\n2,y,red\n", 2, "attributes"),
        ("product_id,title,attributes\n1,x,[1]\n", 1, "attributes"),
        ('product_id,title,attributes\n1,x,"{""a"": {""b"": 1}}"\n', 1, "attributes"),
    ],
)
def test_a_bad_product_is_named_by_file_row_and_field(
    tmp_path: Path, text: str, row: int | None, field: str | None
) -> None:
    file = write_text(tmp_path / "p.csv", text)
    with pytest.raises(InvalidData) as caught:
        read_products(file)
    assert (caught.value.file, caught.value.row, caught.value.field) == (file, row, field)


def test_attributes_of_an_unknown_parquet_type_are_refused(tmp_path: Path) -> None:
    for number, values in enumerate([[1], [[1]], [[{"a": "b"}]]]):
        file = tmp_path / f"{number}.parquet"
        pl.DataFrame({"product_id": ["1"], "title": ["x"], "attributes": values}).write_parquet(file)
        with pytest.raises(InvalidData, match="found") as caught:
            read_products(file)
        assert caught.value.field == "attributes"


def test_missing_files_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_products(tmp_path / "p.csv")
    with pytest.raises(NotFound):
        Corpus.open(tmp_path)


def test_interactions_of_a_csv_have_their_types_and_order(tmp_path: Path) -> None:
    file = write_text(
        tmp_path / "i.csv",
        "session_id,position,action,product_id,query,timestamp,user_id\n"
        "2,1,view,007,,2024-01-01 10:00,5\n1,0,search,,shoe,2024-01-01T12:00:00+02:00,5\n2,0,add,8,,1704103200,\n",
    )
    interactions = read_interactions(file)
    assert interactions.select("session_id", "position", "action", "product_id", "query").rows() == [
        ("2", 0, "add", "8", None),
        ("2", 1, "view", "007", None),
        ("1", 0, "search", None, "shoe"),
    ]
    assert set(interactions["timestamp"]) == {datetime(2024, 1, 1, 10)}
    assert interactions["user_id"].to_list() == [None, "5", "5"]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (",0,view,p,,", "session_id"),
        ("s,,view,p,,", "position"),
        ("s,x,view,p,,", "position"),
        ("s,0,wish,p,,", "action"),
        ("s,0,,p,,", "action"),
        ("s,0,search,p,,", "query"),
        ("s,0,view,,x,", "product_id"),
        ("s,0,view,p,,yesterday", "timestamp"),
    ],
)
def test_a_bad_interaction_is_named_by_file_row_and_field(tmp_path: Path, line: str, field: str) -> None:
    header = "session_id,position,action,product_id,query,timestamp"
    file = write_text(tmp_path / "i.csv", f"{header}\ns,0,view,p,,\n{line}\n")
    with pytest.raises(InvalidData) as caught:
        read_interactions(file)
    assert (caught.value.file, caught.value.row, caught.value.field) == (file, 2, field)
