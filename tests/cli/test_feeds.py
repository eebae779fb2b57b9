"""Feeds as shops write them: what build-index and refresh make of them, and what they say about it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.version import read_version

# The fixtures are those of tests/cli/conftest.py.
Shell = Callable[..., Any]

ALLOW = ("--allow", "neighbours", "--allow", "centroid", "--allow", "uniformity")
PRODUCTS = [
    ("p1", "red running shoes", "9.5", True),
    ("p2", "blue running shoes", "19.5", False),
    ("p3", "red shirt", "99.5", True),
    ("p4", "socks", "4.5", True),
]


def csv_feed(**prices: str) -> str:
    rows = (f"{name},{title},{prices.get(name, price)},{in_stock}\n" for name, title, price, in_stock in PRODUCTS)
    return "product_id,title,price,in_stock\n" + "".join(rows)


def json_feed() -> str:
    names = ("product_id", "title", "price", "in_stock")
    return "".join(json.dumps(dict(zip(names, product, strict=True))) + "\n" for product in PRODUCTS)


@pytest.fixture
def build(tmp_path: Path, ubm: Shell, model_folder: Path) -> Callable[..., Any]:
    """Builds the store `tmp_path / "store"` from a feed."""

    def command(feed: Path | str, *options: object) -> Any:
        return ubm(
            *("build-index", "--model", model_folder, "--products", feed, "--store", tmp_path / "store"),
            *(*ALLOW, *options),
        )

    return command


@pytest.fixture
def feed(tmp_path: Path) -> Callable[..., Path]:
    """Writes a feed."""

    def write(text: str, name: str = "feed.csv") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def answered(ubm: Shell, folder: Path, where: str) -> list[str]:
    (folder / "session.json").write_text('{"interactions": [{"action": "search", "query": "red shoes"}]}')
    ran = ubm("query", "--session", folder / "session.json", "--store", folder / "store", "--where", where)
    assert ran.code == 0, ran.err
    return sorted(match["product_id"] for match in json.loads(ran.out)["matches"])


@pytest.mark.parametrize(("name", "text"), [("feed.csv", csv_feed()), ("feed.jsonl", json_feed())])
def test_the_conditions_of_the_readme_work_on_feeds_of_text(
    ubm: Shell, build: Shell, feed: Callable[..., Path], tmp_path: Path, name: str, text: str
) -> None:
    assert build(feed(text, name)).code == 0
    assert answered(ubm, tmp_path, "price < 50 AND in_stock") == ["p1", "p4"]


def test_what_was_changed_is_said(build: Shell, feed: Callable[..., Path]) -> None:
    text = csv_feed().replace("p1,red", "p1 ,Salt &amp; red").replace("socks", "\x1b[31msocks")
    ran = build(feed(text))
    assert ran.code == 0
    assert "warning: changed 1 id: 'p1 ' is 'p1'\n" in ran.err
    assert "warning: changed 2 titles: HTML entities, control characters, blanks at the ends\n" in ran.err
    assert "\x1b[31m" not in ran.err


@pytest.mark.parametrize("odd", ["call us", "NaN", "-"])
def test_one_price_that_is_none_is_said_and_the_others_stay_numbers(
    ubm: Shell, build: Shell, feed: Callable[..., Path], tmp_path: Path, odd: str
) -> None:
    assert build(feed(csv_feed())).code == 0
    ran = ubm("refresh", "--products", feed(csv_feed(p1=odd), "odd.csv"), "--store", tmp_path / "store", *ALLOW)
    assert ran.code == 0
    assert "warning: lost 1 value of price, not of type " in ran.err
    assert f": odd.csv, row 1: '{odd}'\n" in ran.err
    assert answered(ubm, tmp_path, "price < 50") == ["p2", "p4"]


def test_prices_of_which_most_are_none_stop_a_refresh(
    ubm: Shell, build: Shell, feed: Callable[..., Path], tmp_path: Path
) -> None:
    assert build(feed(csv_feed())).code == 0
    odd = feed(csv_feed(p2="call us", p3="ask", p4="ask"), "odd.csv")
    ran = ubm("refresh", "--products", odd, "--store", tmp_path / "store", *ALLOW)
    assert ran.code == 6
    assert "gate 'schema': the column price was a number and is text (odd.csv, row 2: 'call us')" in ran.err
    assert ran.err.splitlines()[-1].endswith("to publish anyway: --allow schema; nothing was published")
    assert answered(ubm, tmp_path, "price < 50") == ["p1", "p2", "p4"]
    dry = ubm("refresh", "--products", odd, "--store", tmp_path / "store", "--dry-run")
    assert (dry.code, "warning: gate 'schema' would fail" in dry.err) == (0, True)
    assert ubm("refresh", "--products", odd, "--store", tmp_path / "store", *ALLOW, "--allow", "schema").code == 0


def test_a_nearly_numeric_column_is_named_in_a_build(build: Shell, feed: Callable[..., Path]) -> None:
    ran = build(feed(csv_feed(p3="heavy").replace("price", "weight")))
    assert ran.code == 0
    assert "warning: weight is text and no number: feed.csv, row 3: 'heavy'\n" in ran.err


def test_a_feed_that_ends_within_a_row_is_refused_and_one_without_its_newline_reported(
    ubm: Shell, build: Shell, feed: Callable[..., Path], tmp_path: Path
) -> None:
    assert build(feed(csv_feed())).code == 0
    store = tmp_path / "store"
    ran = ubm("refresh", "--products", feed(csv_feed()[: -len("s,4.5,True\n")]), "--store", store)
    assert ran.code == 3
    assert "row 4" in ran.err
    ran = ubm("refresh", "--products", feed(csv_feed()[:-1]), "--store", store)
    assert ran.code == 0
    assert (
        "warning: feed.csv does not end in a newline and may have been cut short; its last product is 'p4'" in ran.err
    )


def test_a_feed_that_ends_within_its_last_field_is_refused_if_the_live_version_has_more(
    ubm: Shell, build: Shell, feed: Callable[..., Path], tmp_path: Path
) -> None:
    def priced(last: str) -> Path:
        rows = "product_id,title,price\np1,red shoes,9.5\np2,blue shoes,19.5\n"
        return feed(f"{rows}{last}")

    def refresh(last: str) -> Any:
        return ubm("refresh", "--products", priced(last), "--store", tmp_path / "store", *ALLOW)

    assert build(priced("p3,red shirt,16.5\n")).code == 0
    for given in ("16", "1", ""):
        ran = refresh(f"p3,red shirt,{given}")
        assert ran.code == 3
        said = f"seems cut short: the last row ends in '{given}' where the live version has '16.5', and the file has no"
        assert said in ran.err, ran.err
        assert ("feed.csv" in ran.err, "row 3" in ran.err) == (True, True)
        assert answered(ubm, tmp_path, "price = 16.5") == ["p3"]
    for whole in ("p3,red shirt,17", "p3,red shirt,16\n", "p3,red shirt,165\np4,socks,1"):
        assert refresh(whole).code == 0  # another price; a whole file; a new product


def test_a_difference_before_the_last_field_does_not_make_a_feed_cut(
    ubm: Shell, build: Shell, feed: Callable[..., Path], tmp_path: Path
) -> None:
    assert build(feed(csv_feed())).code == 0
    cheaper = feed(csv_feed(p4="4")[:-1])
    assert ubm("refresh", "--products", cheaper, "--store", tmp_path / "store", *ALLOW).code == 0


@pytest.mark.parametrize("text", ["", "\n", "session_id,position,action,product_id\n"])
def test_a_file_without_interactions_means_none(
    ubm: Shell, build: Shell, feed: Callable[..., Path], tmp_path: Path, text: str
) -> None:
    log = feed("session_id,position,action,product_id\ns,1,view,p1\n", "log.csv")
    assert build(feed(csv_feed()), "--interactions", log).code == 0
    feed(text, "log.csv")
    ran = ubm("refresh", "--products", feed(csv_feed()), "--store", tmp_path / "store", "--interactions", log)
    assert ran.code == 0
    assert f"warning: {log} has no interactions; popularity is as without --interactions\n" in ran.err
    assert "nothing changed" in ran.err


def test_a_feed_without_products_is_an_error(build: Shell, feed: Callable[..., Path]) -> None:
    for text in ("", "product_id,title\n"):
        ran = build(feed(text))
        assert ran.code == 3
        assert "feed.csv" in ran.err


def test_a_feed_from_standard_input(
    build: Shell, feed: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(csv_feed().encode())))
    assert build("-").code == 0
    assert read_version(EmbeddingStore.open(tmp_path / "store")).source == "stdin"


def test_a_mapping_says_which_columns_are_what(
    ubm: Shell, build: Shell, feed: Callable[..., Path], tmp_path: Path
) -> None:
    mapping = feed(
        '[catalogue.columns]\nproduct_id = "sku"\ntitle = "name"\nprice = {path = "cost", type = "price"}\n', "map.toml"
    )
    theirs = csv_feed().replace("product_id,title,price", "sku,name,cost", 1)
    assert build(feed(theirs), "--map", mapping).code == 0
    assert answered(ubm, tmp_path, "price < 50") == ["p1", "p2", "p4"]
    odd = feed(theirs.replace("99.5", "call us"), "odd.csv")
    ran = ubm("refresh", "--products", odd, "--map", mapping, "--store", tmp_path / "store")
    assert ran.code == 3
    assert "odd.csv, row 3, field 'cost': expected a price for price, got 'call us'" in ran.err
    assert ubm("refresh", "--products", odd, "--map", "nothing", "--store", tmp_path / "store").code == 4


@pytest.mark.parametrize("name", ["a [1]*", "ü ö", "50%20?x#y"])
def test_paths_may_have_any_characters(ubm: Shell, model_folder: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    model, store = model_folder.rename(folder / "model"), folder / "store"
    (folder / "feed.csv").write_text(csv_feed())
    (folder / "feed.jsonl").write_text(json_feed().replace("socks", "warm socks"))
    (folder / "session.json").write_text('{"interactions": [{"action": "search", "query": "red shoes"}]}')
    for command in (
        ("build-index", "--model", model, "--products", folder / "feed.csv", "--store", store, *ALLOW),
        ("refresh", "--products", folder / "feed.jsonl", "--store", store, *ALLOW),
        ("query", "--session", folder / "session.json", "--store", store),
        ("doctor", "--store", store),
        ("versions", "tag", "sale", "--store", store),
        ("versions", "rollback", "--store", store),
        ("export", "--store", store, "--version", "sale", "--to", "npy", "--out", folder / "out"),
    ):
        ran = ubm(*command)
        assert ran.code == 0, ran.err
    assert sorted(entry.name for entry in folder.iterdir()) == [
        *("feed.csv", "feed.jsonl", "model", "out", "session.json", "store"),
    ]


def test_a_kind_of_index_that_is_none_names_the_settings(build: Shell, feed: Callable[..., Path]) -> None:
    settings = feed('[index]\nkind = "nonsense"\n', "settings.toml")
    ran = build(feed(csv_feed()), "--config", settings)
    assert ran.code == 3
    assert f"{settings}, field 'index.kind': 'nonsense' is no kind of index" in ran.err
    ran = build(feed(csv_feed()), "--config", settings, "--index", "rubbish")
    assert f"{settings}" not in ran.err
