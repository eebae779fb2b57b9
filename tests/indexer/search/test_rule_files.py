"""Files of excluded and of boosted products."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from indexer.search.rule_files import read_boosts, read_excluded
from ubm_embed.errors import InvalidData, NotFound


def test_ids_of_any_table(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("product_id,why\n007,sold out\np2,\n")
    pl.DataFrame({"product_id": [7, 8]}).write_parquet(tmp_path / "x.parquet")
    assert read_excluded(tmp_path / "x.csv") == {"007", "p2"}
    assert read_excluded(tmp_path / "x.parquet") == {"7", "8"}


def test_boosts_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("product_id,boost\np1,0.5\np2,-1e-3\n")
    assert read_boosts(tmp_path / "b.csv") == {"p1": 0.5, "p2": -0.001}


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", ""),
        ("x.csv", "\n"),
        ("x.csv", "product_id,boost"),
        ("x.csv", "product_id,boost\r\n"),
        ("x.json", ""),
        ("x.json", "[]"),
        ("x.json", " [] \n"),
        ("x.jsonl", ""),
        ("x.jsonl", "\n\n"),
    ],
)
def test_an_empty_file_has_no_rules(tmp_path: Path, name: str, text: str, mark: str) -> None:
    (tmp_path / name).write_text(mark + text, "utf-8")
    assert read_excluded(tmp_path / name) == frozenset()
    assert read_boosts(tmp_path / name) == {}


@pytest.mark.parametrize("text", [b"", b"\n", b"[]"])
@pytest.mark.parametrize(("suffix", "codec"), [("gz", "gzip"), ("zst", "zstd")])
def test_a_compressed_empty_file_has_no_rules(tmp_path: Path, text: bytes, suffix: str, codec: str) -> None:
    name = "x.json" if text == b"[]" else "x.csv"
    file = tmp_path / f"{name}.{suffix}"
    with pa.CompressedOutputStream(str(file), codec) as stream:
        stream.write(text)
    assert read_excluded(file) == frozenset()
    assert read_boosts(file) == {}


def test_an_empty_parquet_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").touch()
    with pytest.raises(InvalidData, match="empty"):
        read_excluded(tmp_path / "x.parquet")


def test_a_table_without_rows_has_no_rules_but_its_columns(tmp_path: Path) -> None:
    pl.DataFrame(schema={"product_id": pl.String, "boost": pl.Float64}).write_parquet(tmp_path / "x.parquet")
    assert read_excluded(tmp_path / "x.parquet") == frozenset()
    assert read_boosts(tmp_path / "x.parquet") == {}
    (tmp_path / "x.csv").write_text("sku,boost\n")
    with pytest.raises(InvalidData, match="missing column"):
        read_excluded(tmp_path / "x.csv")


def test_ids_are_read_as_everywhere(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("\ufeffproduct_id,boost\n p1 ,1\n17.0,2\n\u00a0p2,3\n", "utf-8")
    assert read_boosts(tmp_path / "x.csv") == {"p1": 1, "17": 2, "p2": 3}
    pl.DataFrame({"product_id": [17.0, 18.0]}).write_parquet(tmp_path / "x.parquet")
    assert read_excluded(tmp_path / "x.parquet") == {"17", "18"}


@pytest.mark.parametrize(
    ("text", "field", "row"),
    [
        ("boost\n1\n", "product_id", None),
        ("product_id\np1\n", "boost", None),
        ("product_id,boost\np1,much\n", "boost", 1),
        ("product_id,boost\np1,1\np2,\n", "boost", 2),
        ("product_id,boost\np1,1\n,2\n", "product_id", 2),
        ("product_id,boost\np1,1\np1,2\n", "product_id", 2),
        ("product_id,boost\np1,inf\n", "boost", 1),
        ("product_id,boost\np1,nan\n", "boost", 1),
        ("product_id,boost\np1,-1e39\n", "boost", 1),
        ("product_id,boost\np1,1\nundefined,2\n", "product_id", 2),
        ("product_id,boost\np1,1\n p1,2\n", "product_id", 2),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, field: str, row: int | None) -> None:
    file = tmp_path / "b.csv"
    file.write_text(text)
    with pytest.raises(InvalidData) as caught:
        read_boosts(file)
    assert (caught.value.file, caught.value.field, caught.value.row) == (file, field, row)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_excluded(tmp_path / "none.csv")
