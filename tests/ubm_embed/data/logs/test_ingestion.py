import errno
import hashlib
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ubm_embed.data.corpus import Corpus
from ubm_embed.data.logs.ingestion import IngestReport, ingest
from ubm_embed.data.logs.report import Example
from ubm_embed.data.logs.sessions import named_sessions, ordered_sessions
from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.errors import Conflict, InvalidData, NotFound

HEADER = "user_id,timestamp,action,product_id,query,title,price\n"
LOG = (
    HEADER + "u,2024-01-01 12:10,add,p1,,Red shoe,9\n"
    "u,2024-01-01 12:00,search,,shoes,,\n"
    "u,2024-01-01 12:05,view,p1,,Shoe,8\n"
    "u,2024-01-01 12:06,view,p1,,,\n"
    "u,2024-01-01 12:07,view,ghost,,,\n"
    "u,2024-01-01 12:41,view,p2,,Hat,\n"
    "u,2024-01-01 12:42,search,,,,\n"
)


VISITS = [
    {"user_id": user, "timestamp": f"2024-01-01 12:0{minute}", "action": "view", "product_id": f"{user}{minute}"}
    for user in "abc"
    for minute in (1, 2)
]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A limit on the size of files stands in for a full disk: the system refuses to write on."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def interactions(folder: Path) -> list[tuple[Any, ...]]:
    return Corpus.open(folder).interactions.select("position", "action", "product_id", "query").rows()


def test_a_log_becomes_a_corpus_and_every_event_is_accounted_for(tmp_path: Path) -> None:
    report = ingest([write(tmp_path / "log.csv", LOG)], kind="native", out=tmp_path / "out")
    assert report == IngestReport(
        rows={str(tmp_path / "log.csv"): 7},
        left_out={},
        events=7,
        interactions=4,
        taken_back=0,
        dropped={"no search phrase": 1, "product without text": 1, "repeated": 1},
        sessions=2,
        single_interaction_sessions=1,
        products=2,
        products_without_text=1,
        actions={"view": 2, "add": 1, "search": 1},
        changed={},
        lost={},
        catalogues={},
        examples={
            reason: [Example(str(tmp_path / "log.csv"), row)]
            for reason, row in (("no search phrase", 7), ("product without text", 5), ("repeated", 4))
        },
    )
    assert report.events == report.interactions + sum(report.dropped.values())
    assert interactions(tmp_path / "out") == [
        (0, "search", None, "shoes"),
        (1, "view", "p1", None),
        (2, "add", "p1", None),
        (0, "view", "p2", None),
    ]


@pytest.mark.parametrize("kind", ["native", "mapping"])
def test_a_log_that_is_given_twice_or_empty_counts_once(tmp_path: Path, kind: str) -> None:
    columns = {name: name for name in ("user_id", "timestamp", "action", "product_id", "title")}
    form = Mapping.model_validate({"log": {"columns": columns}}) if kind == "mapping" else kind
    (tmp_path / "logs").mkdir()
    file = write(tmp_path / "logs" / "a.csv", LOG)
    once = ingest([tmp_path / "logs"], kind=form, out=tmp_path / "once")
    write(tmp_path / "logs" / "b.csv", "")
    (tmp_path / "logs" / "c.csv").symlink_to(file)
    report = ingest([tmp_path / "logs", file], kind=form, out=tmp_path / "out")
    assert (report.events, report.rows) == (once.events, once.rows)
    assert report.left_out == {
        str(tmp_path / "logs" / "b.csv"): "empty",
        str(tmp_path / "logs" / "c.csv"): f"the same file as {file}",
        str(file): "given twice",
    }


def test_the_last_seen_values_of_a_product_are_kept(tmp_path: Path) -> None:
    ingest([write(tmp_path / "log.csv", LOG)], kind="native", out=tmp_path / "out")
    products = Corpus.open(tmp_path / "out").products
    assert products.drop("category").rows() == [("p1", "Red shoe", [], 9.0), ("p2", "Hat", [], None)]


def test_a_catalogue_wins_and_adds_products_and_columns(tmp_path: Path) -> None:
    catalogue = "product_id,title,category,row,price\np9,New,,1,5\np1,,Shoes,2,7.5\nghost,Ghost,,3,\nmute,,,4,\n"
    report = ingest(
        [write(tmp_path / "log.csv", LOG)],
        kind="native",
        out=tmp_path / "out",
        catalogue=write(tmp_path / "products.csv", catalogue),
    )
    products = Corpus.open(tmp_path / "out").products
    assert products.select("product_id", "title", "category", "row", "price").rows() == [
        ("p9", "New", None, 1, 5.0),
        ("p1", "Red shoe", "Shoes", 2, 7.5),
        ("ghost", "Ghost", None, 3, None),
        ("p2", "Hat", None, None, None),
    ]
    assert (report.products, report.products_without_text) == (4, 1)
    assert "product without text" not in report.dropped


def test_the_gap_between_sessions_can_be_chosen(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", LOG)
    assert ingest([log], kind="native", out=tmp_path / "a", session_gap_minutes=40).sessions == 1
    assert ingest([log], kind="native", out=tmp_path / "b", session_gap_minutes=5).sessions == 3
    with pytest.raises(ValueError, match="session_gap_minutes"):
        ingest([log], kind="native", out=tmp_path / "c", session_gap_minutes=0)


def test_a_corpus_folder_goes_through_unchanged(tmp_path: Path) -> None:
    ingest([write(tmp_path / "log.csv", LOG)], kind="native", out=tmp_path / "a")
    report = ingest([tmp_path / "a"], kind="native", out=tmp_path / "b")
    first, second = Corpus.open(tmp_path / "a"), Corpus.open(tmp_path / "b")
    assert first.products.equals(second.products)
    assert first.interactions.equals(second.interactions)
    assert report.dropped == {}


def test_of_two_corpus_folders_the_later_wins_and_the_catalogue_before_both(tmp_path: Path) -> None:
    for name in ("old", "new"):
        Corpus(
            pl.DataFrame({"product_id": ["p", name], "title": [name, name]}),
            pl.DataFrame({"session_id": [name], "position": [0], "action": ["view"], "product_id": ["p"]}),
        ).write(tmp_path / name)
    sources = [tmp_path / "old", tmp_path / "new"]
    ingest(sources, kind="native", out=tmp_path / "a")
    assert dict(Corpus.open(tmp_path / "a").products.select("product_id", "title").iter_rows()) == {
        "p": "new",
        "old": "old",
        "new": "new",
    }
    catalogue = write(tmp_path / "c.csv", "product_id,title\np,best\n")
    ingest(sources, kind="native", out=tmp_path / "b", catalogue=catalogue)
    assert Corpus.open(tmp_path / "b").products.row(0)[:2] == ("p", "best")


def test_ga4_goes_to_a_corpus(tmp_path: Path) -> None:
    event = {
        "event_name": "purchase",
        "event_timestamp": "1704110400000000",
        "user_pseudo_id": "u",
        "event_params": [{"key": "ga_session_id", "value": {"int_value": "5"}}],
        "items": [{"item_id": "p", "item_name": "Shoe"}, {"item_id": "q", "item_name": "Hat"}],
    }
    log = write(tmp_path / "log.jsonl", json.dumps(event) + "\n" + json.dumps(event | {"event_name": "scroll"}))
    report = ingest([log], kind="ga4", out=tmp_path / "out")
    assert (report.events, report.interactions, report.dropped) == (3, 2, {"other event": 1})
    assert Corpus.open(tmp_path / "out").interactions["session_id"].to_list() == ["u-5", "u-5"]


def test_segment_is_split_into_sessions(tmp_path: Path) -> None:
    calls = [
        {
            "event": "Product Viewed",
            "messageId": str(hour),
            "anonymousId": "a",
            "timestamp": f"2024-01-01T{hour}:00:00Z",
            "properties": {"product_id": "p", "name": "Shoe"},
        }
        for hour in (10, 11)
    ]
    report = ingest([write(tmp_path / "log.json", json.dumps(calls))], kind="segment", out=tmp_path / "out")
    assert (report.sessions, report.single_interaction_sessions, report.dropped) == (2, 2, {})


def test_what_is_not_known_of_the_log_is_not_written(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "session_id,action,product_id,title\ns,view,p,Shoe\n")
    ingest([log], kind="native", out=tmp_path / "out")
    opened = Corpus.open(tmp_path / "out")
    assert opened.interactions.columns == ["session_id", "position", "action", "product_id", "query"]
    assert opened.products.columns == ["product_id", "title", "category", "attributes"]


def test_nothing_left_says_why_and_writes_nothing(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log.csv", HEADER + "u,2024-01-01,view,p,,,\nu,2024-01-01,search,,,,\nu,2024-01-01,view,q,,,\n"
    )
    with pytest.raises(
        InvalidData, match=r"none of 3 events can be used; .*product without text 2, no search phrase 1"
    ):
        ingest([log], kind="native", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_log_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="no events"):
        ingest([write(tmp_path / "log.csv", HEADER)], kind="native", out=tmp_path / "out")


def test_a_taken_folder_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    write(tmp_path / "precious", "")
    with pytest.raises(Conflict):
        ingest([tmp_path / "absent.csv"], kind="native", out=tmp_path)
    assert (tmp_path / "precious").exists()


def test_a_corpus_may_be_written_over_its_source(tmp_path: Path) -> None:
    ingest([write(tmp_path / "log.csv", LOG)], kind="native", out=tmp_path / "a")
    before = interactions(tmp_path / "a")
    ingest([tmp_path / "a"], kind="native", out=tmp_path / "a", overwrite=True)
    assert interactions(tmp_path / "a") == before


def test_a_missing_catalogue_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        ingest([write(tmp_path / "l.csv", LOG)], kind="native", out=tmp_path / "o", catalogue=tmp_path / "absent.csv")


def test_a_report_is_plain_json_and_progress_is_reported(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    report = ingest(
        [write(tmp_path / "log.csv", LOG)],
        kind="native",
        out=tmp_path / "out",
        progress=lambda what, done, total, note="": steps.append((done, total)),
    )
    assert json.loads(json.dumps(report.to_dict()))["dropped"] == dict(report.dropped)
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]


@pytest.mark.parametrize("name", ["shop [2024]", "shop*", "shop?", "{shop,other}", "[", "year=2024"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for function in (named_sessions, ordered_sessions):
        monkeypatch.setitem(function.__kwdefaults__, "rows", 2)  # several parts, each a file
    folder = tmp_path / name
    for place, title in ((folder, "Shoe"), (tmp_path / "shop2", "Decoy"), (tmp_path / "shop 2", "Decoy")):
        place.mkdir()
        write(place / "log.jsonl", "".join(json.dumps(row | {"title": title}) + "\n" for row in VISITS))
    report = ingest([folder / "log.jsonl"], kind="native", out=folder / "out")
    assert (report.events, report.sessions) == (6, 3)
    again = ingest([folder / "out"], kind="native", out=folder / "again")
    assert again.actions == report.actions
    assert Corpus.open(folder / "again").products["title"].to_list() == ["Shoe"] * 6


@pytest.mark.parametrize(("events", "products"), [(2_000, 1), (1, 2_000)], ids=["events", "products"])
def test_a_full_disk_is_not_reported_as_a_fault_of_the_log(tmp_path: Path, events: int, products: int) -> None:
    # Digests, so that nothing of it is packed into the file that a limit on its size allows.
    titles = [hashlib.sha256(bytes(number)).hexdigest() for number in range(max(events, products))]
    log = [VISITS[0] | {"product_id": title, "title": title} for title in titles[:events]]
    catalogue = "product_id,title\n" + "".join(f"{title},{title}\n" for title in titles[:products])
    write(tmp_path / "log.jsonl", "".join(json.dumps(row) + "\n" for row in log))
    write(tmp_path / "products.csv", catalogue)
    with pytest.raises(OSError, match="File too large") as caught, files_of_at_most(20_000):
        ingest([tmp_path / "log.jsonl"], kind="native", out=tmp_path / "out", catalogue=tmp_path / "products.csv")
    assert caught.value.errno == errno.EFBIG
    assert {file.name for file in tmp_path.iterdir()} == {"log.jsonl", "products.csv"}
