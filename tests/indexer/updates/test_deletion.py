"""Products that are deleted, and files of ids."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from indexer.updates.product_id_file import read_product_ids
from indexer.updates.updater import Updater
from tests.indexer.updates.live_products import live_of, live_products
from ubm_embed.errors import Conflict, InvalidData, NotFound


def test_deleted_products_are_gone_and_unknown_ids_are_listed(store: Path, updater: Updater) -> None:
    report = updater.delete(["p3", "nope", " p5 ", "p3"])
    assert (report.deleted, report.unknown, report.revision) == (2, ("nope",), 1)
    assert live_products(store).keys() == {"p1", "p2", "p4", "p6", "p7", "p8"}


def test_deleting_twice_is_no_failure_and_makes_no_revision(store: Path, updater: Updater) -> None:
    updater.delete(["p3"])
    report = updater.delete(["p3"])
    assert (report.deleted, report.unknown, report.revision, report.published) == (0, ("p3",), 1, False)


def test_a_product_that_came_by_an_upsert_may_be_deleted(store: Path, updater: Updater) -> None:
    updater.upsert([{"product_id": "n1", "title": "boots"}, {"product_id": "p1", "title": "boots"}])
    assert updater.delete(["n1", "p1"]).deleted == 2
    assert live_products(store).keys() == {f"p{number}" for number in range(2, 9)}


def test_a_store_keeps_a_product(store: Path, updater: Updater) -> None:
    updater.upsert([{"product_id": "n1", "title": "boots"}])
    with pytest.raises(Conflict, match="keeps at least one product"):
        updater.delete(["n1", *live_products(store)])
    updater.delete(f"p{number}" for number in range(1, 9))
    assert live_products(store).keys() == {"n1"}
    with pytest.raises(Conflict, match="keeps at least one product"):
        updater.delete(["n1"])
    assert live_of(store).revision.number == 2  # type: ignore[union-attr]


EXPECTED = ["p1", "17", "nope, or not"]
FILES: dict[str, Callable[[Path], object]] = {
    "ids.txt": lambda file: file.write_text("p1\n\n 17.0 \nnope, or not\n"),
    "ids": lambda file: file.write_bytes("\ufeffp1\n17\nnope, or not".encode()),
    "ids.txt.gz": lambda file: file.write_bytes(gzip.compress(b"p1\n17\nnope, or not\n")),
    "ids.csv": lambda file: file.write_text('price,product_id\n1,p1\n2,17\n3,"nope, or not"\n'),
    "table": lambda file: file.write_text('product_id\np1\n17\n"nope, or not"\n'),
    "ids.jsonl": lambda file: file.write_text("".join(json.dumps({"product_id": name}) + "\n" for name in EXPECTED)),
    "ids.parquet": lambda file: pl.DataFrame({"product_id": EXPECTED}).write_parquet(file),
}


@pytest.mark.parametrize("name", FILES)
def test_ids_are_read_from_tables_and_from_lines(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / name)
    assert read_product_ids(tmp_path / name, 100) == EXPECTED
    assert read_product_ids(tmp_path / name, 2) == EXPECTED[:2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ids.csv", "sku\np1\n", r"ids\.csv, field 'product_id': missing column"),
        ("ids.csv", "product_id,x\np1,1\nnull,2\n", r"ids\.csv, row 2, field 'product_id': expected an id"),
        ("ids.csv", "sku\n", r"ids\.csv, field 'product_id': missing column"),
        ("ids.txt", "p1\nundefined\n", r"ids\.txt, row 2: expected an id, got 'undefined'"),
        ("ids.txt", "p1\n\udcff\n", r"ids\.txt: not UTF-8 text"),
        ("ids.txt", "\udcff\n", r"ids\.txt: not UTF-8 text"),
    ],
)
def test_what_is_no_id_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, errors="surrogateescape")
    with pytest.raises(InvalidData, match=message):
        read_product_ids(tmp_path / name, 100)


@pytest.mark.parametrize(
    ("name", "content"), [("ids.txt", ""), ("ids", "\n \n"), ("ids.csv", ""), ("ids.csv", "product_id,price\n")]
)
def test_an_empty_file_has_no_ids(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert read_product_ids(tmp_path / name, 100) == []


def test_a_folder_has_the_ids_of_its_files(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.csv").write_text(f"product_id\np{number}\n")
    assert read_product_ids(tmp_path, 100) == ["p1", "p2"]


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_product_ids(tmp_path / "nowhere", 100)
