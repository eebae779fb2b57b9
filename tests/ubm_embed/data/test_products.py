"""A catalogue read in batches is the catalogue read at once."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.data.products import (
    PRODUCT_SCHEMA,
    CatalogueFile,
    has_text,
    product_batches,
    read_catalogue,
    read_products,
)
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


class TestWhatIsChanged:
    """Ids by one rule, texts as a page shows them; what was changed is counted."""

    @pytest.fixture
    def catalogue(self, file: Path) -> CatalogueFile:
        odd = {
            "product_id": {2: " 002\u00a0", 5: "5.0"},
            "title": {1: "Salt &amp; pepper", 3: "\x1b[31mred"},
            "category": {4: "Shoes\u0007"},
            "attributes": {7: {"size": "4&nbsp;2", "colour": "&nbsp;"}},
        }
        return CatalogueFile(write(file, rows(**odd)))

    def test_whole_and_in_batches(self, catalogue: CatalogueFile) -> None:
        whole = catalogue.read()
        changes = list(catalogue.changes)
        assert pl.concat(catalogue.batches(4)).equals(whole)
        assert list(catalogue.changes) == changes
        assert changes[0] == r"changed 2 ids: ' 002\xa0' is '002'"
        assert [message.split(":")[0] for message in changes[1:]] == [
            "changed 2 titles",
            "changed 1 category",
            "changed 2 attribute values",
        ]
        assert whole["product_id"].to_list()[:6] == ["000", "001", "002", "003", "004", "5"]
        assert whole["title"].to_list()[1:4] == ["Salt & pepper", "shoe 2", "[31mred"]
        assert whole["category"][4] == "Shoes"
        assert whole["attributes"].to_list()[6:8] == [
            [{"name": "material", "value": "leather"}],
            [{"name": "size", "value": "4\u00a02"}],
        ]

    def test_nothing_where_nothing_is_odd(self, file: Path) -> None:
        catalogue = CatalogueFile(write(file, rows()))
        catalogue.read()
        assert list(catalogue.changes) == []

    @pytest.mark.parametrize("product_id", ["   ", "undefined", "NaN", "(not set)", "\ufeff"])
    def test_what_stands_for_no_id_is_refused(self, file: Path, product_id: str) -> None:
        write(file, rows(product_id={18: product_id}))
        for read in (read_products, lambda path: list(product_batches(path, 7))):
            with pytest.raises(InvalidData, match="expected an id") as caught:
                read(file)
            assert (caught.value.file, caught.value.row, caught.value.field) == (file, 19, "product_id")

    def test_two_ids_that_differ_in_blanks_are_one(self, file: Path) -> None:
        with pytest.raises(InvalidData, match="a unique id, got '003'") as caught:
            read_products(write(file, rows(product_id={18: "003 "})))
        assert caught.value.row == 19


def test_a_row_is_named_by_its_own_file(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    write_csv(folder / "1.csv", rows()[:9])
    write_csv(folder / "2.csv", rows(product_id={12: " "})[9:])
    with pytest.raises(InvalidData) as caught:
        list(product_batches(folder, 5))
    assert (caught.value.file, caught.value.row) == (folder / "2.csv", 4)


def test_true_and_false_are_booleans_and_prices_numbers_in_files_of_text(tmp_path: Path) -> None:
    text = 'product_id,title,in_stock,price,sale\n1,shoe,True,"1.299,00 €",yes\n2,sock,false,5,no\n'
    (tmp_path / "p.csv").write_text(text)
    (tmp_path / "p.jsonl").write_text(
        '{"product_id": 1, "title": "shoe", "in_stock": true, "price": "1.299,00 €", "sale": "yes"}\n'
        '{"product_id": 2, "title": "sock", "in_stock": false, "price": 5, "sale": "no"}\n'
    )
    for name in ("p.csv", "p.jsonl"):
        products = read_products(tmp_path / name)
        assert products["in_stock"].to_list() == [True, False]
        assert products["price"].to_list() == [1299.0, 5.0]
        assert products["sale"].to_list() == ["yes", "no"]


def test_prices_that_are_not_written_as_numbers_are_counted_with_the_first(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(
        "product_id;title;price;old_price;cost\n1;shoe;5;7;1\n2;sock;5,50 €;8;2\n3;hat; 6 ;9;3\n4;cap;$1,299;;4\n"
    )
    catalogue = CatalogueFile(tmp_path / "p.csv")
    expected = ["changed 2 values of price: '5,50 €' is 5.5"]
    assert catalogue.read()["price"].to_list() == [5.0, 5.5, 6.0, 1299.0]
    assert list(catalogue.changes) == expected
    list(catalogue.batches(1))
    assert list(catalogue.changes) == expected


def test_prices_of_mapped_numbers_are_not_counted_and_neither_are_rows_that_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(
        '{"sku": 1, "name": "shoe", "cost": 5.5, "was": "€ 7"}\n'
        '{"sku": 2, "name": "", "cost": 6, "was": "€ 8"}\n'
        '{"sku": 3, "name": "hat", "cost": null, "was": null}\n'
    )
    (tmp_path / "map.toml").write_text(
        '[catalogue]\ndrop = [{path = "name", is_in = [""], reason = "no name"}]\n[catalogue.columns]\n'
        'product_id = "sku"\ntitle = "name"\nprice = {path = "cost", type = "price"}\n'
        'was = {path = "was", type = "price"}\nfee = {value = "1 €", type = "price"}\n'
    )
    catalogue = CatalogueFile(tmp_path / "p.jsonl", Mapping.read(tmp_path / "map.toml"))
    assert catalogue.read()["was"].to_list() == [7.0, None]
    assert list(catalogue.changes) == ["changed 1 value of was: '€ 7' is 7", "left out 1 row: no name"]


def test_a_list_of_levels_is_one_category(tmp_path: Path) -> None:
    levels = [["Shoes", "Men"], [], None]
    frame = pl.DataFrame({"product_id": ["1", "2", "3"], "title": "x", "category": levels})
    frame.write_parquet(tmp_path / "p.parquet")
    frame.write_ndjson(tmp_path / "p.jsonl")
    texts = frame.with_columns(category=pl.Series(['["Shoes", "Men"]', "[]", None]))
    texts.write_csv(tmp_path / "p.csv")
    for name in ("p.parquet", "p.jsonl", "p.csv"):
        assert read_products(tmp_path / name)["category"].to_list() == ["Shoes > Men", None, None]


def test_a_value_that_keeps_a_column_from_being_a_number_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "p.csv", rows(stock=dict(enumerate(["-", "many", *"123456"]))))
    catalogue = CatalogueFile(tmp_path / "p.csv")
    assert catalogue.read()["stock"].dtype == pl.String
    assert list(catalogue.changes) == ["stock is text and no number: p.csv, row 2: 'many'"]


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl"])
def test_what_is_no_price_or_stands_for_no_value_is_lost_and_said(tmp_path: Path, name: str) -> None:
    odd = rows(price={18: "call us", 19: "NaN"}, stock={3: "N/A", 4: "5"}, code={1: "-", 20: "NaN"})
    FORMS[name](tmp_path / name, odd)
    catalogue = CatalogueFile(tmp_path / name)
    whole = catalogue.read()
    assert whole["price"].to_list()[17:21] == [17.0, None, None, 20.5]
    assert whole["stock"].to_list()[3:5] == [None, 5]
    assert (whole["code"][1], whole["code"][20]) == ("-", "NaN")
    lost = [
        f"lost 2 values of price, not of type price: {name}, row 19: 'call us'",
        f"lost 1 value of stock, not of type integer: {name}, row 4: 'N/A'",
    ]
    assert list(catalogue.changes) == lost
    clean = catalogue.read().filter(has_text())
    assert pl.concat(CatalogueFile(tmp_path / name).batches(4)).equals(clean)
    assert list(catalogue.changes) == lost


def test_titles_and_categories_that_stand_for_none_are_missing_and_counted(tmp_path: Path) -> None:
    text = "product_id,title,category\n1,shoe,(not set)\n2, NaN ,hats\n3,undefined,null\n4,\\N,\n"
    (tmp_path / "p.csv").write_text(text)
    catalogue = CatalogueFile(tmp_path / "p.csv")
    products = catalogue.read()
    assert products["title"].to_list() == ["shoe", None, None, None]
    assert products["category"].to_list() == [None, "hats", None, None]
    said = list(catalogue.changes)
    assert "lost 3 titles: 'NaN' stands for no value" in said
    assert "lost 2 categories: '(not set)' stands for no value" in said
    with pytest.raises(InvalidData) as caught:
        read_products(tmp_path / "p.csv")
    assert caught.value.row == 3


MAPPING = """
[catalogue.columns]
product_id = "sku"
title = "name"
price = {path = "cost", type = "price", invalid = "INVALID"}
code = {path = "code", type = "text"}
"""


def mapped(tmp_path: Path, *, invalid: str) -> CatalogueFile:
    (tmp_path / "p.csv").write_text('sku,name,cost,code\n17.0,shoe,"19,90",1\nB,sock,call us,2\n')
    (tmp_path / "map.toml").write_text(MAPPING.replace("INVALID", invalid))
    return CatalogueFile(tmp_path / "p.csv", Mapping.read(tmp_path / "map.toml"))


def test_a_mapping_says_which_columns_are_what_and_of_which_type(tmp_path: Path) -> None:
    catalogue = mapped(tmp_path, invalid="null")
    products = catalogue.read()
    assert products["product_id"].to_list() == ["17", "B"]
    assert products["price"].to_list() == [19.9, None]
    assert products["code"].to_list() == ["1", "2"]
    changes = list(catalogue.changes)
    assert changes == [
        "changed 1 id: '17.0' is '17'",
        "changed 1 value of price: '19,90' is 19.9",
        "lost 1 value of price: not of the mapping's type",
    ]
    assert pl.concat(catalogue.batches(1)).equals(products)
    assert list(catalogue.changes) == changes


def test_a_value_that_does_not_fit_its_declared_type_is_named_by_its_row(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="expected a price") as caught:
        mapped(tmp_path, invalid="error").read()
    assert caught.value.row == 2


def test_a_mapping_without_a_catalogue_is_refused(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text('[catalogue]\nfiles = ["items*"]\n' + MAPPING.replace("INVALID", "null"))
    write_csv(tmp_path / "p.csv", rows())
    with pytest.raises(InvalidData, match=r"reads no products of it; expected items\*"):
        read_catalogue(tmp_path / "p.csv", Mapping.read(tmp_path / "map.toml"))


def test_the_latest_row_of_a_product_counts_wherever_it_is(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(
        '[catalogue]\nlatest = "at"\n[catalogue.columns]\nproduct_id = "id"\ntitle = "name"\nprice = "price"\n', "utf-8"
    )
    (tmp_path / "p.csv").write_text(
        "id,name,price,at\nA,new,3,2024-03-03\nB,only,4,\nA,old,1,2024-03-01\nC,first,5,\nC,second,6,2024-01-01\n"
        "C,third,7,2024-01-01\n",
        "utf-8",
    )
    catalogue = CatalogueFile(tmp_path / "p.csv", Mapping.read(tmp_path / "map.toml"))
    products = catalogue.read()
    assert products.select("product_id", "title", "price").rows() == [
        ("A", "new", 3),
        ("B", "only", 4),
        ("C", "third", 7),
    ]
    assert products.columns == ["product_id", "title", "category", "attributes", "price"]
    assert pl.concat(catalogue.batches(1)).equals(products)
    assert catalogue.locate(2) == (tmp_path / "p.csv", 6)


def test_a_time_that_is_none_stops_a_history(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(
        '[catalogue]\nlatest = "at"\n[catalogue.columns]\nproduct_id = "id"\ntitle = "name"\n', "utf-8"
    )
    (tmp_path / "p.csv").write_text("id,name,at\nA,x,2024-03-03\nA,y,soon\n", "utf-8")
    with pytest.raises(InvalidData, match=r"row 2, field 'at': expected a time.*'soon'"):
        CatalogueFile(tmp_path / "p.csv", Mapping.read(tmp_path / "map.toml")).read()


def test_files_of_a_folder_that_are_not_read_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("product_id,title\n1,shoe\n")
    (tmp_path / "b.csv").touch()
    (tmp_path / "c.csv").symlink_to("a.csv")
    catalogue = CatalogueFile(tmp_path)
    assert catalogue.read()["product_id"].to_list() == ["1"]
    said = ["left out b.csv (empty)", f"left out c.csv (the same file as {tmp_path / 'a.csv'})"]
    assert list(catalogue.changes) == said
    assert [batch.height for batch in catalogue.batches()] == [1]
    assert list(catalogue.changes) == said
