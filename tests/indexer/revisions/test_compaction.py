"""Segments are merged as they are added: few stay, and they say the same to every reader."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from math import ceil, log2
from pathlib import Path

import pytest
from hypothesis import given, settings

from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.revisions import segment as segments
from indexer.revisions.compaction import add_rows
from indexer.revisions.overlay import Overlay
from indexer.revisions.revised_catalogue import RevisedCatalogue
from indexer.revisions.segment import read_rows
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.revision import Revision, segment_path
from tests.indexer.revisions.shop import (
    CHANGES,
    DIMENSION,
    SEGMENT,
    SHOPS,
    Change,
    Row,
    Shop,
    changed,
    described,
    from_scratch,
    segment_rows,
    table,
)
from ubm_embed.errors import InvalidData

NOW = "2026-01-01T00:00:00+00:00"


def revisions_of(store: EmbeddingStore, shop: Shop, changes: list[Change]) -> list[Revision]:
    """The revision after each change."""
    after: list[Revision] = []
    for number, change in enumerate(changes, 1):
        before = after[-1] if after else None
        after.append(add_rows(store, 1, before, segment_rows(shop, [change], number), NOW))
    return after


@settings(max_examples=8)
@given(SHOPS, CHANGES)
def test_merged_segments_say_the_same_to_every_reader(shop: Shop, changes: list[Change]) -> None:
    """Whether it has read nothing or an earlier revision, whose segments may be gone."""
    base = Overlay.of_base(MappedCatalogue.from_table(table(shop, shop)), DIMENSION)
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddingStore.from_uri(folder)
        revisions = revisions_of(store, shop, changes)
        readers = [(None, base)]
        for revision in revisions:
            rows = read_rows(store, 1, revision, SEGMENT)
            readers.append((revision, base.advanced(rows, revision.number)))
        expected = from_scratch(shop, changed(shop, changes))
        for known, overlay in readers[:-1]:
            rows = read_rows(store, 1, revisions[-1], SEGMENT, known)
            assert rows.num_rows <= len(changes) - overlay.number
            advanced = overlay.advanced(rows, revisions[-1].number)
            assert advanced.number == len(changes)
            assert described(RevisedCatalogue(advanced.base, advanced)) == expected


def test_segments_stay_few_and_halve(tmp_path: Path) -> None:
    store = EmbeddingStore.from_uri(tmp_path)
    shop = {f"p{number}": Row() for number in range(64)}
    revisions = revisions_of(store, shop, [(name, Row(price=1.0)) for name in shop])
    for revision in revisions:
        sizes = [segment.rows for segment in revision.segments]
        assert sum(sizes) == revision.number
        assert len(sizes) <= ceil(log2(revision.number + 1))
        assert all(earlier >= 2 * later for earlier, later in pairwise(sizes))
    written = {segment.name: segment.rows for revision in revisions for segment in revision.segments}
    assert sum(written.values()) <= 64 * log2(64), "each row is written again about log2 times"


def test_a_product_that_changes_again_and_again_has_one_row(tmp_path: Path) -> None:
    store = EmbeddingStore.from_uri(tmp_path)
    revision = revisions_of(store, {"a": Row()}, [("a", Row(price=float(price))) for price in range(1, 20)])[-1]
    assert (revision.number, revision.rows, len(revision.segments)) == (19, 1, 1)


def test_of_two_rows_of_a_product_the_later_one_counts(tmp_path: Path) -> None:
    store = EmbeddingStore.from_uri(tmp_path)
    rows = segment_rows({}, [("a", Row("shoe")), ("b", Row("shoe")), ("a", Row("boot"))])
    rows = rows.set_column(SEGMENT.get_field_index("_row_revision"), "_row_revision", [[1, 1, 1]])
    revision = add_rows(store, 1, None, rows, NOW)
    assert read_rows(store, 1, revision, SEGMENT).select(["product_id", "title"]).to_pylist() == [
        {"product_id": "b", "title": "shoe"},
        {"product_id": "a", "title": "boot"},
    ]


def test_earlier_segments_stay_for_those_who_read_them(tmp_path: Path) -> None:
    store = EmbeddingStore.from_uri(tmp_path)
    changes: list[Change] = [(name, Row("boot")) for name in "abcd"]
    for number, revision in enumerate(revisions_of(store, {}, changes), 1):
        assert read_rows(store, 1, revision, SEGMENT)["product_id"].to_pylist() == list("abcd"[:number])


def test_a_row_of_a_later_revision_is_a_mistake(tmp_path: Path) -> None:
    rows = segment_rows({}, [("a", Row())], first=5)
    with pytest.raises(ValueError, match="revisions 1 to 1"):
        add_rows(EmbeddingStore.from_uri(tmp_path), 1, None, rows, NOW)
    assert not list(tmp_path.iterdir())


def test_a_damaged_segment_that_would_be_merged_is_named(tmp_path: Path) -> None:
    store = EmbeddingStore.from_uri(tmp_path)
    (revision,) = revisions_of(store, {}, [("a", Row())])
    file = tmp_path / segment_path(1, revision.segments[0].name)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InvalidData, match="truncated or damaged") as caught:
        add_rows(store, 1, revision, segment_rows({}, [("b", Row())], 2), NOW)
    assert caught.value.file == str(file)
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_only_segments_that_are_new_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = EmbeddingStore.from_uri(tmp_path)
    revisions = revisions_of(store, {}, [(f"p{number}", Row()) for number in range(9)])
    read = list[str]()
    original = segments.read_segment

    def counted(store, version, segment, schema):  # type: ignore[no-untyped-def]
        read.append(segment.name)
        return original(store, version, segment, schema)

    monkeypatch.setattr(segments, "read_segment", counted)
    rows = read_rows(store, 1, revisions[8], SEGMENT, revisions[7])
    assert rows["product_id"].to_pylist() == ["p8"]
    assert read == [name for name in (one.name for one in revisions[8].segments) if name.startswith("9-")]
