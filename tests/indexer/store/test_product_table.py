"""Rows and vectors come back as they were written, version by version."""

import datetime
import decimal
import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from indexer.storage.local_storage import LocalStorage
from indexer.store.product_table import ProductTable
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH, require_storable, table_schema
from ubm_embed.data.products import PRODUCT_SCHEMA
from ubm_embed.errors import InvalidData


def rows(count: int, prefix: str = "p") -> pl.DataFrame:
    ids = [f"{prefix}{row}" for row in range(count)]
    attributes = [[{"name": "colour", "value": "red"}] if row % 2 else None for row in range(count)]
    columns = {"product_id": ids, "title": ids, "category": [None] * count, "attributes": attributes}
    return pl.DataFrame(columns, schema=PRODUCT_SCHEMA).with_columns(pl.lit(0, pl.Int64).alias(POPULARITY))


def vectors(count: int, width: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def replace(table: ProductTable, products: pl.DataFrame, new_vectors: np.ndarray) -> int:
    fragments = table.write_fragments(products, new_vectors, overwrite=True)
    return table.replace(fragments, table_schema(products, new_vectors.shape[1]), model_id="m1")


def append(table: ProductTable, products: pl.DataFrame, new_vectors: np.ndarray) -> int:
    return table.append(table.write_fragments(products, new_vectors, overwrite=False))


def all_vectors(table: ProductTable, version: int) -> np.ndarray:
    return np.concatenate([batch.vectors for batch in table.batches(version)])


def all_ids(table: ProductTable, version: int) -> list[str]:
    return table.read(version, ["product_id"])["product_id"].to_list()


@pytest.fixture
def table(tmp_path: Path) -> ProductTable:
    return ProductTable(LocalStorage(tmp_path))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder with the files of rows."""
    return tmp_path / "products.lance" / "data"


def test_rows_and_vectors_come_back_as_written(table: ProductTable) -> None:
    version = replace(table, rows(5), vectors(5))
    assert table.read(version).equals(rows(5))
    (batch,) = table.batches(version)
    assert batch.product_ids.to_list() == ["p0", "p1", "p2", "p3", "p4"]
    assert (batch.vectors == vectors(5)).all()
    assert batch.vectors.dtype == np.float32
    assert table.count(version) == 5
    assert table.read(version, ["title", "product_id"]).columns == ["title", "product_id"]


def test_hashes_are_read_only_on_request(table: ProductTable) -> None:
    hashed = rows(2).with_columns(pl.Series(TEXT_HASH, [b"a", b"b"]), pl.Series(ROW_HASH, [1, 2**63], pl.UInt64))
    version = replace(table, hashed, vectors(2))
    assert table.read(version).equals(rows(2))
    assert table.read(version, [TEXT_HASH, ROW_HASH]).equals(hashed.select(TEXT_HASH, ROW_HASH))
    assert table.schema(version).names == [*hashed.columns, "vector"]


def test_more_rows_than_one_batch_keep_their_vectors(table: ProductTable) -> None:
    version = replace(table, rows(20_001), vectors(20_001))
    batches = list(table.batches(version))
    assert len(batches) > 1
    assert pl.concat(batch.product_ids for batch in batches).equals(rows(20_001)["product_id"])
    assert (all_vectors(table, version) == vectors(20_001)).all()


def test_a_shops_further_columns_keep_their_types(table: ProductTable) -> None:
    further = {
        "price": [decimal.Decimal("1.50"), None],
        "added": [datetime.date(2026, 1, 2), None],
        "seen": [datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC), None],
        "tags": [["a", "b"], []],
        "a size's name": ["s", "m"],
    }
    frame = rows(2).with_columns(pl.Series(name, values) for name, values in further.items())
    require_storable(frame.drop(POPULARITY), "products.csv")
    back = table.read(replace(table, frame, vectors(2)))
    assert back.equals(frame)
    assert back.schema == frame.schema


def test_a_commit_leaves_older_versions_unchanged(table: ProductTable) -> None:
    first = replace(table, rows(5), vectors(5))
    second = replace(table, rows(3, "q").with_columns(price=1.0), vectors(3, width=8))
    third = table.remove(pl.Series(["q1"]))
    assert len({first, second, third}) == 3
    assert table.read(first).equals(rows(5))
    assert (all_vectors(table, first) == vectors(5)).all()
    assert all_ids(table, second) == ["q0", "q1", "q2"]
    assert all_vectors(table, second).shape == (3, 8)
    assert table.latest() == third


def test_a_reader_that_holds_a_version_sees_no_later_one(table: ProductTable) -> None:
    reader = table.batches(replace(table, rows(20_001), vectors(20_001)))
    read = next(reader).vectors.shape[0]
    replace(table, rows(3), vectors(3))
    assert read + sum(len(batch.vectors) for batch in reader) == 20_001


def test_written_rows_do_not_exist_before_they_are_committed(table: ProductTable) -> None:
    first = replace(table, rows(5), vectors(5))
    written = table.write_fragments(rows(2, "q"), vectors(2), overwrite=False)
    assert table.latest() == first
    second = table.append(written)
    assert all_ids(table, second) == ["p0", "p1", "p2", "p3", "p4", "q0", "q1"]
    assert (all_vectors(table, second) == np.concatenate([vectors(5), vectors(2)])).all()


def test_removing_products_leaves_all_others(table: ProductTable) -> None:
    replace(table, rows(6), vectors(6))
    append(table, rows(3, "q"), vectors(3, seed=1))
    version = table.remove(pl.Series(["p1", "q0", "p5", "nobody"]))
    assert all_ids(table, version) == ["p0", "p2", "p3", "p4", "q1", "q2"]
    remaining = np.concatenate([vectors(6)[[0, 2, 3, 4]], vectors(3, seed=1)[1:]])
    assert (all_vectors(table, version) == remaining).all()
    assert table.count(version) == 6


def test_vectors_are_read_by_position(table: ProductTable) -> None:
    """In any order, repeatedly, and with rows removed before them."""
    replace(table, rows(6), vectors(6))
    append(table, rows(3, "q"), vectors(3, seed=1))
    version = table.remove(pl.Series(["p1", "p5"]))
    expected, positions = all_vectors(table, version), np.array([6, 0, 3, 3, 5, 0])
    assert (table.vectors(version, positions) == expected[positions]).all()


def test_restoring_makes_the_rows_of_an_older_version_the_newest(table: ProductTable) -> None:
    first = replace(table, rows(5), vectors(5))
    assert table.restore(first) == first
    append(table, rows(3, "q"), vectors(3))
    restored = table.restore(first)
    assert restored == table.latest() > first
    assert table.read(restored).equals(rows(5))
    assert all_ids(table, append(table, rows(1, "r"), vectors(1))) == ["p0", "p1", "p2", "p3", "p4", "r0"]


def test_every_version_of_the_table_names_the_model_of_its_vectors(table: ProductTable) -> None:
    first = replace(table, rows(5), vectors(5))
    later = [append(table, rows(3, "q"), vectors(3)), table.remove(pl.Series(["p1"])), table.compact(1000)]
    later.append(table.restore(first))
    assert {table.model_id(version) for version in (first, *later)} == {"m1"}
    assert table.read(first).columns == rows(1).columns


def test_a_pin_that_a_crash_left_is_moved(table: ProductTable) -> None:
    table.pin(2, replace(table, rows(5), vectors(5)))
    second = replace(table, rows(3), vectors(3))
    table.pin(2, second)
    assert table.pins() == {2: second}


def test_compacting_changes_files_but_no_rows(table: ProductTable, data: Path) -> None:
    replace(table, rows(10), vectors(10))
    for count in range(5):
        append(table, rows(2, f"q{count}-"), vectors(2, seed=count))
    before = table.remove(pl.Series(["p3", "q1-0"]))
    files = len(list(data.iterdir()))
    version = table.compact(1000)
    assert sorted(all_ids(table, version)) == sorted(all_ids(table, before))
    by_id = dict(zip(all_ids(table, version), all_vectors(table, version).tolist(), strict=True))
    assert by_id == dict(zip(all_ids(table, before), all_vectors(table, before).tolist(), strict=True))
    table.cleanup(unfinished=True)
    assert len(list(data.iterdir())) < files


def test_a_cleanup_removes_versions_that_are_not_pinned(table: ProductTable, data: Path) -> None:
    first = replace(table, rows(50), vectors(50))
    table.pin(7, first)
    second = replace(table, rows(60, "q"), vectors(60))
    third = replace(table, rows(70, "r"), vectors(70))
    assert table.pins() == {7: first}
    assert table.cleanup(unfinished=True) > 0
    assert (table.count(first), table.count(third)) == (50, 70)
    with pytest.raises(InvalidData):
        table.count(second)
    table.unpin(7)
    assert table.pins() == {}
    before = sum(file.stat().st_size for file in data.iterdir())
    assert table.cleanup(unfinished=True) > 0
    assert sum(file.stat().st_size for file in data.iterdir()) < before
    with pytest.raises(InvalidData):
        table.count(first)
    assert table.count(third) == 70


def test_a_cleanup_removes_uncommitted_rows_only_on_request(table: ProductTable) -> None:
    replace(table, rows(5), vectors(5))
    written = table.write_fragments(rows(2, "q"), vectors(2), overwrite=False)
    table.cleanup(unfinished=False)
    assert table.has_files(written)
    table.cleanup(unfinished=True)
    assert not table.has_files(written)


def test_a_missing_version_is_named(table: ProductTable) -> None:
    replace(table, rows(1), vectors(1))
    with pytest.raises(InvalidData, match=r"products\.lance: .*\b9\.manifest was not found"):
        table.read(9)


def test_a_missing_table_is_named(table: ProductTable) -> None:
    with pytest.raises(InvalidData, match=r"products\.lance: .*not found"):
        next(table.batches(1))


@pytest.mark.parametrize("remaining", [0, 50])
def test_a_truncated_table_is_named(table: ProductTable, data: Path, remaining: int) -> None:
    version = replace(table, rows(100), vectors(100))
    (file,) = data.iterdir()
    file.write_bytes(file.read_bytes()[:remaining])
    with pytest.raises(InvalidData, match=r"products\.lance"):
        all_vectors(table, version)
    with pytest.raises(InvalidData, match=r"products\.lance"):
        table.vectors(version, np.array([3]))


def test_a_missing_file_of_rows_is_named(table: ProductTable, data: Path) -> None:
    version = replace(table, rows(100), vectors(100))
    (file,) = data.iterdir()
    file.unlink()
    with pytest.raises(InvalidData, match=r"products\.lance"):
        table.read(version)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_the_operating_system_refuses_changes_nothing(table: ProductTable) -> None:
    version = replace(table, rows(5), vectors(5))
    with pytest.raises(OSError, match="File too large") as caught, files_of_at_most(100_000):
        table.write_fragments(rows(20_000), vectors(20_000, width=16), overwrite=True)
    assert caught.value.errno == errno.EFBIG
    assert table.latest() == version
    assert table.read(version).equals(rows(5))
    assert replace(table, rows(3), vectors(3)) == version + 1
