"""What exports of shops and warehouses need of a mapping: values that stand once, columns in any case, joined ids."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ubm_embed.data.logs.mapped import mapped_log
from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.errors import InvalidData


def _events(file: Path, text: str, **log: Any) -> pl.DataFrame:
    file.write_text(text)
    columns = {"action": {"value": "buy"}, **log.pop("columns")}
    (events,) = mapped_log([file], Mapping.model_validate({"log": {"columns": columns, **log}})).events
    return events.collect()


def test_a_value_that_stands_once_holds_for_the_rows_of_its_order(tmp_path: Path) -> None:
    text = "order,day,item\n1,2024-03-01,a\n1, ,b\n2,,c\n1,,d\n2,2024-03-02,e\n2,,f\n"
    columns = {"session_id": "order", "timestamp": "day", "product_id": "item"}
    events = _events(tmp_path / "log.csv", text, columns=columns, fill={"by": "order", "columns": ["day", "hour"]})
    days = dict(zip(events["product_id"], events["timestamp"].dt.day(), strict=True))
    assert days == {"a": 1, "b": 1, "c": None, "d": 1, "e": 2, "f": 2}


def test_the_column_that_rows_share_is_required(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"log\.csv, field 'order'"):
        _events(tmp_path / "log.csv", "item\na\n", columns={"product_id": "item"}, fill={"by": "order", "columns": []})


@pytest.mark.parametrize(
    ("name", "text"), [("log.csv", "SESSION,Item\ns,a\n"), ("log.jsonl", '{"SESSION": "s", "Item": "a"}\n')]
)
def test_columns_are_found_in_any_case_where_the_mapping_says_so(tmp_path: Path, name: str, text: str) -> None:
    columns = {"session_id": "session", "product_id": "item"}
    events = _events(tmp_path / name, text, columns=columns, ignore_case=True)
    assert events.select("session_id", "product_id").row(0) == ("s", "a")


def test_columns_that_differ_only_in_case_are_an_error_then(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="'item' only in case"):
        _events(tmp_path / "log.csv", "item,Item\na,b\n", columns={"product_id": "item"}, ignore_case=True)


def test_a_joined_id_needs_all_its_parts(tmp_path: Path) -> None:
    text = "device,visit,item\nd,3,a\n,3,b\nd,-1,c\nd,,e\n"
    columns = {"session_id": {"path": ["device", "visit"], "values": {"-1": ""}}, "product_id": "item"}
    events = _events(tmp_path / "log.csv", text, columns=columns)
    assert events["session_id"].to_list() == ["d-3", None, None, None]


def test_what_a_value_has_too_much_is_removed(tmp_path: Path) -> None:
    text = "product,user\ngid://shopify/Product/12,$device:d\n 13 ,u\n"
    columns = {
        "session_id": {"value": "s"},
        "product_id": {"path": "product", "remove": "^gid://shopify/Product/"},
        "user_id": {"path": "user", "remove": r"^\$device:.*"},
    }
    events = _events(tmp_path / "log.csv", text, columns=columns)
    assert events.select("product_id", "user_id").rows() == [("12", None), ("13", "u")]


def test_an_expression_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not a regular expression"):
        Mapping.model_validate({"log": {"columns": {"action": {"path": "a", "remove": "(["}}}})
