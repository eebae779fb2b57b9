"""Proposed mappings: what they find by names and values, what they say they lack, and that they can be used."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ubm_embed.data.logs.trial import try_mapping
from ubm_embed.data.mappings.guesses.proposal import Proposal, propose
from ubm_embed.data.mappings.guesses.sample_files import MAX_ROWS
from ubm_embed.data.mappings.guesses.synonyms import action_of
from ubm_embed.data.mappings.mapping import LogMapping, Mapping
from ubm_embed.errors import InvalidData


def guess(folder: Path, *files: Path) -> Proposal:
    samples = folder / "samples"
    samples.mkdir()
    proposal = propose(files, samples)
    (folder / "proposed.toml").write_text(proposal.text)
    assert Mapping.read(folder / "proposed.toml") == proposal.mapping
    return proposal


def paths(part: LogMapping) -> dict[str, tuple[str, ...]]:
    return {name: column.paths for name, column in part.our_columns().items()}


SHOE = {"id": "a", "name": "Shoe"}
SHAPES: dict[str, tuple[list[dict[str, Any]], dict[str, tuple[str, ...]]]] = {
    "plain": (
        [
            {"visitorid": 1, "event": "addtocart", "itemid": 5, "timestamp": 1714557600000},
            {"visitorid": 2, "event": "view", "itemid": 6, "timestamp": 1714557700000},
        ],
        {"user_id": ("visitorid",), "action": ("event",), "product_id": ("itemid",), "timestamp": ("timestamp",)},
    ),
    "by values": (
        [
            {"wer": "u", "Kunde": "a", "was": "gekauft: purchase", "wann": "2024-05-01 10:00", "Artikelnummer": "x"},
            {"wer": "v", "Kunde": "b", "was": "view", "wann": "2024-05-01 11:00", "Artikelnummer": "y"},
        ],
        {"user_id": ("Kunde",), "action": ("was",), "timestamp": ("wann",), "product_id": ("Artikelnummer",)},
    ),
    "visits of a user": (
        [
            {"user": "u", "visit": 1, "action": "view", "sku": "a"},
            {"user": "v", "visit": 1, "action": "buy", "sku": "b"},
        ],
        {"session_id": ("user", "visit"), "user_id": ("user",), "action": ("action",), "product_id": ("sku",)},
    ),
    "nested": (
        [
            {"type": "Product Viewed", "ts": "2024-05-01T10:00:00Z", "user": {"id": "u"}, "product": SHOE},
            {"type": "Product Added", "ts": "2024-05-01T10:01:00Z", "user": {"id": "u"}, "product": SHOE},
        ],
        {
            "action": ("type",),
            "timestamp": ("ts",),
            "user_id": ("user.id",),
            "product_id": ("product.id",),
            "title": ("product.name",),
        },
    ),
    "a list": (
        [
            {"event": "view", "session_id": "s", "sku": "a", "items": []},
            {"event": "purchase", "session_id": "s", "items": [{"sku": "a", "price": 2.5}, {"sku": "b", "price": 3.5}]},
        ],
        {
            "action": ("event",),
            "session_id": ("session_id",),
            "product_id": ("items.sku", "sku"),
            "price": ("items.price",),
        },
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_a_shape_is_guessed_and_the_guess_reads_it(tmp_path: Path, shape: str, form: str) -> None:
    rows, expected = SHAPES[shape]
    file = tmp_path / f"log.{form}"
    if form == "csv":
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with file.open("w", newline="") as text:
            writer = csv.DictWriter(text, columns)
            writer.writeheader()
            for row in rows:
                nested = {name: json.dumps(value) for name, value in row.items() if isinstance(value, dict | list)}
                writer.writerow(row | nested)
    elif form == "parquet":
        pl.DataFrame(rows).write_parquet(file)
    else:
        texts = [json.dumps(row) for row in rows]
        file.write_text("\n".join(texts) if form == "jsonl" else f"[{','.join(texts)}]")
    proposal = guess(tmp_path, file)
    (part,) = proposal.mapping.log
    assert expected.items() <= paths(part).items()
    trial = try_mapping([file], proposal.mapping)
    assert not trial.problems
    assert not trial.dropped
    assert sum(trial.actions.values()) == (3 if shape == "a list" else 2)


@pytest.mark.parametrize("form", ["{}", "[{}]"])
def test_a_list_of_events_is_guessed_as_the_events_are(tmp_path: Path, form: str) -> None:
    events = [
        {"user": "a", "time": "2024-03-01T10:00:00Z", "type": "view", "sku": "1", "name": "Shoe"},
        {"user": "b", "time": "2024-03-01T10:01:00Z", "type": "purchase", "sku": "2", "name": "Boot"},
    ]
    (tmp_path / "log.json").write_text(form.format(json.dumps({"meta": {"n": 2}, "events": events})))
    proposal = guess(tmp_path, tmp_path / "log.json")
    assert {
        "user_id": ("events.user",),
        "timestamp": ("events.time",),
        "action": ("events.type",),
        "product_id": ("events.sku",),
        "title": ("events.name",),
    }.items() <= paths(proposal.mapping.log[0]).items()
    assert try_mapping([tmp_path / "log.json"], proposal.mapping).actions == {"view": 1, "buy": 1}


def test_actions_are_translated_and_unknown_ones_are_asked_about(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("session,event,sku\n" + "".join(f"s,{action},a\n" for action in ("view", "zoom", "zoom", 'a"b')))
    file.write_text('session,event,sku\ns,view,a\ns,zoom,a\ns,"say ""cart""",b\n')
    proposal = guess(tmp_path, file)
    assert proposal.mapping.log[0].actions == {"view": "view", "zoom": "drop", 'say "cart"': "add"}
    assert "what these actions mean: zoom" in proposal.missing
    assert '"zoom" = "drop"  # 1 row: what is it?' in proposal.text


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("session,sku\ns,a\n", "a column that says what was done"),
        ("event,session\nview,s\n", "the id of a product"),
        ("event,sku\nview,a\n", "a session or a user"),
        ("event,user,sku\nview,u,a\n", "a time, which sessions are split by"),
        ("event,session,sku\nview,s,a\n", "texts of products: give a catalogue beside it"),
    ],
)
def test_what_is_not_found_is_said(tmp_path: Path, text: str, missing: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    proposal = guess(tmp_path, tmp_path / "log.csv")
    assert missing in proposal.missing
    assert f"# not found: {missing}" in proposal.text


def test_a_file_with_titles_and_without_events_is_a_catalogue(tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    file.write_text('sku,product_name,category,price,brand\n1,Red shoe,Shoes,"$1,299.00",Acme\n2,Sock,Socks,free,\n')
    proposal = guess(tmp_path, file)
    (part,) = proposal.mapping.catalogue
    assert not proposal.mapping.log
    assert {name: column.paths for name, column in part.columns.items()} == {
        "product_id": ("sku",),
        "title": ("product_name",),
        "category": ("category",),
        "price": ("price",),
    }
    assert part.attributes["brand"].paths == ("brand",)
    assert try_mapping([file], proposal.mapping).products == 2


def test_a_file_of_orders_is_one_of_purchases(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("InvoiceNo,StockCode,InvoiceDate\n1,a,01/12/2010 8:26\n1,b,31/12/2010 8:26\n")
    (part,) = guess(tmp_path, tmp_path / "orders.csv").mapping.log
    assert part.columns.action.value == "buy"
    assert paths(part)["session_id"] == paths(part)["order_id"] == ("InvoiceNo",)
    assert part.time.format == ("%d/%m/%Y %H:%M",)


def test_a_header_that_is_data_and_another_encoding_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes("2024-05-01;view;Größe\n2024-05-02;cart;x\n".encode("cp1252"))
    proposal = guess(tmp_path, tmp_path / "log.csv")
    (part,) = proposal.mapping.log
    assert part.csv.names == ("column_1", "column_2", "column_3")
    assert part.csv.encoding == "cp1252"
    assert paths(part)["action"] == ("column_2",)


def test_files_of_several_kinds_become_several_parts(tmp_path: Path) -> None:
    contents = {
        "clicks_2024-01.csv": "session,sku,event\ns,a,view\n",
        "clicks_2024-02.csv": "session,sku,event\ns,a,view\n",
        "items.csv": "sku,title\na,Shoe\n",
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    proposal = guess(tmp_path, *(tmp_path / name for name in contents))
    assert [part.files for part in proposal.mapping.log] == [("clicks_*.csv",)]
    assert [part.files for part in proposal.mapping.catalogue] == [("items.csv",)]
    assert proposal.unseen == 1


def test_a_ready_made_mapping_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "2019-Oct.csv").write_text(
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
        "2019-10-01 00:00:00 UTC,view,1,2,a.b,acme,3.5,4,s\n"
    )
    assert next(iter(guess(tmp_path, tmp_path / "2019-Oct.csv").known)) == "rees46"


def test_a_ready_made_mapping_of_products_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "feed.tsv").write_text("id\ttitle\tprice\tavailability\tlink\n1\tShoe\t9.50 EUR\tin stock\thttp://x\n")
    assert "google_merchant" in guess(tmp_path, tmp_path / "feed.tsv").known_catalogues


def test_a_large_file_is_sampled_from_further_on_too(tmp_path: Path) -> None:
    rows = [f"s,{'purchase' if number > 150_000 else 'view'},{number:020}\n" for number in range(200_000)]
    (tmp_path / "log.csv").write_text("session,event,sku\n" + "".join(rows))
    proposal = guess(tmp_path, tmp_path / "log.csv")
    assert proposal.mapping.log[0].actions == {"view": "view", "purchase": "buy"}
    assert len(proposal.samples[0].read_text().splitlines()) < 2 * MAX_ROWS


def test_compressed_files_are_sampled(tmp_path: Path) -> None:
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(b"session,event,sku\ns,view,a\n"))
    assert paths(guess(tmp_path, tmp_path / "log.csv.gz").mapping.log[0])["product_id"] == ("sku",)


def test_quotes_inside_fields_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text('session,event,sku,name\ns,view,a,12" pan\ns,view,b,lid\n')
    proposal = guess(tmp_path, tmp_path / "log.csv")
    assert proposal.mapping.log[0].csv.quote == ""
    assert try_mapping([tmp_path / "log.csv"], proposal.mapping).actions == {"view": 2}


@pytest.mark.parametrize("sign", ["\x1b", "\x7f", "\x85", "\x9b", "\u200f", "\u202e", "\u2028", "\u2066", "\ufeff"])
def test_what_a_terminal_obeys_is_escaped(tmp_path: Path, sign: str) -> None:
    header = f"session_id,action,product_id,na{sign}me,col{sign}our"
    rows = f"s{sign}m,view,P{sign}1,red shoe,r{sign}ed\nt,wi{sign}sh,P2,blue shoe,blue\n"
    (tmp_path / "log.csv").write_text(f"{header}\n{rows}", "utf-8")
    proposal = guess(tmp_path, tmp_path / "log.csv")
    assert sign not in proposal.text
    assert f"P\\u{ord(sign):04x}1" in proposal.text
    assert f"wi{sign}sh" in proposal.mapping.log[0].actions


def test_a_separator_of_two_characters_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n1::661::3::978302109\n")
    (part,) = guess(tmp_path, tmp_path / "ratings.dat").mapping.log
    assert part.csv.separator == "::"
    assert part.csv.names == ("column_1", "column_2", "column_3", "column_4")


def test_what_stands_for_a_missing_value_is_noticed(tmp_path: Path) -> None:
    log = "session_token,event,sku,price,name\ns,view,1,\\N,Shoe\ns,add,\\N,2,Sock\ns,buy,NULL,3,Sock\n"
    (tmp_path / "log.csv").write_text(log)
    proposal = guess(tmp_path, tmp_path / "log.csv")
    assert proposal.mapping.log[0].csv.nulls == ("\\N", "NULL")
    assert paths(proposal.mapping.log[0])["session_id"] == ("session_token",)
    trial = try_mapping([tmp_path / "log.csv"], proposal.mapping)
    assert (trial.actions, trial.dropped, trial.lost) == ({"view": 1}, {"no product id": 2}, {})


def test_a_trial_tells_what_ingestion_would_drop_or_lose(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "sess,event,sku,price,name\ns,view,undefined,1,Shoe\nnull,view,1,2,Shoe\ns,view,1,call,Shoe\ns,view,2,3,\n"
    )
    (tmp_path / "map.toml").write_text("""
        [log.columns]
        session_id = "sess"
        action = "event"
        product_id = "sku"
        title = "name"
        price = {path = "price", invalid = "null"}
        """)
    trial = try_mapping([tmp_path / "log.csv"], Mapping.read(tmp_path / "map.toml"))
    assert trial.actions == {"view": 2}
    assert trial.dropped == {"no product id": 1, "no session or user": 1}
    assert trial.lost == {"price": 1}
    assert trial.without_text == 1


def test_titles_without_ids_are_no_catalogue(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("0,name\n,Shoe\n")
    proposal = guess(tmp_path, tmp_path / "log.csv")
    assert not proposal.mapping.catalogue
    assert "the id of a product" in proposal.missing


def test_products_beside_a_log_may_have_its_texts(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("session,event,sku\ns,view,1\n")
    (tmp_path / "items.csv").write_text("id,title\n2,Shoe\n")
    files = [tmp_path / "log.csv", tmp_path / "items.csv"]
    proposal = guess(tmp_path, *files)
    assert try_mapping(files[:1], proposal.mapping).without_text == 1
    assert try_mapping(files, proposal.mapping).without_text == 0


def test_a_file_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("session,event,sku\ns,view,a\n")
    (tmp_path / "broken.csv").write_text("a,b\n1\n")
    proposal = guess(tmp_path, tmp_path / "broken.csv", tmp_path / "log.csv")
    assert len(proposal.mapping.log) == 1
    assert len(proposal.unreadable) == 1
    assert "broken.csv, row 1" in proposal.unreadable[0]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"a,b\n", "no rows"),
        (bytes(range(256)) * 100, "not cp1252 text"),
        (b"x" * 3_000_000, "header that is not readable"),
        (b'"' + b"x" * 3_000_000, "empty|no rows"),
        (b"session,event\rs,view\r", "carriage return|line break"),
        (b"session,event\rs,view\r" + b"x,y\n" * 1_000_000, "carriage return|line break"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "log.csv").write_bytes(content)
    with pytest.raises(InvalidData, match=problem):
        guess(tmp_path, tmp_path / "log.csv")


def test_an_error_names_the_file_and_not_its_sample(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("a,b\n1,2,3\n")
    with pytest.raises(InvalidData, match=rf"^{tmp_path}/log\.csv"):
        guess(tmp_path, tmp_path / "log.csv")


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)


@settings(max_examples=25)
@given(st.data())
def test_any_table_has_a_proposal_that_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("guess")
    names = data.draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    rows = data.draw(
        st.lists(st.lists(st.text(max_size=8), min_size=len(names), max_size=len(names)), min_size=1, max_size=4)
    )
    with (folder / "log.jsonl").open("w") as text:
        text.writelines(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    guess(folder, folder / "log.jsonl")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("view_item", "view"),
        ("productClick", "view"),
        ("addToCart", "add"),
        ("Product Added", "add"),
        ("carts", "add"),
        ("remove_from_cart", "remove"),
        ("Product Removed", "remove"),
        ("Order Completed", "buy"),
        ("transaction", "buy"),
        ("view_search_results", "search"),
        ("Checkout Started", "drop"),
        ("checkout_complete", "buy"),
        ("page_view", "drop"),
        ("add_to_wishlist", "drop"),
        ("scroll", None),
        ("3", None),
    ],
)
def test_words_of_actions(theirs: str, ours: str | None) -> None:
    assert action_of(theirs) == ours
