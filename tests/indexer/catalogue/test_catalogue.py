"""Products stand at the position of their vector, whatever their columns hold."""

from __future__ import annotations

import datetime
import decimal
import errno
import io
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.catalogue import catalogue_writer, product_file, product_ids
from indexer.catalogue.catalogue import find_products
from indexer.catalogue.catalogue_writer import write_catalogue
from indexer.catalogue.id_hashes import id_hashes
from indexer.catalogue.mapped_catalogue import CATALOGUE_FILES, MappedCatalogue
from ubm_embed.data.corpus import iter_products
from ubm_embed.errors import InvalidData
from ubm_embed.file_guard import FileGuard

DAY = datetime.datetime(2026, 1, 31, 12, 30, 15, 123456)


@pytest.fixture
def frame(products: pl.DataFrame) -> pl.DataFrame:
    return products.with_columns(popularity=pl.Series([0, 5, 0, 7, 5, None, 0, 1]), price=pl.lit(2.0))


def mapped(frame: pl.DataFrame) -> MappedCatalogue:
    return MappedCatalogue.from_table(frame.to_arrow())


def written(folder: Path, frame: pl.DataFrame, rows_per_batch: int = 3) -> Path:
    """The files of these products, in batches that end within them."""
    folder.mkdir(exist_ok=True)
    table = frame.to_arrow()
    write_catalogue(folder, table.schema, table.to_batches(max_chunksize=2), rows_per_batch)
    return folder


@pytest.mark.parametrize("rows_per_batch", [1, 3, 8, 100])
def test_it_does_not_matter_in_which_batch_a_product_stands(
    frame: pl.DataFrame, tmp_path: Path, rows_per_batch: int
) -> None:
    catalogue = MappedCatalogue.open(written(tmp_path / "version", frame, rows_per_batch), 8)
    assert len(catalogue) == 8
    assert catalogue.values("product_id", np.arange(8)) == frame["product_id"].to_list()
    assert catalogue.find([*(f"p{row}" for row in range(10)), "p1"]) == {f"p{row + 1}": row for row in range(8)}
    assert catalogue.codes("category").tolist() == [0, 0, 1, 1, 0, -1, -1, 1]
    assert catalogue.where("title LIKE '%shirt'").positions.tolist() == [2, 3, 7]
    assert catalogue.popular.tolist() == [3, 1, 4, 7]


def test_products_are_found_by_their_ids_as_they_were_written(frame: pl.DataFrame) -> None:
    catalogue = mapped(frame.with_columns(product_id=pl.Series(["17", "none", *(f"p{row}" for row in range(2, 8))])))
    spellings = ["17", " 17.0 ", "p2\u00a0", "none", "undefined", "", "\ud83d", "p9"]
    # "none" is no id, but that of a product of an earlier version's store.
    assert find_products(catalogue, spellings) == {"17": 0, " 17.0 ": 0, "p2\u00a0": 2, "none": 1}
    assert catalogue.find(["\ud83d"]) == {}


def test_ids_with_the_same_hash_are_told_apart(frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    def poor(names: list[str]) -> np.ndarray:
        return id_hashes(["same" if name < "p7" else name for name in names])

    monkeypatch.setattr("indexer.catalogue.catalogue_writer.id_hashes", poor)
    monkeypatch.setattr(product_ids, "id_hashes", poor)
    names = [f"p{row}" for row in range(10)]
    assert mapped(frame).find(names) == {f"p{row + 1}": row for row in range(8)}


@pytest.mark.parametrize("hash_values", [2**64, 7])
def test_many_ids_are_found_as_a_few_are(monkeypatch: pytest.MonkeyPatch, hash_values: int) -> None:
    for module in (product_ids, catalogue_writer):
        monkeypatch.setattr(module, "id_hashes", lambda names: id_hashes(names) % np.uint64(hash_values - 1))
    monkeypatch.setattr(product_ids, "_MANY", 2)
    catalogue = mapped(pl.DataFrame({"product_id": [f"p{row}" for row in range(20)]}))
    wanted = [f"p{row}" for row in range(-3, 23)] + ["p3", "p3", ""]
    found = catalogue.find(wanted)
    for names in (wanted, ["nobody", "no one"], []):
        expected = [found.get(name, -1) for name in names]
        assert catalogue.find_all(pa.array(names, pa.string())).tolist() == expected
        assert catalogue.find_all(pa.array(names, pa.large_string())).tolist() == expected


def test_hashes_are_the_same_everywhere() -> None:
    assert id_hashes(["p1", "größe", ""]).tolist() == [
        10506498227197777640,
        16832822397561338100,
        13020603013274838756,
    ]


def test_products_are_read_in_full(frame: pl.DataFrame) -> None:
    expected = list(iter_products(frame))
    assert mapped(frame).products([5, 0, 5]) == {0: expected[0], 5: expected[5]}
    assert mapped(frame).products([]) == {}


def test_a_row_shows_what_a_match_shows(frame: pl.DataFrame) -> None:
    row = {"product_id": "p6", "title": "leather belt", "category": None, "price": 2.0}
    assert mapped(frame).rows([5]) == {5: row}
    assert list(mapped(frame).rows([5])[5]) == list(row)


@pytest.mark.parametrize("counts", [pl.lit(0), pl.lit(None, pl.Int64)])
def test_without_counts_nothing_is_popular(frame: pl.DataFrame, counts: pl.Expr) -> None:
    assert mapped(frame.with_columns(popularity=counts)).popular.tolist() == []
    assert mapped(frame.drop("popularity")).popular.tolist() == []


VALUES: dict[str, tuple[pl.DataType, list[Any]]] = {
    "text": (pl.String(), ["ä\u2028", "", None]),
    "boolean": (pl.Boolean(), [True, False, None]),
    "unsigned": (pl.UInt64(), [2**64 - 1, 0, None]),
    "small": (pl.Int8(), [-1, 1, None]),
    "float": (pl.Float32(), [0.5, float("inf"), None]),
    "decimal": (pl.Decimal(20, 3), [decimal.Decimal("1.500"), decimal.Decimal("-2"), None]),
    "date": (pl.Date(), [DAY.date(), datetime.date(1, 1, 1), None]),
    "time": (pl.Time(), [DAY.time(), datetime.time(), None]),
    "duration": (pl.Duration("ns"), [datetime.timedelta(days=-1, microseconds=7), datetime.timedelta(), None]),
    "nanoseconds": (pl.Datetime("ns"), [DAY, datetime.datetime(1970, 1, 1), None]),
    "zoned": (pl.Datetime("ms", "Europe/Berlin"), [DAY.replace(microsecond=0, tzinfo=datetime.UTC), None, None]),
    "enum": (pl.Enum(["a", "b"]), ["b", "a", None]),
    "category": (pl.Categorical(), ["b", "a", None]),
    "bytes": (pl.Binary(), [b"\xff", b"", None]),
    "list": (pl.List(pl.String()), [["a", None], [], None]),
    "array": (pl.Array(pl.Int8(), 2), [[1, 2], [3, None], None]),
    "struct": (
        pl.Struct({"width": pl.Float64(), "kinds": pl.List(pl.Categorical())}),
        [{"width": 1.0, "kinds": ["a"]}, {"width": None, "kinds": None}, None],
    ),
    "nothing": (pl.Null(), [None, None, None]),
}


@pytest.mark.parametrize(("kind", "values"), VALUES.values(), ids=VALUES)
def test_a_column_of_any_type_reads_as_in_polars(kind: pl.DataType, values: list[Any], tmp_path: Path) -> None:
    column = pl.Series("own", [*values, *values[::-1]], dtype=kind)
    frame = pl.DataFrame({"product_id": [f"p{row}" for row in range(6)], "own": column})
    catalogue = MappedCatalogue.open(written(tmp_path / "version", frame, 2), 6)
    assert [row["own"] for row in catalogue.rows(range(6)).values()] == column.to_list()
    codes = catalogue.codes("own").tolist()
    for code, value in zip(codes, column.to_list(), strict=True):
        assert (code == -1) == (value is None)
        assert codes.count(code) == column.to_list().count(value)
    assert catalogue.where("own IS NULL").positions.tolist() == [
        row for row, value in enumerate(column.to_list()) if value is None
    ]


@pytest.mark.parametrize("kind", [pl.Date(), pl.Datetime("us"), pl.Duration("ms")])
def test_a_time_that_python_does_not_have_is_missing(kind: pl.DataType) -> None:
    number = pl.Series("own", [2**31 - 1 if kind == pl.Date() else 2**62, 0], pl.Int64)
    column = number.cast(pl.Int32).cast(kind) if kind == pl.Date() else number.cast(kind)
    rows = mapped(pl.DataFrame({"product_id": ["a", "b"], "own": column})).rows([0, 1])
    assert [row["own"] is None for row in rows.values()] == [True, False]


def test_equal_lists_of_structs_have_equal_codes() -> None:
    tags = pl.Series([[{"a": row % 3, "b": ["x"] * (row % 2)}] * (row % 4) for row in range(240)])
    catalogue = mapped(pl.DataFrame({"product_id": [f"p{row}" for row in range(240)], "tags": tags}))
    codes = catalogue.codes("tags").tolist()
    assert len(set(codes)) == 1 + 9, "of 12 remainders, 3 are an empty list"
    assert codes[:12] * 20 == codes


def test_codes_are_made_once(frame: pl.DataFrame) -> None:
    catalogue = mapped(frame)
    assert catalogue.codes("category") is catalogue.codes("category")


def test_threads_read_the_same(frame: pl.DataFrame, tmp_path: Path) -> None:
    catalogue = MappedCatalogue.open(written(tmp_path / "version", frame), 8)
    together, seen = Barrier(4), []

    def read() -> None:
        together.wait()
        seen.append((catalogue.rows(range(8)), catalogue.where("price = 2").count, catalogue.popular.tolist()))

    threads = [Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    assert all(one == seen[0] for one in seen)


def test_the_files_may_be_removed_once_they_are_mapped(frame: pl.DataFrame, tmp_path: Path) -> None:
    folder = written(tmp_path / "version", frame)
    catalogue = MappedCatalogue.open(folder, 8)
    for file in folder.iterdir():
        file.unlink()
    catalogue.require_unchanged()
    assert [row["title"] for row in catalogue.rows(range(8)).values()] == frame["title"].to_list()
    assert catalogue.find(["p8"]) == {"p8": 7}
    catalogue.close()


def test_opening_reads_no_more_of_a_large_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batches that are looked at for the sample, and no others."""
    frame = pl.DataFrame({"product_id": [f"p{row}" for row in range(500)]})
    read: list[int] = []
    get = product_ids.ProductFile._read_batch
    monkeypatch.setattr(product_ids.ProductFile, "_read_batch", lambda self, n: read.append(n) or get(self, n))
    MappedCatalogue.open(written(tmp_path / "version", frame, 5), 500)
    assert len(set(read)) <= 4
    assert {0, 99} <= set(read)


def test_products_are_written_while_they_are_read(tmp_path: Path) -> None:
    """So that memory does not grow with them."""
    table, sizes = pa.table({"product_id": [f"p{row}" for row in range(100)]}), list[int]()

    def batches() -> Iterator[pa.RecordBatch]:
        for _ in range(20):
            yield from table.to_batches()
            sizes.append((tmp_path / "products.arrow").stat().st_size)

    assert write_catalogue(tmp_path, table.schema, batches(), rows_per_batch=100) == 2000
    assert all(earlier < later for earlier, later in itertools.pairwise(sizes))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("name", CATALOGUE_FILES)
def test_a_full_disk_is_called_so(frame: pl.DataFrame, tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        written(tmp_path, frame)
    assert caught.value.errno == errno.ENOSPC


def test_few_checked_batches_are_kept(frame: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product_file, "_MAX_BATCHES", 2)
    products = product_file.ProductFile(written(tmp_path / "version", frame, 1) / "products.arrow", 8)
    for _ in range(2):
        assert products.values("title", range(8)) == frame["title"].to_list()
        assert len(products._batches) <= 2


class TestDamage:
    """Files that are not as they were published: each is named, and nothing crashes."""

    @pytest.fixture
    def folder(self, frame: pl.DataFrame, tmp_path: Path) -> Path:
        return written(tmp_path / "version", frame)

    @pytest.mark.parametrize("name", CATALOGUE_FILES)
    def test_a_missing_file_is_named(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        with pytest.raises(InvalidData, match="missing") as caught:
            MappedCatalogue.open(folder, 8)
        assert caught.value.file == folder / name

    @pytest.mark.parametrize("name", CATALOGUE_FILES)
    def test_a_file_that_is_cut_anywhere_is_named(self, folder: Path, name: str) -> None:
        content = (folder / name).read_bytes()
        header, size = 10, len(content)
        for length in (0, 1, header, size // 4, size // 2, 3 * size // 4, size - 8, size - 1):
            (folder / name).write_bytes(content[:length])
            with pytest.raises(InvalidData, match="damaged") as caught:
                MappedCatalogue.open(folder, 8)
            assert caught.value.file == folder / name

    @pytest.mark.parametrize("name", CATALOGUE_FILES)
    def test_a_foreign_file_is_named(self, folder: Path, name: str) -> None:
        foreign = pa.table({"title": ["a"]})
        for content in (b"PK\x03\x04 and so on" * 20, b"\x93NUMPY\x01\x00garbage", _npy(np.ones(8)), _arrow(foreign)):
            (folder / name).write_bytes(content)
            with pytest.raises(InvalidData, match="damaged") as caught:
                MappedCatalogue.open(folder, 8)
            assert caught.value.file == folder / name

    @pytest.mark.parametrize("count", [1, 7, 9, 80])
    def test_files_of_another_number_of_products_are_refused(self, folder: Path, count: int) -> None:
        with pytest.raises(InvalidData, match="damaged"):
            MappedCatalogue.open(folder, count)

    def test_ids_of_other_products_are_refused(self, folder: Path, frame: pl.DataFrame, tmp_path: Path) -> None:
        other = written(tmp_path / "other", frame.with_columns(pl.col("product_id") + "x"))
        (folder / "products.arrow").write_bytes((other / "products.arrow").read_bytes())
        with pytest.raises(InvalidData, match=r"does not find the ids of products\.arrow") as caught:
            MappedCatalogue.open(folder, 8)
        assert caught.value.file == folder / "id_hashes.npy"

    def test_popular_products_that_are_not_there_are_refused(self, folder: Path) -> None:
        np.save(folder / "popular.npy", np.array([3, 8]))
        with pytest.raises(InvalidData, match="names products that are not there") as caught:
            _ = MappedCatalogue.open(folder, 8).popular
        assert caught.value.file == folder / "popular.npy"

    def test_whatever_bits_flip_the_process_goes_on(self, folder: Path, frame: pl.DataFrame) -> None:
        """Any value may be wrong then, which the digests tell; reading them must not go out of the file."""
        files = {name: (folder / name).read_bytes() for name in CATALOGUE_FILES}

        @given(st.sampled_from(CATALOGUE_FILES), st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=9))
        def flip(name: str, where: float, instead: bytes) -> None:
            content = bytearray(files[name])
            start = int(where * len(content))
            content[start : start + len(instead)] = instead[: len(content) - start]
            (folder / name).write_bytes(content)
            try:
                read_all(MappedCatalogue.open(folder, 8))
            except InvalidData as error:
                assert Path(str(error.file)).parent == folder  # noqa: PT017
            finally:
                (folder / name).write_bytes(files[name])

        def read_all(catalogue: MappedCatalogue) -> None:
            catalogue.rows(range(8))
            catalogue.products(range(8))
            catalogue.find(frame["product_id"])
            catalogue.table(["product_id", "attributes"]).to_pylist()
            _ = catalogue.codes("title") if "title" in catalogue.columns else None, catalogue.popular

        flip()

    @pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b""])
    def test_a_file_that_changes_while_it_is_in_use_is_noticed(
        self, folder: Path, change: Callable[[bytes], bytes]
    ) -> None:
        other = folder / "index.faiss"
        other.write_bytes(b"vectors")
        catalogue = MappedCatalogue.open(folder, 8, [other])
        catalogue.require_unchanged()
        for name in (*CATALOGUE_FILES, other.name):
            content = (folder / name).read_bytes()
            with (folder / name).open("r+b") as stream:  # in place, as nothing of ours does
                stream.truncate()
                stream.write(change(content))
            with pytest.raises(
                InvalidData, match=r"changed while it was in use: .* bytes, .* when it was opened"
            ) as it:
                catalogue.require_unchanged()
            assert it.value.file == folder / name
            (folder / name).write_bytes(content)


def test_a_guard_gives_its_files_back(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    guard, dropped = FileGuard([tmp_path / "file"] * 2), FileGuard([tmp_path / "file"])
    assert opened(tmp_path / "file") == 2
    guard.close()
    guard.close()
    guard.require_unchanged()
    del dropped
    assert opened(tmp_path / "file") == 0


def opened(file: Path) -> int:
    """How often this process has opened a file."""
    links = (os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return sum(link == str(file) for link in links)


def test_reading_imports_nothing_heavy(frame: pl.DataFrame, tmp_path: Path) -> None:
    written(tmp_path / "version", frame)
    script = """
import sys
from pathlib import Path
from indexer.catalogue.mapped_catalogue import MappedCatalogue
catalogue = MappedCatalogue.open(Path(sys.argv[1]), 8)
catalogue.rows(catalogue.find(["p1"]).values()), catalogue.products([3]), catalogue.popular, catalogue.columns
heavy = "torch", "transformers", "polars", "lance", "lancedb", "scipy", "pandas", "pyarrow.compute", "pyarrow.dataset"
sys.exit(",".join(name for name in heavy if name in sys.modules) or 0)
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "version")], check=True)


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
