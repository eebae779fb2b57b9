"""Adobe's data feeds: what the sample of `named/` does not show."""

import tarfile
from pathlib import Path

import polars as pl
import pytest

from tests.ubm_embed.data.logs.reading import collect
from ubm_embed.data.logs.adobe import adobe_events, adobe_log
from ubm_embed.data.logs.ingestion import ingest
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


def _delivery(folder: Path, where: str, columns: list[str] = COLUMNS, date: str = "2024-03-01") -> Path:
    """A feed as it is delivered, with the names of its columns in lookup data."""
    folder.mkdir(exist_ok=True)
    hits = _feed(folder, "2", ";p", columns)
    headers, lookup = folder / "column_headers.tsv", folder / f"suite_{date}-lookup_data"
    if where == "folder":
        lookup.mkdir()
        headers.rename(lookup / headers.name)
    else:
        with tarfile.open(f"{lookup}.tar.gz", "w:gz") as archive:
            archive.add(headers, "browser.tsv")
            archive.add(headers, f"./{headers.name}")
        headers.unlink()
    (folder / f"suite_{date}.txt").write_text("Datafeed-Manifest-Version: 1.0\n\tLookup-Files: 1\n")
    return hits.rename(folder / f"01-suite_{date.replace('-', '')}.tsv")


@pytest.mark.parametrize("where", ["folder", "archive"])
def test_a_delivery_is_read_as_it_is(tmp_path: Path, where: str) -> None:
    _delivery(tmp_path / "feed", where)
    assert collect(tmp_path / "feed", "adobe")["product_id"].to_list() == ["p"]


@pytest.mark.parametrize("where", ["folder", "archive"])
def test_each_day_has_columns_of_its_own(tmp_path: Path, where: str) -> None:
    swapped = [*COLUMNS[:-2], *reversed(COLUMNS[-2:])]
    _delivery(tmp_path / "feed", where)
    other = _delivery(tmp_path / "feed", where, swapped, "2024-03-02")
    assert collect(tmp_path / "feed", "adobe")["action"].to_list() == ["view", None]
    with pytest.raises(InvalidData, match=r"expected one column_headers\.tsv"):
        adobe_log(other.rename(tmp_path / "feed" / "hits.tsv"))


def test_a_damaged_archive_is_an_error(tmp_path: Path) -> None:
    hits = _delivery(tmp_path / "feed", "archive")
    archive = tmp_path / "feed" / "suite_2024-03-01-lookup_data.tar.gz"
    archive.write_bytes(archive.read_bytes()[:40])
    with pytest.raises(InvalidData, match=r"unreadable column_headers\.tsv"):
        adobe_log(hits)


def test_tabs_and_line_breaks_of_a_value_are_blanks(tmp_path: Path) -> None:
    """A backslash stands before them; so do two for one."""
    columns = [*COLUMNS, "evar1"]
    hits = _feed(tmp_path, "2", ";p\\\t1;;\tone\\\n\\\\two", columns)
    hits.write_text(hits.read_text() + "1709287201\t7\t8\t1\t1709287200\t2\t;C:\\\\q\t\n")
    frame = collect(hits, "adobe")
    assert (frame["product_id"].to_list(), frame["row"].to_list()) == (["p 1", "C:\\q"], [1, 2])


@pytest.mark.parametrize(
    ("price", "expected", "lost"), [("$59.90", 29.95, None), ("59^,90", 29.95, None), ("free", None, "free")]
)
def test_prices_are_read_or_stay_to_be_counted(
    tmp_path: Path, price: str, expected: float | None, lost: str | None
) -> None:
    hits = _feed(tmp_path, "12", f"Shoes;p;2;{price}")
    assert collect(hits, "adobe")["price"].to_list() == [expected]
    report = ingest([hits], kind="adobe", out=tmp_path / "out")
    assert report.lost == ({} if lost is None else {"price": 1})
