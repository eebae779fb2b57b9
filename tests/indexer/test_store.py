"""Rows and vectors come back as they were written, version by version."""

import datetime
import decimal
import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from indexer.store import POPULARITY, EmbeddingStore, require_storable
from ubm_embed.data.corpus import PRODUCT_SCHEMA
from ubm_embed.errors import Conflict, InvalidData, NotFound, QualityGateFailed


def rows(count: int, prefix: str = "p") -> pl.DataFrame:
    ids = [f"{prefix}{row}" for row in range(count)]
    attributes = [[{"name": "colour", "value": "red"}] if row % 2 else None for row in range(count)]
    columns = {"product_id": ids, "title": ids, "category": [None] * count, "attributes": attributes}
    return pl.DataFrame(columns, schema=PRODUCT_SCHEMA).with_columns(pl.lit(0, pl.Int64).alias(POPULARITY))


def vectors(count: int, width: int = 4) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, width)).astype(np.float32)


@pytest.fixture
def empty(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.create(tmp_path / "store")


def test_rows_and_vectors_come_back_as_written(empty: EmbeddingStore) -> None:
    version = empty.write(rows(5), vectors(5))
    assert empty.read_products(version).equals(rows(5))
    stored = empty.read_vectors(version)
    assert stored.product_ids.to_list() == ["p0", "p1", "p2", "p3", "p4"]
    assert (stored.vectors == vectors(5)).all()
    assert stored.vectors.dtype == np.float32


def test_more_rows_than_one_batch_keep_their_vectors(empty: EmbeddingStore) -> None:
    version = empty.write(rows(20_001), vectors(20_001))
    stored = empty.read_vectors(version)
    assert stored.product_ids.equals(rows(20_001)["product_id"])
    assert (stored.vectors == vectors(20_001)).all()


def test_a_shops_further_columns_keep_their_types(empty: EmbeddingStore) -> None:
    further = {
        "price": [decimal.Decimal("1.50"), None],
        "added": [datetime.date(2026, 1, 2), None],
        "seen": [datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC), None],
        "tags": [["a", "b"], []],
        "a size's name": ["s", "m"],
    }
    frame = rows(2).with_columns(pl.Series(name, values) for name, values in further.items())
    require_storable(frame.drop(POPULARITY), "products.csv")
    back = empty.read_products(empty.write(frame, vectors(2)))
    assert back.equals(frame)
    assert back.schema == frame.schema


@pytest.mark.parametrize("name", ["vector", "popularity", "price.eur", "_rowid", "*", "", "a`b"])
def test_a_name_that_cannot_be_stored_is_refused(name: str) -> None:
    frame = rows(1).drop(POPULARITY).with_columns(pl.lit(1).alias(name))
    with pytest.raises(InvalidData, match="rename it") as caught:
        require_storable(frame, "products.csv")
    assert (caught.value.file, caught.value.field) == ("products.csv", name)


def test_a_type_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(InvalidData, match="'n': values of type Int128"):
        require_storable(rows(1).drop(POPULARITY).with_columns(n=pl.lit(1, pl.Int128)), "products.csv")


def test_a_write_leaves_the_versions_before_it_as_they_were(empty: EmbeddingStore) -> None:
    first = empty.write(rows(5), vectors(5))
    second = empty.write(rows(3, "q").with_columns(price=1.0), vectors(3, width=8))
    assert first != second
    assert empty.read_products(first).equals(rows(5))
    assert (empty.read_vectors(first).vectors == vectors(5)).all()
    assert empty.read_products(second)["product_id"].to_list() == ["q0", "q1", "q2"]
    assert empty.read_vectors(second).vectors.shape == (3, 8)


def test_a_reader_that_holds_a_version_sees_no_later_one(empty: EmbeddingStore) -> None:
    with empty._pinned(empty.write(rows(5), vectors(5))) as table:
        empty.write(rows(3), vectors(3))
        assert table.count_rows() == 5


def test_a_pinned_version_refuses_writes(empty: EmbeddingStore) -> None:
    version = empty.write(rows(5), vectors(5))
    with pytest.raises(InvalidData, match="cannot be modified"), empty._pinned(version) as table:
        table.delete("true")
    assert empty.read_products(version).height == 5


def test_a_product_written_twice_is_noticed(empty: EmbeddingStore) -> None:
    with pytest.raises(QualityGateFailed, match="read back 4 rows with 2 different ids"):
        empty.write(pl.concat([rows(2), rows(2)]), vectors(4))


def test_a_version_that_is_gone_is_named(empty: EmbeddingStore) -> None:
    empty.write(rows(1), vectors(1))
    with pytest.raises(InvalidData, match=r"products\.lance: .*[Vv]ersion 9"):
        empty.read_products(9)


def test_a_table_that_is_gone_is_named(empty: EmbeddingStore) -> None:
    with pytest.raises(InvalidData, match=r"products\.lance: .*not found"):
        empty.read_vectors(1)


def test_a_truncated_table_is_named(empty: EmbeddingStore) -> None:
    version = empty.write(rows(100), vectors(100))
    (data,) = (empty.table_folder / "data").iterdir()
    data.write_bytes(data.read_bytes()[:50])
    with pytest.raises(InvalidData, match=r"products\.lance"):
        empty.read_vectors(version)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_the_system_refuses_changes_nothing(empty: EmbeddingStore) -> None:
    version = empty.write(rows(5), vectors(5))
    with pytest.raises(OSError, match="File too large") as caught, files_of_at_most(100_000):
        empty.write(rows(20_000), vectors(20_000, width=16))
    assert caught.value.errno == errno.EFBIG
    assert empty.read_products(version).equals(rows(5))
    assert empty.write(rows(3), vectors(3)) == version + 1


def test_a_file_or_another_folder_is_no_place_for_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Conflict, match="is a file"):
        EmbeddingStore.create(tmp_path / "file")
    with pytest.raises(Conflict, match="holds 'file' and is no store"):
        EmbeddingStore.create(tmp_path)


def test_a_store_that_was_never_published_is_taken_up_again(empty: EmbeddingStore) -> None:
    empty.write(rows(1), vectors(1))
    assert EmbeddingStore.create(empty.folder).folder == empty.folder


def test_opening_no_store_tells_the_line_to_type(empty: EmbeddingStore) -> None:
    with pytest.raises(NotFound, match=f"build-index --model DIR --products FILE --store {empty.folder}"):
        EmbeddingStore.open(empty.folder)


def test_there_is_one_writer_and_readers_do_not_wait(empty: EmbeddingStore) -> None:
    version = empty.write(rows(2), vectors(2))
    with empty.writing():
        with pytest.raises(Conflict, match=f"it holds {empty.folder / '.lock'}"), empty.writing():
            pass
        assert empty.read_products(version).height == 2
    with empty.writing():  # given back
        pass


def test_the_lock_is_given_back_after_an_error(empty: EmbeddingStore) -> None:
    with pytest.raises(ZeroDivisionError), empty.writing():
        raise ZeroDivisionError
    with empty.writing():
        pass


def test_a_writer_clears_what_a_killed_one_left_aside(empty: EmbeddingStore) -> None:
    for name in (".live.json.1.partial", "versions/.3.1.partial/index", "models/.m.1.partial/config.json"):
        (empty.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (empty.folder / name).touch()
    (empty.folder / "versions" / "2").mkdir()
    with empty.writing():
        pass
    left = {os.path.relpath(entry, empty.folder) for entry in empty.folder.rglob("*")} - {".lock"}
    assert left == {"versions", "versions/2", "models"}
