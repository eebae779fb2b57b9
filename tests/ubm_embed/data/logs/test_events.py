"""What holds for logs of every kind."""

from pathlib import Path

import pytest

from tests.ubm_embed.data.logs.reading import collect, kept, write
from tests.ubm_embed.data.logs.test_ga4 import LOG, SHOE, ga4
from ubm_embed.data.logs.events import read_events
from ubm_embed.data.tables.table_files import collect_tables
from ubm_embed.errors import InvalidData, NotFound


@pytest.mark.parametrize("kind", ["ga4", "segment"])
def test_a_log_of_another_kind_is_refused(tmp_path: Path, kind: str) -> None:
    file = write(tmp_path / "log.jsonl", [{"session_id": "s", "action": "view", "product_id": "p"}])
    with pytest.raises(InvalidData, match=f"expected a log of {kind}") as caught:
        read_events([file], kind)
    assert caught.value.file == file


def test_events_are_in_the_order_of_the_sources(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{name}.jsonl", [ga4("view_item", SHOE | {"item_id": name})]) for name in "bca"]
    events = read_events(files, "ga4")
    (frame,) = collect_tables([events.frame], events.files)
    assert kept(frame, "order", "product_id") == [(0, "b"), (1, "c"), (2, "a")]


def test_malformed_lines_late_in_a_log_are_named(tmp_path: Path) -> None:
    write(tmp_path / "1.jsonl", LOG)
    bad = write(tmp_path / "2.jsonl", LOG)
    bad.write_text(bad.read_text() + '\n{"event_name":')
    with pytest.raises(InvalidData) as caught:
        collect(tmp_path, "ga4")
    assert (caught.value.file, caught.value.row) == (bad, len(LOG) + 1)


def test_a_missing_source_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_events([tmp_path / "log.jsonl"], "segment")


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="webtrends"):
        read_events([tmp_path], "webtrends")
