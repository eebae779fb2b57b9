"""The timeline shows what each version was when it was published, from the manifests alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from indexer.diagnostics.changes import timeline
from indexer.diagnostics.changes.timeline import timeline_section
from indexer.refresh.gates import Gate
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.version import MANIFEST_FILE, read_version

NIGHTS = (1, 2, 3)


def test_every_version_stands_in_the_table_oldest_first(nights: Path) -> None:
    (table,) = timeline_section(EmbeddingStore.open(nights)).tables
    columns = [*table.columns]
    assert [row[0] for row in table.rows] == ["1", "2", "3 (live)"]
    for row, number in zip(table.rows, NIGHTS, strict=True):
        version, told = read_version(EmbeddingStore.open(nights), number), dict(zip(columns, row, strict=True))
        assert told["products"] == version.products
        assert told["changed"] == version.changes["changed"]
        assert told["recall@10"] == version.recall_at_10
        assert told["uniformity"] == version.uniformity
        assert told["neighbours kept"] == version.gates.get(Gate.NEIGHBOURS, {}).get("value")


def test_the_chart_has_a_panel_for_each_figure_that_was_measured(nights: Path) -> None:
    (chart,) = timeline_section(EmbeddingStore.open(nights)).charts
    versions = {}
    for row in chart.rows:
        versions.setdefault(row["panel"], []).append(row["version"])
    assert versions["products"] == versions["uniformity"] == versions["recall@10 of the index"] == [*NIGHTS]
    assert versions["neighbours kept"] == versions["centroid moved by"] == [2, 3], "the first has none before it"
    assert "alignment" not in versions, "no sessions were given"
    assert {row["version"] for row in chart.rows if row["is_live"]} == {3}


def test_a_damaged_manifest_is_told_and_left_out(nights: Path) -> None:
    (nights / "versions" / "2" / MANIFEST_FILE).write_text(json.dumps({"version": 2}))
    section = timeline_section(EmbeddingStore.open(nights))
    assert [row[0] for row in section.tables[0].rows] == ["1", "3 (live)"]
    assert section.notes[0].startswith("version 2 is left out: ")


def test_of_many_versions_the_newest_are_read(nights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "_MAX_VERSIONS", 2)
    section = timeline_section(EmbeddingStore.open(nights))
    assert [row[0] for row in section.tables[0].rows] == ["2", "3 (live)"]
    assert section.notes == ("only the newest 2 of 3 versions were read",)
