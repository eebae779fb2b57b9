"""Logs of any columns through a mapping: raw events, and errors that name file, row and column."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ubm_embed.data.logs.event_table import INVALID
from ubm_embed.data.logs.mapped import MappedLog, mapped_log
from ubm_embed.data.mappings import joined_files
from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.data.tables.table_files import collect_tables
from ubm_embed.errors import InvalidData, NotFound


def mapping(folder: Path, text: str) -> Mapping:
    (folder / "map.toml").write_text(text)
    return Mapping.read(folder / "map.toml")


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def read(folder: Path, toml: str, log: str | pl.DataFrame, name: str = "log.csv") -> pl.DataFrame:
    file = folder / name
    log.write_parquet(file) if isinstance(log, pl.DataFrame) else file.write_text(log)
    return collect(mapped_log([file], mapping(folder, toml)))


def collect(log: MappedLog) -> pl.DataFrame:
    (events,) = collect_tables([pl.concat(log.events)], log.files)
    for check in log.checks:
        check()
    assert INVALID not in events["dropped"]
    return events


def column(folder: Path, toml: str, log: str | pl.DataFrame, name: str = "log.csv") -> list[Any]:
    """The values of `title` for a mapping of this one column."""
    return read(folder, f'[log.columns]\naction = {{value = "view"}}\ntitle = {toml}\n', log, name)["title"].to_list()


def test_columns_of_other_names_become_events(tmp_path: Path) -> None:
    events = read(
        tmp_path,
        """
        [log.columns]
        session_id = ["who", "visit"]
        user_id = "who"
        timestamp = "when"
        action = "event.type"
        product_id = {first = ["sku", "id"]}
        price = "amount"
        [log.columns.attributes]
        colour = "colour"
        [log.actions]
        detail = "view"
        cart = "add"
        start = "drop"
        """,
        "who,visit,when,event.type,sku,id,amount,colour\n"
        'u,1,2024-05-01 10:00,detail,,7,"$1,299.00",red\n'
        "u,1,2024-05-01 10:01,cart,8,7,19.90,\n"
        ",1,2024-05-01 10:02,cart,8,7,,\n"
        "u,1,2024-05-01 10:03,start,,,,\n"
        "u,1,2024-05-01 10:04,wave,,,,\n"
        "u,1,2024-05-01 10:05,,,,,\n",
    )
    assert events["row"].to_list() == [1, 2, 3, 4, 5, 6]
    assert events["action"].to_list() == ["view", "add", "add", None, None, None]
    assert events["dropped"].to_list() == [None, None, None, "action start", "other event", "no action"]
    assert events["session_id"].to_list() == ["u-1", "u-1", None, "u-1", "u-1", "u-1"]
    assert events["product_id"].to_list() == ["7", "8", "8", None, None, None]
    assert events["price"].to_list() == ["$1,299.00", "19.90", None, None, None, None]
    assert events["timestamp"][0] == datetime(2024, 5, 1, 10)
    assert events["attributes"].to_list()[:2] == [[{"name": "colour", "value": "red"}], None]


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ('"a"', ["x", None]),
        ('["a", "b"]', ["x y", "z"]),
        ('{path = ["a", "b"], join = "/"}', ["x/y", "z"]),
        ('{first = ["b", "a"]}', ["y", "z"]),
        ('{first = ["missing", "a"]}', ["x", None]),
        ('{value = "always"}', ["always", "always"]),
        ('{path = "a", values = {x = "new"}}', ["new", None]),
        ('{path = "a", values = {x = ""}}', [None, None]),
        ('{path = "a", remove = "^."}', [None, None]),
        ('{path = "missing", optional = true}', [None, None]),
    ],
)
def test_a_column_comes_from_one_or_several_or_is_a_constant(tmp_path: Path, toml: str, expected: list[Any]) -> None:
    assert column(tmp_path, toml, "a,b\n x ,y\n,z\n") == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("p.name", "shoe"),
        ("p.size.eu", "42"),
        ("p.tags", "new red"),
        ("p.tags.1", "red"),
        ("p.params.colour", "blue"),
        ("p.text.inner", "deep"),
        ("a.b", "dotted"),
    ],
)
def test_a_path_leads_into_json(tmp_path: Path, path: str, expected: str) -> None:
    record = {
        "name": "shoe",
        "size": {"eu": 42},
        "tags": ["new", "red"],
        "params": [{"key": "colour", "value": "blue"}],
        "text": json.dumps({"inner": "deep"}),
    }
    text = json.dumps(record)
    json_lines = f'{{"p": {text}, "a.b": "dotted"}}\n{{"p": {json.dumps(text)}, "a.b": "dotted"}}\n'
    assert column(tmp_path, f'"{path}"', json_lines, "log.jsonl") == [expected, expected]
    csv = pl.DataFrame({"p": [text], "a.b": ["dotted"]}).write_csv()
    assert column(tmp_path, f'"{path}"', csv) == [expected]


def test_a_path_leads_into_records_of_parquet(tmp_path: Path) -> None:
    entry = {"name": "shoe", "tags": ["new", "red"], "params": [{"key": "colour", "value": {"text": "blue"}}]}
    log = pl.DataFrame({"p": [entry, None], "n": [17.0, None], "day": [datetime(2024, 5, 1), None]})
    paths = {"p.name": "shoe", "p.tags": "new red", "p.tags.0": "new", "p.params.colour.text": "blue", "n": "17"}
    for path, expected in paths.items():
        assert column(tmp_path, f'"{path}"', log, "log.parquet") == [expected, None]


@pytest.mark.parametrize("as_text", [False, True], ids=["parquet", "json text"])
def test_each_makes_an_event_of_every_entry_and_keeps_rows_without(tmp_path: Path, as_text: bool) -> None:
    items = [[{"id": "a", "price": 2.5}, {"id": "b", "price": None}], [], None]
    log = pl.DataFrame({"user": ["u", "v", "w"], "id": ["x", "y", "z"], "items": items})
    if as_text:
        log = log.with_columns(pl.Series("items", [None if one is None else json.dumps(one) for one in items]))
    toml = """
        [log]
        each = "items"
        [log.columns]
        action = {value = "buy"}
        user_id = "user"
        product_id = {first = ["items.id", "id"]}
        price = "items.price"
        """
    events = read(tmp_path, toml, log, "log.parquet")
    assert events.select("row", "user_id", "product_id", "price").rows() == [
        (1, "u", "a", "2.5"),
        (1, "u", "b", None),
        (2, "v", "y", None),
        (3, "w", "z", None),
    ]


def test_each_takes_a_list_of_values_and_one_that_files_lack(tmp_path: Path) -> None:
    toml = '[log]\neach = "ids"\n[log.columns]\naction = {value = "buy"}\nproduct_id = "ids"\n'
    log = lines({"ids": ["a", 2]}, {"ids": None}, {"ids": "[3]"})
    assert read(tmp_path, toml, log, "log.jsonl")["product_id"].to_list() == ["a", "2", None, "3"]
    columns = '[log.columns]\naction = {value = "view"}\nproduct_id = {first = ["items.id", "id"]}\n'
    toml = '[log]\neach = {path = "items", optional = true}\n' + columns
    assert read(tmp_path, toml, "id\na\n")["product_id"].to_list() == ["a"]
    assert read(tmp_path, toml, lines({"id": "a"}), "log.jsonl")["product_id"].to_list() == ["a"]


def test_a_json_array_is_read_as_json_lines_are(tmp_path: Path) -> None:
    toml = '[log]\neach = "p.ids"\n[log.columns]\naction = {value = "buy"}\nproduct_id = "p.ids"\ntitle = "names"\n'
    events = read(tmp_path, toml, json.dumps([{"p": {"ids": ["a", 2]}, "names": ["x", "y"]}]), "log.json")
    assert events.select("product_id", "title").rows() == [("a", "x y"), ("2", "x y")]


def test_a_list_of_very_many_entries_is_read(tmp_path: Path) -> None:
    toml = '[log]\neach = "ids"\n[log.columns]\naction = {value = "buy"}\nproduct_id = "ids"\n'
    events = read(tmp_path, toml, lines({"ids": list(range(300_000))}), "log.jsonl")
    assert events["product_id"].n_unique() == events.height == 300_000


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ({"x": None}, "x"),
        ({"p": {"x": None}}, "p.x"),
        ({"p": '{"x": null}'}, "p.x"),
        ({"p": {"q.r": {"x": None}}}, "p.q.r.x"),
        ({"p": [{"key": "x", "value": None}]}, "p.x"),
    ],
)
def test_a_key_without_a_value_in_any_row_is_there(tmp_path: Path, row: dict[str, Any], path: str) -> None:
    toml = f'[log.columns]\naction = {{value = "view"}}\nproduct_id = "{path}"\n'
    others = [{"other": number} for number in range(1200)]  # more than are looked at to begin with
    late = lines(*others, row)
    assert read(tmp_path, toml, lines(row), "log.jsonl")["product_id"].to_list() == [None]
    assert read(tmp_path, toml, late, "log.jsonl").height == 1201
    assert read(tmp_path, toml, json.dumps([*others, row]), "log.json").height == 1201
    if path != "x":
        table = pl.DataFrame({"p": [None, json.dumps(row["p"])]})
        assert read(tmp_path, toml, table, "log.parquet").height == 2
    lower = toml.replace("[log.columns]", "[log]\nignore_case = true\n[log.columns]")
    assert read(tmp_path, lower, lines({name.upper(): value for name, value in row.items()}), "log.jsonl").height == 1
    with pytest.raises(InvalidData, match="no row has it"):
        read(tmp_path, toml, lines({"other": f"x {path}"}), "log.jsonl")


def test_a_key_without_a_value_in_any_entry_of_a_list_is_there(tmp_path: Path) -> None:
    toml = '[log]\neach = "items"\n[log.columns]\naction = {value = "buy"}\nproduct_id = "items.x"\n'
    for items in ([{"y": 1}, {"x": None}], '[{"x": null}]'):
        assert read(tmp_path, toml, lines({"items": items}), "log.jsonl")["product_id"].to_list()[-1] is None
        assert read(tmp_path, toml, json.dumps([{"items": items}]), "log.json")["product_id"].to_list()[-1] is None
    with pytest.raises(InvalidData, match=r"field 'items\.x': no row has it"):
        read(tmp_path, toml, lines({"items": [{"y": "items.x"}]}), "log.jsonl")


def test_json_that_cannot_be_read_costs_its_row_only(tmp_path: Path) -> None:
    deep = '{"id": ' * 10_000 + "1" + "}" * 10_000
    log = pl.DataFrame({"p": ['{"id": "a"}', "{", deep, "[]", "", "3", '{"id": "\\ud83d"}']})
    toml = '[log.columns]\naction = {value = "view"}\nproduct_id = "p.id"\n'
    events = read(tmp_path, toml, log.write_csv())
    assert events["product_id"].to_list() == ["a", None, None, None, None, None, "�"]
    assert [row for row, problem in events.select("row", "problem").rows() if problem] == [2, 3, 6]
    assert events["problem"][1] == "field p: not JSON"
    assert events["dropped"].null_count() == 7


def test_json_of_another_form_further_on_costs_its_row_only(tmp_path: Path) -> None:
    usual = {"p": {"id": "a", "items": [{"id": "x"}]}}
    odd = [{"p": "text"}, {"p": {"id": {"deep": 1}}}, {"p": {"items": 3}}, {"p": None}, {}]
    toml = """
        [log]
        each = "p.items"
        [log.columns]
        action = {value = "view"}
        product_id = {first = ["p.items.id", "p.id"]}
        """
    events = read(tmp_path, toml, lines(*[usual] * 1500, *odd, usual), "log.jsonl")
    assert events.height == 1506
    assert events["product_id"].drop_nulls().to_list() == ["x"] * 1501
    assert [row for row, problem in events.select("row", "problem").rows() if problem] == [1501, 1502, 1503]


@pytest.mark.parametrize(
    ("time", "text", "expected"),
    [
        ("", "2024-05-01T10:00:00+02:00", datetime(2024, 5, 1, 8)),
        ("", "1714557600", datetime(2024, 5, 1, 10)),
        ('time = {format = "%d/%m/%Y %H:%M"}', "02/01/2024 10:30", datetime(2024, 1, 2, 10, 30)),
        ('time = {zone = "Europe/Berlin"}', "2024-05-01 10:00", datetime(2024, 5, 1, 8)),
        ('time = {unit = "ms"}', "1714557600000", datetime(2024, 5, 1, 10)),
    ],
)
def test_times_are_read_as_the_mapping_says(tmp_path: Path, time: str, text: str, expected: datetime) -> None:
    toml = f'[log]\n{time}\n[log.columns]\naction = {{value = "view"}}\ntimestamp = "t"\n'
    assert read(tmp_path, toml, f"t,x\n{text},1\n")["timestamp"].to_list() == [expected]


def test_a_zone_counts_for_parquet_too(tmp_path: Path) -> None:
    toml = '[log.columns]\naction = {value = "view"}\ntimestamp = {first = ["t"]}\n'
    zoned = pl.Series([datetime(2024, 5, 1, 10)]).dt.replace_time_zone("Europe/Berlin")
    assert read(tmp_path, toml, pl.DataFrame({"t": zoned}), "log.parquet")["timestamp"][0] == datetime(2024, 5, 1, 8)


@pytest.mark.parametrize(
    ("drop", "reason"),
    [
        ('{path = "s", is_in = ["test", "bot"]}', "s is test or bot"),
        ('{path = "s", is_in = [""]}', "s is empty"),
        ('{path = "s", matches = "^te"}', "s matches ^te"),
        ('{path = "s", matches = "^$|bot|real", unless = false, reason = "no test"}', "no test"),
        ('{path = "s", is_in = ["real"], unless = true, reason = "not real"}', "not real"),
        ('{path = "gone", is_in = ["", "x"], optional = true, reason = "gone"}', "gone"),
    ],
)
def test_conditions_leave_rows_out_with_a_reason(tmp_path: Path, drop: str, reason: str) -> None:
    toml = f'[log]\ndrop = [{drop}]\n[log.columns]\naction = {{value = "view"}}\ntimestamp = "t"\n'
    # A row that is left out may hold anything.
    log = {"test": "never", "bot": "never", "": "never", "real": "2024-05-01"}
    kept = {
        "s is test or bot": ["", "real"],
        "s is empty": ["test", "bot", "real"],
        "s matches ^te": ["bot", "", "real"],
    }
    kept |= {"no test": ["test"], "not real": ["real"], "gone": []}
    text = "s,t\n" + "".join(f"{s},{'2024-05-01' if s in kept[reason] else t}\n" for s, t in log.items())
    events = read(tmp_path, toml, text)
    assert events["dropped"].drop_nulls().unique().to_list() == [reason]
    assert events["dropped"].null_count() == len(kept[reason])


def test_files_beside_are_joined(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("key,name\n1.0,Shoe\n2,Sock\n,Nothing\n")
    toml = """
        [log]
        join = [{file = "names.csv", on = "item", right_on = "key"}]
        [log.columns]
        action = {value = "view"}
        product_id = "item"
        title = "name"
        """
    assert read(tmp_path, toml, "item,x\n2,\n1,\n3,\n,\n")["title"].to_list() == ["Sock", "Shoe", None, None]
    with pytest.raises(InvalidData, match=r"log\.csv, field 'item': missing column"):
        read(tmp_path, toml, "itm\n2\n")
    (tmp_path / "names.csv").write_text("key,name\n1,Shoe\n1,Sock\n")
    with pytest.raises(InvalidData, match=r"names\.csv, row 2, field 'key': expected a unique key, got '1' again"):
        read(tmp_path, toml, "item\n2\n")
    (tmp_path / "names.csv").unlink()
    with pytest.raises(NotFound, match=r"names\.csv; the mapping joins it"):
        read(tmp_path, toml, "item\n2\n")


def test_a_file_that_is_too_large_to_join_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined_files, "_MAX_BYTES", 10)
    (tmp_path / "names.csv").write_text("item,name\n1,Shoe\n2,Sock\n")
    toml = '[log]\njoin = [{file = "names.csv", on = "item"}]\n[log.columns]\naction = {value = "view"}\n'
    with pytest.raises(InvalidData, match=r"names\.csv: too large to join"):
        read(tmp_path, toml, "item\n2\n")


def test_what_stands_in_the_first_row_of_several_fills_the_others(tmp_path: Path) -> None:
    toml = """
        [log]
        fill = {by = "order", columns = ["paid", "gone"]}
        [log.columns]
        action = {value = "buy"}
        title = "paid"
        """
    events = read(tmp_path, toml, "order,paid\n1,yes\n2,no\n1,\n2,\n3,\n")
    assert events["title"].to_list() == ["yes", "no", "yes", "no", None]


def test_names_in_any_case_are_found_if_the_mapping_says_so(tmp_path: Path) -> None:
    toml = '[log]\nignore_case = true\n[log.columns]\naction = {value = "view"}\nproduct_id = "id"\n'
    assert read(tmp_path, toml, "ID\na\n")["product_id"].to_list() == ["a"]
    assert read(tmp_path, toml, lines({"Id": "a"}), "log.jsonl")["product_id"].to_list() == ["a"]
    with pytest.raises(InvalidData, match="only in case"):
        read(tmp_path, toml, "ID,id\na,b\n")


def test_csv_is_read_as_the_mapping_says(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes('1;"a";Größe\nNA;"b";x\n'.encode("cp1252"))
    toml = """
        [log]
        csv = {separator = ";", encoding = "cp1252", nulls = ["NA"], names = ["user", "id", "name"]}
        [log.columns]
        action = {value = "view"}
        user_id = "user"
        product_id = "id"
        title = "name"
        """
    events = collect(mapped_log([tmp_path / "log.csv"], mapping(tmp_path, toml)))
    assert events.select("user_id", "product_id", "title").rows() == [("1", "a", "Größe"), (None, "b", "x")]


class TestErrors:
    """Each names the file, and as far as there is one the row and the column of the file."""

    COLUMNS = '[log.columns]\naction = {value = "view"}\n'

    @pytest.mark.parametrize(
        ("toml", "log", "where", "problem"),
        [
            ('product_id = "pid"', "id,x\na,b\n", "pid", "missing column; did you mean 'id'?; found id, x; if files"),
            ('product_id = {first = ["x", "y"]}', "id\na\n", "x", "missing column"),
            ('product_id = "id.inner"', "other\na\n", "id.inner", "missing column"),
            (
                'timestamp = "t"',
                "t,x\n9999999999,\n,\nsoon,\nno,\n",
                (3, "t"),
                "a time for timestamp, got 'soon' (and 1 more)",
            ),
            ('price = "p"', "p,x\n1,\nfree,\n", (2, "p"), "expected a price for price, got 'free'"),
            ('price = {path = "p", type = "number"}', "p,x\n$1,\n", (1, "p"), "expected a number for price, got '$1'"),
            ('position = "p"', "p,x\n1.0,\n1.5,\n", (2, "p"), "expected a whole number for position, got '1.5'"),
            ('product_id = "i"', 'i,x\n"[""a"", ""b""]",\n', (1, "i"), "expected one value"),
            ('title = "t"', 't,x\n"{""en"": ""shoe""}",\n', (1, "t"), "expected one value"),
        ],
    )
    def test_a_value_or_column_that_does_not_fit(
        self, tmp_path: Path, toml: str, log: str, where: str | tuple[int, str], problem: str
    ) -> None:
        with pytest.raises(InvalidData) as caught:
            read(tmp_path, f"{self.COLUMNS}{toml}\n", log)
        assert problem in caught.value.problem
        assert caught.value.file == tmp_path / "log.csv"
        assert (caught.value.row, caught.value.field) == (where if isinstance(where, tuple) else (None, where))

    def test_a_record_of_parquet_where_a_value_is_expected(self, tmp_path: Path) -> None:
        log = pl.DataFrame({"t": [{"en": "shoe"}], "i": [["a", "b"]]})
        for toml, field in (('title = "t"', "t"), ('product_id = "i"', "i")):
            with pytest.raises(InvalidData, match=rf"log\.parquet, row 1, field '{field}': expected one value"):
                read(tmp_path, f"{self.COLUMNS}{toml}\n", log, "log.parquet")

    def test_a_value_that_does_not_fit_may_be_null(self, tmp_path: Path) -> None:
        toml = 'timestamp = {path = "t", invalid = "null"}\nprice = {path = "p", invalid = "null"}\n'
        events = read(tmp_path, self.COLUMNS + toml, "t,p\nsoon,free\n2024-05-01,1\n")
        assert events["timestamp"].to_list() == [None, datetime(2024, 5, 1)]
        assert events["unread_timestamp"].to_list() == ["soon", None]
        assert events["price"].to_list() == ["free", "1"]  # parsed, and counted as lost, with those of all logs

    def test_an_action_that_is_not_listed(self, tmp_path: Path) -> None:
        toml = '[log]\nother_actions = "error"\n[log.columns]\naction = "a"\n'
        with pytest.raises(InvalidData, match=r"log\.csv, row 2, field 'a': expected one of .*view.*, got 'wave'"):
            read(tmp_path, toml, "a,x\nview,\nwave,\n")
        with pytest.raises(InvalidData, match="expected one of look, got 'view'"):
            read(tmp_path, toml + '[log.actions]\nlook = "view"\n', "a,x\nlook,\nview,\n")

    def test_a_path_in_json_that_no_row_of_any_file_has(self, tmp_path: Path) -> None:
        toml = self.COLUMNS + 'product_id = "p.id"\nquery = "p.query"\n'
        one, other = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
        one.write_text(lines({"p": {"id": "a"}, "other": 1}))
        other.write_text(lines({"p": {"query": "shoes"}}))
        assert mapped_log([one, other], mapping(tmp_path, toml)).files == (one, other)
        with pytest.raises(InvalidData, match=r"1\.jsonl, field 'p\.query': no row has it; found p, other;"):
            mapped_log([one], mapping(tmp_path, toml))
        with pytest.raises(InvalidData, match=r"field 'p\.query': no row has it"):
            mapped_log([one, one], mapping(tmp_path, toml))

    def test_a_column_that_a_ready_made_mapping_needs(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("event,time\nView,1\n")
        with pytest.raises(InvalidData, match=r"mixpanel reads no files without it, and `ingest --guess`") as caught:
            mapped_log([tmp_path / "a.csv"], Mapping.open("mixpanel"))
        assert "optional" not in str(caught.value)

    def test_a_list_that_files_lack(self, tmp_path: Path) -> None:
        toml = '[log]\neach = "itemz"\n' + self.COLUMNS + 'product_id = {first = ["itemz.id", "id"]}\n'
        with pytest.raises(InvalidData, match=r"field 'itemz': missing column; did you mean 'items'"):
            read(tmp_path, toml, "id,items\na,\n")
        log = lines({"id": "a", "items": [{"id": "b"}]})
        with pytest.raises(InvalidData, match=r"field 'itemz': no row has it; did you mean 'items'"):
            read(tmp_path, toml, log, "log.jsonl")
        with pytest.raises(InvalidData, match=r"field 'p.itemz': no row has it"):
            read(tmp_path, toml.replace("itemz", "p.itemz"), lines({"id": "a", "p": {"items": []}}), "log.jsonl")

    def test_a_mapping_without_a_part_for_the_file(self, tmp_path: Path) -> None:
        only = mapping(tmp_path, '[catalogue.columns]\nproduct_id = "i"\ntitle = "t"\n')
        (tmp_path / "log.csv").write_text("i,t\na,b\n")
        with pytest.raises(InvalidData, match=r"log\.csv: the mapping reads no events of it; .* no \[log\]"):
            mapped_log([tmp_path / "log.csv"], only)


def test_files_are_read_by_their_part_or_left_out(tmp_path: Path) -> None:
    names = ("clicks.csv", "buys.csv", "items.csv", "notes.csv")
    for name in names:
        (tmp_path / name).write_text("id,x\na,\n")
    toml = """
        [[log]]
        files = ["clicks*"]
        columns = {action = {value = "view"}, product_id = "id"}
        [[log]]
        files = ["buys*"]
        columns = {action = {value = "buy"}, product_id = "id"}
        [catalogue]
        files = ["items*"]
        columns = {product_id = "id", title = "x"}
        """
    log = mapped_log([tmp_path / name for name in names], mapping(tmp_path, toml))
    assert collect(log)["action"].to_list() == ["view", "buy"]
    assert [file.name for file in log.files] == ["clicks.csv", "buys.csv"]
    assert [file.name for file in log.catalogues] == ["items.csv"]
    assert [file.name for file in log.left_out] == ["notes.csv"]
