"""`ingest` through a mapping: by name, by file, for the catalogue, and a proposal of one."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ubm_embed.data.corpus import Corpus

Shell = Callable[..., Any]

LOG = """who,when,what,item,name
u,2024-05-01 10:00,detail,1,Shoe
u,2024-05-01 10:01,cart,2,Sock
u,2024-05-01 10:02,wave,2,
"""
MAP = """
[log]
session_gap_minutes = 5
[log.columns]
user_id = "who"
timestamp = "when"
action = "what"
product_id = "item"
title = "name"
[log.actions]
detail = "view"
cart = "add"
[catalogue.columns]
product_id = "sku"
title = "label"
price = {path = "cost", type = "price"}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "shop.toml").write_text(MAP)
    (tmp_path / "items.csv").write_text("sku,label,cost\n1,Red shoe,$9.50\n")
    return tmp_path


def actions(folder: Path) -> list[str]:
    return Corpus.open(folder).interactions["action"].to_list()


def test_a_mapping_reads_a_log_and_its_catalogue(ubm: Shell, shop: Path) -> None:
    common = ("ingest", shop / "log.csv", "--map", shop / "shop.toml")
    ran = ubm(*common, "--catalogue", shop / "items.csv", "--out", shop / "out")
    assert ran.code == 0, ran.err
    assert "dropped 1: other event (log.csv row 3: 'wave')" in ran.err
    corpus = Corpus.open(shop / "out")
    assert actions(shop / "out") == ["view", "add"]
    assert corpus.products.sort("product_id").select("title", "price").rows() == [("Red shoe", 9.5), ("Sock", None)]


def test_unknown_actions_are_named_each_once(ubm: Shell, shop: Path) -> None:
    others = "".join(f"u,2024-05-01 11:00,{what},2,\n" for what in ["wave"] * 5 + ["wink", "wave", "nod", "jump"])
    (shop / "log.csv").write_text(LOG + others)
    ran = ubm("ingest", shop / "log.csv", "--map", shop / "shop.toml", "--out", shop / "out")
    assert "dropped 10: other event (log.csv row 3: 'wave', row 9: 'wink', row 11: 'nod')" in ran.err


def test_the_mapping_of_a_log_may_be_given_beside_native(ubm: Shell, shop: Path) -> None:
    assert (
        ubm("ingest", shop / "log.csv", "--from", "native", "--map", shop / "shop.toml", "--out", shop / "out").code
        == 0
    )
    ran = ubm("ingest", shop / "log.csv", "--from", "ga4", "--map", shop / "shop.toml", "--out", shop / "other")
    assert ran.code == 2
    assert "give one" in ran.err


def test_the_gap_of_the_mapping_counts_unless_the_command_says_another(ubm: Shell, shop: Path) -> None:
    (shop / "log.csv").write_text(LOG.replace("10:01", "10:10"))
    common = ("ingest", shop / "log.csv", "--map", shop / "shop.toml", "--overwrite", "--out", shop / "out")
    assert "2 sessions" in ubm(*common).err
    assert "1 session " in ubm(*common, "--session-gap", "30").err


def test_a_catalogue_may_have_a_mapping_of_its_own(ubm: Shell, shop: Path) -> None:
    (shop / "native.csv").write_text("session_id,action,product_id\ns,view,1\n")
    common = ("ingest", shop / "native.csv", "--from", "native", "--out", shop / "out")
    ran = ubm(*common, "--catalogue", shop / "items.csv", "--catalogue-map", shop / "shop.toml")
    assert ran.code == 0, ran.err
    assert Corpus.open(shop / "out").products["title"].to_list() == ["Red shoe"]
    assert ubm(*common, "--catalogue-map", shop / "shop.toml", "--overwrite").code == 2
    assert ubm(*common, "--catalogue", shop / "items.csv", "--catalogue-map", "nobody", "--overwrite").code == 4


def test_files_of_a_folder_are_read_by_their_part_and_others_are_named(ubm: Shell, shop: Path) -> None:
    (shop / "data").mkdir()
    items = '{"sku": 1, "label": "Red shoe", "cost": 1}\n'
    for name, text in (("log.csv", LOG), ("items.jsonl", items), ("notes.csv", "a,b\n1,2\n")):
        (shop / "data" / name).write_text(text)
    toml = MAP.replace("[log]", '[log]\nfiles = ["log*"]').replace(
        "[catalogue.", '[catalogue]\nfiles = ["items*"]\n[catalogue.'
    )
    (shop / "shop.toml").write_text(toml)
    ran = ubm("ingest", shop / "data", "--map", shop / "shop.toml", "--out", shop / "out")
    assert ran.code == 0, ran.err
    assert "left out 1 file that the mapping does not name: notes.csv" in ran.err
    assert "Red shoe" in Corpus.open(shop / "out").products["title"].to_list()


def test_a_ready_made_mapping_is_named_and_listed(ubm: Shell, tmp_path: Path) -> None:
    listed = ubm("ingest", "--list-formats")
    assert listed.code == 0
    assert {"native", "ga4", "segment", "rees46"} <= {line.split(" ")[0] for line in listed.out.splitlines()}
    (tmp_path / "2019-Oct.csv").write_text(
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
        "2019-10-01 00:00:00 UTC,cart,1,2,shoes.red,acme,3.5,4,s\n"
    )
    ran = ubm("ingest", tmp_path / "2019-Oct.csv", "--from", "rees46", "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert actions(tmp_path / "out") == ["add"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--from", "rees64"), 2, "Did you mean 'rees46'?"),
        ((), 2, "missing --from NAME or --map FILE.toml"),
        (("--map", "nowhere.toml"), 4, "no such file: nowhere.toml"),
        (("--map", "{shop}/log.csv"), 3, "not TOML"),
        (("--map", "{shop}/wrong.toml"), 3, "field 'when': missing column; did you mean"),
    ],
)
def test_a_wrong_format_says_what_to_do(
    ubm: Shell, shop: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    (shop / "wrong.toml").write_text(MAP)
    (shop / "log.csv").write_text(LOG.replace("when", "wen"))
    given = [option.format(shop=shop) for option in options]
    ran = ubm("ingest", shop / "log.csv", *given, "--out", shop / "out")
    assert ran.code == code
    assert message in ran.err
    assert not (shop / "out").exists()


def test_without_an_output_or_a_guess_nothing_is_done(ubm: Shell, shop: Path) -> None:
    ran = ubm("ingest", shop / "log.csv", "--from", "native")
    assert ran.code == 2
    assert "--out" in ran.err


def test_a_guess_goes_to_stdout_and_can_be_used(ubm: Shell, shop: Path) -> None:
    before = {file.name for file in shop.iterdir()}
    (shop / "log.csv").write_text(LOG.replace("who", "user"))
    guessed = ubm("ingest", shop / "log.csv", "--guess")
    assert guessed.code == 0
    assert {file.name for file in shop.iterdir()} == before
    assert "of a sample it would keep 2 of 3 events: 1 view, 1 add" in guessed.err
    assert "it would drop 1: action wave" in guessed.err
    assert "not found: what these actions mean: wave" in guessed.err
    assert "without text" not in guessed.err
    (shop / "guessed.toml").write_text(guessed.out)
    assert ubm("ingest", shop / "log.csv", "--map", shop / "guessed.toml", "--out", shop / "out").code == 0
    assert actions(shop / "out") == ["view", "add"]


def test_a_guess_says_what_ingestion_would_drop_or_lose(ubm: Shell, shop: Path) -> None:
    (shop / "log.csv").write_text("session,event,sku,price\ns,view,1,call us\ns,view,undefined,2\n")
    said = ubm("ingest", shop / "log.csv", "--guess").err
    assert "of a sample it would keep 1 of 2 events: 1 view" in said
    assert "it would drop 1: no product id" in said
    assert "1 of these are of products without text: they need a --catalogue" in said


def test_values_that_become_null_are_counted_as_lost(ubm: Shell, shop: Path) -> None:
    (shop / "shop.toml").write_text(
        """
        [log.columns]
        session_id = "s"
        action = "a"
        product_id = "p"
        title = {path = "t", invalid = "null"}
        position = {path = "n", invalid = "null"}
        """
    )
    (shop / "log.csv").write_text('s,a,p,t,n\n1,view,1,x,9.5\n1,view,2,"{""y"": 1}",zz\n1,view,2,y,2\n1,view,3,z,1\n')
    ran = ubm("ingest", shop / "log.csv", "--map", shop / "shop.toml", "--out", shop / "out")
    assert ran.code == 0, ran.err
    assert "lost 2 values of position (log.csv row 1: '9.5', row 2: 'zz')" in ran.err
    assert "lost 1 value of title (log.csv row 2: '{" in ran.err


def test_a_guess_names_the_ready_made_mappings_that_read_the_files(ubm: Shell, shop: Path) -> None:
    feed = "id\ttitle\tprice\tavailability\tlink\n1\tShoe\t9 EUR\tin stock\thttp://x\n"
    (shop / "feed.tsv").write_text(feed)
    assert (
        "--catalogue-map google_merchant reads products of this shape"
        in ubm("ingest", shop / "feed.tsv", "--guess").err
    )
    (shop / "feed.tsv").write_text(feed.replace("Shoe", 'Shoe 5" heel'))
    said = ubm("ingest", shop / "feed.tsv", "--guess").err
    assert "--catalogue-map google_merchant reads" not in said
    assert "--catalogue-map google_merchant_unquoted reads" in said
    log = "session_id,action,product_id,timestamp\ns,view,1,2024-01-01\n"
    (shop / "log.csv").write_text(log)
    assert "--from native reads files of this shape" in ubm("ingest", shop / "log.csv", "--guess").err
    (shop / "log.csv").write_text(log.replace("2024-01-01", "01/02/2024"))
    assert "--from native" not in ubm("ingest", shop / "log.csv", "--guess").err


def test_standard_input_is_a_source(ubm: Shell, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for extra in (("--guess",), ("--map", shop / "shop.toml", "--out", shop / "out")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LOG.encode())))
        ran = ubm("ingest", "-", *extra)
        assert ran.code == 0, ran.err
    assert actions(shop / "out") == ["view", "add"]


def test_a_report_that_cannot_be_written_is_known_before_the_work(ubm: Shell, shop: Path) -> None:
    common = ("ingest", shop / "log.csv", "--map", shop / "shop.toml", "--out", shop / "out", "--report")
    ran = ubm(*common, shop / "log.csv" / "report.json")
    assert ran.code != 0
    assert not (shop / "out").exists()
    assert ubm(*common, shop).code == 5
    assert not (shop / "out").exists()
    assert ubm(*common, shop / "report.json").code == 0
    assert json.loads((shop / "report.json").read_text())["interactions"] == 2


def test_what_is_changed_or_lost_is_said_with_its_row(ubm: Shell, shop: Path) -> None:
    (shop / "log.csv").write_text("session_id,action,product_id,title,price\ns,view, 1 ,Shoe,call us\ns,buy,1,,3\n")
    ran = ubm("ingest", shop / "log.csv", "--from", "native", "--out", shop / "out")
    assert "changed 1 value of product_id (log.csv row 1" in ran.err
    assert "lost 1 value of price (log.csv row 1: 'call us')" in ran.err


def test_files_that_are_joined_are_not_left_out(ubm: Shell, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    for name, text in (("log", "s,a,p\n1,view,2\n"), ("items", "p,t\n2,Shoe\n"), ("notes", "x\n1\n")):
        (tmp_path / "shop" / f"{name}.csv").write_text(text)
    (tmp_path / "map.toml").write_text(
        """
        [log]
        files = ["log*"]
        join = [{file = "items.csv", on = "p"}]
        columns = {session_id = "s", action = "a", product_id = "p", title = "t"}
        """
    )
    ran = ubm("ingest", tmp_path / "shop", "--map", tmp_path / "map.toml", "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "left out 1 file that the mapping does not name: notes.csv" in ran.err
