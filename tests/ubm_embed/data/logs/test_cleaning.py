"""What cleaning does to a log, as its report counts it."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from ubm_embed.data.corpus import Corpus
from ubm_embed.data.ids import clean_id
from ubm_embed.data.logs.cleaning import cleaned, mark_unclean
from ubm_embed.data.logs.event_table import CLEAN_SCHEMA, EVENT_SCHEMA, mark_dropped
from ubm_embed.data.logs.ingestion import IngestReport, ingest
from ubm_embed.data.logs.report import Example, Tally
from ubm_embed.data.prices import parse_prices


def native(folder: Path, *rows: dict[str, Any]) -> tuple[IngestReport, Corpus]:
    """A native log of these rows as a corpus."""
    filled = [{"session_id": "s", "action": "view", "product_id": "p", "title": "Shoe", **row} for row in rows]
    log = folder / "log.parquet"
    pl.DataFrame(filled, infer_schema_length=None).write_parquet(log)
    report = ingest([log], kind="native", out=folder / "out", overwrite=True)
    return report, Corpus.open(folder / "out")


def test_ids_are_one_id_however_they_are_written(tmp_path: Path) -> None:
    ids = ["17", "17.0", " 17 ", "undefined", "", "18"]
    report, corpus = native(tmp_path, *({"product_id": text, "session_id": "s\u00a0"} for text in ids))
    assert corpus.interactions.select("session_id", "product_id").rows() == [("s", "17"), ("s", "18")]
    assert report.changed == {"session_id": 6, "product_id": 3}
    assert report.dropped == {"repeated": 2, "no product id": 2}
    log = str(tmp_path / "log.parquet")
    assert report.examples["changed product_id"] == [
        Example(log, 2, "17.0"),
        Example(log, 3, " 17 "),
        Example(log, 4, "undefined"),
    ]


def test_a_placeholder_is_no_phrase_but_a_word_is(tmp_path: Path) -> None:
    phrases = ["undefined", " NULL", "NaN", "(not set)", "(data deleted)", "\\N", "[object Object]", "none", "nil"]
    searches = [{"action": "search", "query": phrase} for phrase in [*phrases, "null hypothesis"]]
    report, corpus = native(tmp_path, {}, *searches)
    assert corpus.interactions["query"].drop_nulls().to_list() == ["none", "nil", "null hypothesis"]
    assert report.dropped == {"no search phrase": 7}


def test_prices_are_parsed_or_counted_as_lost(tmp_path: Path) -> None:
    prices = ["$1,299.00", "19,90", "12.5", "call us", "-1", "null", None, "2e1"]
    report, corpus = native(
        tmp_path, *({"product_id": f"p{number}", "price": price} for number, price in enumerate(prices))
    )
    assert corpus.products["price"].to_list() == [1299.0, 19.9, 12.5, None, None, None, None, 20.0]
    assert (report.changed, report.lost) == ({"price": 2}, {"price": 2})
    log = str(tmp_path / "log.parquet")
    assert report.examples["lost price"] == [Example(log, 4, "call us"), Example(log, 5, "-1")]


def test_texts_of_products_are_decoded_and_joined(tmp_path: Path) -> None:
    report, corpus = native(
        tmp_path,
        {"product_id": "p", "title": "Salt &amp; pepper", "category": '["Food", "Spices"]'},
        {"product_id": "q", "title": "Boot \x00", "category": "Shoes"},
        {"product_id": "r", "title": " \x07", "category": "  "},
    )
    assert corpus.products.select("title", "category").rows() == [
        ("Salt & pepper", "Food > Spices"),
        ("Boot", "Shoes"),
    ]
    assert report.changed == {"title": 3, "category": 1}
    assert report.examples["changed category"] == [Example(str(tmp_path / "log.parquet"), 1, '["Food", "Spices"]')]


def test_attributes_are_decoded_and_empty_ones_left_out(tmp_path: Path) -> None:
    pairs = [{"name": "brand", "value": "M&amp;S"}, {"name": "colour", "value": " "}]
    _, corpus = native(tmp_path, {"attributes": pairs}, {"product_id": "q", "attributes": []})
    assert corpus.products["attributes"].to_list() == [[{"name": "brand", "value": "M&S"}], []]


def test_a_phrase_without_letters_is_no_phrase(tmp_path: Path) -> None:
    searches = [{"action": "search", "query": text} for text in ("red\tshoe ", "\x00", " ")]
    report, corpus = native(tmp_path, {}, *searches)
    assert corpus.interactions["query"].drop_nulls().to_list() == ["red shoe"]
    assert report.dropped == {"no search phrase": 2}


def test_marks_that_nobody_sees_are_taken_off(tmp_path: Path) -> None:
    shoe = {"product_id": "17", "title": "Shoe \u202ex"}
    report, corpus = native(
        tmp_path,
        shoe,
        {"action": "search", "query": "red\u2028shoe\u202e", "product_id": None},
        shoe | {"product_id": "\u200b17\u2060"},
    )
    assert corpus.interactions.select("product_id", "query").rows() == [("17", None), (None, "red shoe"), ("17", None)]
    assert corpus.products["title"].to_list() == ["Shoe x"]
    assert report.changed["product_id"] == 1


def test_a_clean_log_has_nothing_to_report(tmp_path: Path) -> None:
    report, _ = native(tmp_path, {"price": 12.5, "query": None}, {"product_id": "q", "price": 1e9})
    assert (report.changed, report.lost, report.examples) == ({}, {}, {})


IDS = st.none() | st.sampled_from(["p", " p", "p\ufeff", "17.0", "17", "NaN", "null", "", "\n", "a\nb"])
PRICES = st.none() | st.sampled_from(["1", "1.5", "$2", "1,5", "", "free", "nan", "-1", "12345678901234567"])
EVENTS = st.lists(st.tuples(IDS, IDS, IDS, PRICES), max_size=8)


@settings(max_examples=30)
@given(EVENTS)
def test_a_glance_finds_all_that_cleaning_would_change(rows: list[tuple[str | None, ...]]) -> None:
    names = ("session_id", "user_id", "product_id", "price")
    raw = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    others = [pl.lit(None, dtype).alias(name) for name, dtype in EVENT_SCHEMA.items() if name not in names]
    events = raw.with_columns(others).with_columns(action=pl.lit("view")).with_row_index("order")
    marked = mark_dropped(mark_unclean(events.lazy())).collect()
    with TemporaryDirectory() as folder:
        clean = cleaned(marked.lazy(), Path(folder) / "cleaned.parquet", Tally()).sort("order").collect()
    assert dict(clean.select(*CLEAN_SCHEMA).schema) == CLEAN_SCHEMA
    for before, after in zip(raw.iter_rows(), clean.select(*names).iter_rows(), strict=True):
        assert after[:3] == tuple(clean_id(text or "") for text in before[:3])
        assert after[3] == pl.select(parse_prices(pl.lit(before[3], pl.String))).item()
    for session, user, product, reason in clean.select(*names[:3], "dropped").iter_rows():
        expected = None if session else "no timestamp" if user else "no session or user"
        assert reason == (expected if product else "no product id")
