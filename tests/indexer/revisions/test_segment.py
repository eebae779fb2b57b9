"""A segment is read as it was written, or it is named and nothing of it is applied."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from indexer.revisions.segment import (
    read_patch,
    read_rows,
    read_segment,
    segment_schema,
    write_patch,
    write_segment,
)
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.revision import Revision, SegmentFile, segment_path
from indexer.versions.version import digest_of
from tests.indexer.revisions.shop import SEGMENT, WITH_POPULARITY, Row, segment_rows
from ubm_embed.errors import InvalidData

BASE = {"a": Row("shoe"), "b": Row("boot")}
ROWS = segment_rows(BASE, [("a", Row("shoe", price=1.0)), ("b", None), ("c", Row("boot", tags=("new",)))])


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.from_uri(tmp_path / "store")


def file_of(store: EmbeddingStore, segment: SegmentFile) -> Path:
    return Path(store.uri) / segment_path(3, segment.name)


def test_a_segment_is_read_as_it_was_written(store: EmbeddingStore) -> None:
    segment = write_segment(store, 3, 17, ROWS)
    assert (segment.rows, segment.bytes) == (3, file_of(store, segment).stat().st_size)
    assert segment.name.startswith("17-")
    assert read_segment(store, 3, segment, SEGMENT).equals(ROWS)
    assert write_segment(store, 3, 17, ROWS).name != segment.name, "two writers never share a file"


def test_a_writer_that_clears_up_does_not_disturb_one_that_has_no_lock(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, cleared = os.replace, list[str]()

    def after_clearing_up(source: Path, target: Path) -> None:
        if not cleared:
            with store.write_lock():
                cleared.append(target.name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", after_clearing_up)
    segment = write_segment(store, 3, 3, ROWS)
    assert cleared == [segment.name]
    assert read_segment(store, 3, segment, SEGMENT).equals(ROWS)


def test_a_segment_has_the_columns_of_the_shop_without_popularity() -> None:
    names = [name for name in WITH_POPULARITY.names if name != "popularity"]
    assert SEGMENT.names[: len(names)] == names
    assert segment_schema(WITH_POPULARITY.with_metadata({"a": "b"}), 4).equals(SEGMENT, check_metadata=True)


def test_products_without_a_vector_take_hardly_any_space(store: EmbeddingStore) -> None:
    shop = {f"p{row}": Row("shoe") for row in range(500)}
    schema = segment_schema(WITH_POPULARITY, 256)
    rows = segment_rows(shop, [(name, Row("shoe", price=1.0)) for name in shop]).drop_columns(["vector"])
    vectors = pa.nulls(500, schema.field("vector").type)
    wide = rows.add_column(schema.get_field_index("vector"), schema.field("vector"), vectors)
    assert write_segment(store, 3, 500, wide).bytes < 100 * 500


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda content: content[:-9], "truncated or damaged: .* bytes, expected"),
        (lambda content: b"", "truncated or damaged: 0 bytes"),
        (lambda content: content[:99] + bytes([content[99] ^ 1]) + content[100:], "its content is not what was"),
    ],
)
def test_a_damaged_segment_is_named(store: EmbeddingStore, damage: Callable[[bytes], bytes], problem: str) -> None:
    segment = write_segment(store, 3, 3, ROWS)
    file = file_of(store, segment)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InvalidData, match=problem) as caught:
        read_segment(store, 3, segment, SEGMENT)
    assert caught.value.file == str(file)


def test_a_lost_segment_is_named_and_nothing_is_read(store: EmbeddingStore) -> None:
    first, second = write_segment(store, 3, 3, ROWS), write_segment(store, 3, 4, ROWS.slice(0, 1))
    file_of(store, second).unlink()
    revision = Revision(number=4, segments=(first, second), created="2026-01-01")
    with pytest.raises(InvalidData, match="missing; the store is damaged") as caught:
        read_rows(store, 3, revision, SEGMENT)
    assert caught.value.file == str(file_of(store, second))


def published(store: EmbeddingStore, rows: pa.Table) -> SegmentFile:
    """A segment with these rows, whatever they are."""
    segment = write_segment(store, 3, 3, ROWS)
    with pa.ipc.new_file(str(file_of(store, segment)), rows.schema) as writer:
        writer.write_table(rows)
    digest = digest_of(file_of(store, segment).read_bytes())
    return SegmentFile(name=segment.name, rows=3, bytes=digest.bytes, sha256=digest.sha256)


def with_column(name: str, values: list[object]) -> pa.Table:
    at = SEGMENT.get_field_index(name)
    return ROWS.set_column(at, SEGMENT.field(at), pa.array(values, SEGMENT.field(at).type))


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (ROWS.drop_columns(["price"]), "its columns are not those of the version: price double"),
        (ROWS.rename_columns([*SEGMENT.names[:-1], "when"]), "its columns are not those of the version"),
        (ROWS.select(SEGMENT.names[::-1]), "in another order"),
        (with_column("product_id", ["a", "b", "a"]), "'product_id'.*expected one row for each product_id"),
        (with_column("product_id", ["a", "b", None]), "expected one row for each product_id"),
        (with_column("_row_deleted", [False, None, False]), "'_row_deleted'.*a row has no value"),
        (with_column("_row_time", [datetime(2026, 1, 1, tzinfo=UTC), None, None]), "'_row_time'.*a row has no value"),
        (with_column("_row_revision", [1, 2, 4]), "expected revisions 1 to 3"),
        (with_column("_row_revision", [0, 2, 3]), "expected revisions 1 to 3"),
        (with_column("text_hash", [b"x" * 16] * 3), "'text_hash'.*no tombstone"),
        (with_column("row_hash", [1, None, None]), "'row_hash'.*no tombstone"),
        (with_column("vector", [None, None, [1.0, float("nan"), 0.0, 0.0]]), "'vector'.*not finite"),
        (ROWS.slice(0, 0), "0 rows, expected 3"),
    ],
)
def test_a_segment_with_other_rows_than_a_version_has_is_refused(
    store: EmbeddingStore, rows: pa.Table, problem: str
) -> None:
    segment = published(store, rows)
    with pytest.raises(InvalidData, match=problem) as caught:
        read_segment(store, 3, segment, SEGMENT)
    assert str(file_of(store, segment)) in str(caught.value)


def test_what_is_no_arrow_file_is_refused(store: EmbeddingStore) -> None:
    segment = write_segment(store, 3, 3, ROWS)
    content = b"no Arrow file"
    file_of(store, segment).write_bytes(content)
    digest = digest_of(content)
    other = SegmentFile(name=segment.name, rows=3, bytes=digest.bytes, sha256=digest.sha256)
    with pytest.raises(InvalidData, match="truncated or damaged, or no Arrow file"):
        read_segment(store, 3, other, SEGMENT)


def test_a_patch_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "patch.arrow"
    rows = segment_rows(BASE, [("a", Row("shoe", price=1.0))], first=0)
    write_patch(file, rows)
    assert read_patch(file, SEGMENT).equals(rows.drop_columns(["vector"]))


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (segment_rows(BASE, [("b", None)], first=0), "it deletes products"),
        (segment_rows(BASE, [("a", Row("shoe"))], first=1), "expected revisions 0 to 0"),
        (ROWS.drop_columns(["price"]), "its columns are not those of the version"),
    ],
)
def test_a_patch_with_other_rows_is_refused(tmp_path: Path, rows: pa.Table, problem: str) -> None:
    write_patch(tmp_path / "patch.arrow", rows)
    with pytest.raises(InvalidData, match=problem):
        read_patch(tmp_path / "patch.arrow", SEGMENT)


def test_a_lost_patch_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="missing; the store is damaged") as caught:
        read_patch(tmp_path / "patch.arrow", SEGMENT)
    assert caught.value.file == tmp_path / "patch.arrow"
