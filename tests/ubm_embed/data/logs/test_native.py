import json
from pathlib import Path

import pytest

from tests.ubm_embed.data.logs.reading import NOON, collect, dropped, kept, write
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.logs.ingestion import ingest
from ubm_embed.errors import InvalidData


def test_native_rows_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(
        "user_id,timestamp,action,product_id,query,title,attributes,price\n"
        '1,2024-01-01 12:00,view,007,,Shoe,"{""colour"": ""red""}",12.5\n'
        "1,1704110400,search,,shoes,,,\n"
        "1,,view,7,,,,\n"
        ",2024-01-01 12:00,view,7,,,,\n"
        "1,2024-01-01 12:00,view,,,,,\n"
        "1,2024-01-01 12:00,search,, ,,,\n"
    )
    frame = collect(file, "native")
    assert kept(frame, "user_id", "timestamp", "action", "product_id", "query", "title", "attributes", "price") == [
        ("1", NOON, "view", "007", None, "Shoe", [{"name": "colour", "value": "red"}], 12.5),
        ("1", NOON, "search", None, "shoes", None, None, None),
    ]
    assert dropped(frame) == {
        "no timestamp": 1,
        "no session or user": 1,
        "no product id": 1,
        "no search phrase": 1,
    }


@pytest.mark.parametrize(
    ("rows", "row", "field"),
    [
        ("session_id,action,product_id\ns,view,p\ns,wish,p\n", 2, "action"),
        ("session_id,action,product_id\ns,,p\n", 1, "action"),
        ("session_id,product_id\ns,p\n", None, "action"),
        ("session_id,action\ns,view\n", None, "product_id"),
        ("action,product_id\nview,p\n", None, "session_id"),
        ("user_id,action,product_id\n1,view,p\n", None, "timestamp"),
        ("anonymous_id,action,product_id\n1,view,p\n", None, "timestamp"),
        ("user_id,timestamp,action,product_id\n1,noon,view,p\n", 1, "timestamp"),
        ("session_id,position,action,product_id\ns,first,view,p\n", 1, "position"),
        ("session_id,action,product_id,attributes\ns,view,p,\ns,view,p,red\n", 2, "attributes"),
    ],
)
def test_a_bad_native_log_is_named_by_file_row_and_field(
    tmp_path: Path, rows: str, row: int | None, field: str
) -> None:
    (tmp_path / "log.csv").write_text(rows)
    with pytest.raises(InvalidData) as caught:
        collect(tmp_path, "native")
    assert (caught.value.file, caught.value.row, caught.value.field) == (tmp_path / "log.csv", row, field)


def test_a_json_log_may_lack_columns_but_not_those_that_it_needs(tmp_path: Path) -> None:
    view = {"session_id": "s", "action": "view", "product_id": 7, "further": {"not": "read"}}
    late = view | {"price": 2, "attributes": {"colour": "red"}}
    frame = collect(write(tmp_path / "log.jsonl", [view, late]), "native")
    assert kept(frame, "session_id", "product_id", "price", "attributes") == [
        ("s", "7", None, None),
        ("s", "7", 2.0, [{"name": "colour", "value": "red"}]),
    ]
    for lacking in view.keys() - {"further"}:
        file = write(tmp_path / "bad.jsonl", [{name: value for name, value in view.items() if name != lacking}])
        with pytest.raises(InvalidData, match="missing column") as caught:
            collect(file, "native")
        assert (caught.value.file, caught.value.field) == (file, lacking)


def test_a_json_column_without_any_value_is_not_a_missing_one(tmp_path: Path) -> None:
    row = {"session_id": None, "user_id": "u", "action": "view", "product_id": None}
    assert dropped(collect(write(tmp_path / "log.jsonl", [row]), "native")) == {"no product id": 1}


@pytest.mark.parametrize("line", ["{", "5", '{"action": NaN}', '{"action": "view"} {"action": "view"}'])
def test_malformed_lines_of_a_native_log_are_named(tmp_path: Path, line: str) -> None:
    file = write(tmp_path / "log.jsonl", [{"session_id": "s", "action": "view", "product_id": "p"}] * 3)
    file.write_text(f"{file.read_text()}\n{line}\n")
    with pytest.raises(InvalidData) as caught:
        collect(file, "native")
    assert (caught.value.file, caught.value.row) == (file, 4)


def test_lines_are_counted_as_a_text_editor_does(tmp_path: Path) -> None:
    row = {"session_id": "s", "action": "view", "product_id": "p"}
    for odd, field in (({"action": "wish"}, "action"), ({"attributes": "red"}, "attributes")):
        file = tmp_path / "log.jsonl"
        file.write_text("\n\n".join(json.dumps(line) for line in (row, row | {"attributes": {}}, row | odd)))
        with pytest.raises(InvalidData) as caught:
            collect(file, "native")
        assert (caught.value.row, caught.value.field) == (5, field)


def test_a_native_log_may_say_more_than_a_corpus_holds(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(
        "anonymous_id,user_id,timestamp,action,product_id,title,message_id,order_id,row\n"
        "a,,2024-01-01 12:00,add,p,Shoe,1,,x\n"
        "a,,2024-01-01 12:00,add,p,Shoe,1,,x\n"
        "a,u,2024-01-01 12:01,add,q,Hat,2,,x\n"
        "a,u,2024-01-01 12:02,remove,q,Hat,3,,x\n"
        ",u,2024-01-01 12:03,buy,p,Shoe,4,o,x\n"
        ",u,2024-01-01 12:04,buy,p,Shoe,5,o,x\n"
    )
    report = ingest([file], kind="native", out=tmp_path / "out")
    corpus = Corpus.open(tmp_path / "out")
    rows = corpus.interactions.select("action", "product_id", "user_id").rows()
    assert rows == [("add", "p", "u"), ("buy", "p", "u")]
    assert (report.taken_back, report.dropped) == (2, {"duplicate message": 1, "duplicate order": 1})


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.parquet"])
def test_visitors_without_a_user_id_have_sessions(tmp_path: Path, name: str) -> None:
    view = {"anonymous_id": "a", "timestamp": "2024-01-01 12:00", "action": "view", "product_id": "p"}
    frame = collect(write(tmp_path / name, [view]), "native")
    assert kept(frame, "anonymous_id", "timestamp", "product_id") == [("a", NOON, "p")]


def test_the_first_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    for name, action in (("1.csv", "view"), ("2.csv", "wish"), ("3.csv", "wish")):
        (tmp_path / name).write_text(f"session_id,action,product_id\ns,view,p\ns,{action},p\n")
    with pytest.raises(InvalidData, match="'wish'") as caught:
        collect(tmp_path, "native")
    assert (caught.value.file, caught.value.row, caught.value.field) == (tmp_path / "2.csv", 2, "action")


def test_positions_may_have_an_empty_fraction(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("session_id,position,action,product_id\ns,1.0,view,p\ns,0.0,view,q\ns,,view,r\n")
    assert collect(file, "native")["position"].to_list() == [1, 0, None]


def test_catalogue_and_log_have_the_same_ids(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("product_id,title\nP1 ,Shoe\n 17.0,Boot\n")
    (tmp_path / "log.csv").write_text("session_id,action,product_id\ns,view,P1\ns,view,17\n")
    log, catalogue = tmp_path / "log.csv", tmp_path / "products.csv"
    report = ingest([log], kind="native", out=tmp_path / "out", catalogue=catalogue)
    assert (report.interactions, report.products) == (2, 2)
