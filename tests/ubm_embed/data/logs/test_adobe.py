"""Adobe's data feeds: what the sample of `named/` does not show."""

from pathlib import Path

import polars as pl
import pytest

from ubm_embed.data.logs.adobe import adobe_events, adobe_log
from ubm_embed.errors import InvalidData

VISIT = ["post_visid_high", "post_visid_low", "visit_num", "visit_start_time_gmt"]
COLUMNS = ["hit_time_gmt", *VISIT, "post_event_list", "post_product_list"]


def _feed(folder: Path, events: str, products: str, columns: list[str] = COLUMNS) -> Path:
    (folder / "column_headers.tsv").write_text("\t".join(columns) + "\n")
    (folder / "hits.tsv").write_text(f"1709287200\t7\t8\t1\t1709287200\t{events}\t{products}\n")
    return folder / "hits.tsv"


def _events(file: Path) -> pl.DataFrame:
    return adobe_events(adobe_log(file)).collect()


@pytest.mark.parametrize(
    ("events", "action"),
    [("2", "view"), ("2,12", "add"), ("1,2", "buy"), ("13", "remove"), ("21,102", None), ("", None), ("1=3", "buy")],
)
def test_the_numbers_of_events_say_the_action(tmp_path: Path, events: str, action: str | None) -> None:
    assert _events(_feed(tmp_path, events, ";p"))["action"].to_list() == [action]


@pytest.mark.parametrize(
    ("products", "ids", "prices"),
    [
        (";p", ["p"], [None]),
        (";p;2;30,;q;1;5", ["p", "q"], ["15.0", "5.0"]),
        (";a^,b^;c^^^=;;;event1=2|event2=3;eVar1=x", ["a,b;c^="], [None]),
        (";p;0;30", ["p"], ["30.0"]),
        ("only a category", [None], [None]),
        ("", [None], [None]),
    ],
)
def test_a_list_of_products_is_taken_apart(
    tmp_path: Path, products: str, ids: list[str | None], prices: list[str | None]
) -> None:
    events = _events(_feed(tmp_path, "1", products))
    assert events["product_id"].to_list() == ids
    assert events["price"].to_list() == prices


def test_hits_without_the_names_of_their_columns_are_refused(tmp_path: Path) -> None:
    file = _feed(tmp_path, "1", ";p")
    (tmp_path / "column_headers.tsv").unlink()
    with pytest.raises(InvalidData, match=r"hits\.tsv.*column_headers\.tsv"):
        adobe_log(file)


def test_a_feed_without_visits_is_refused(tmp_path: Path) -> None:
    columns = ["visit_nr" if name == "visit_num" else name for name in COLUMNS]
    with pytest.raises(InvalidData, match="visit_num"):
        adobe_log(_feed(tmp_path, "1", ";p", columns))
