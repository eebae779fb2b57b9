"""Versions may share their products and have a popularity of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from indexer.catalogue.catalogue_writer import POPULAR_FILE, POPULARITY_FILE, write_catalogue
from indexer.catalogue.mapped_catalogue import MappedCatalogue
from ubm_embed.errors import InvalidData

FRAME = pl.DataFrame({"product_id": ["a", "b", "c"], "title": ["A", "B", "C"], "popularity": [5, 0, 7]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "1").mkdir()
    table = FRAME.to_arrow()
    write_catalogue(tmp_path / "1", table.schema, table.to_batches())
    return tmp_path / "1"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The folder of a version in which only b was ever chosen."""
    (tmp_path / "2").mkdir()
    np.save(tmp_path / "2" / POPULARITY_FILE, np.array([0, 4, 0], "<i8"))
    np.save(tmp_path / "2" / POPULAR_FILE, np.array([1], "<i8"))
    return tmp_path / "2"


def popularity_of(catalogue: MappedCatalogue) -> list[int]:
    """The popularity of all products, by each way to ask for it."""
    values = list(catalogue.values("popularity", np.arange(3)))
    assert catalogue.table(["title", "popularity"])["popularity"].to_pylist() == values
    for limit in range(8):
        allowed = catalogue.where(f"popularity > {limit}").positions.tolist()
        assert allowed == [row for row, value in enumerate(values) if value > limit]
    codes = catalogue.codes("popularity").tolist()
    assert [codes.index(code) for code in codes] == [values.index(value) for value in values]
    assert catalogue.popular.tolist() == sorted((row for row in range(3) if values[row]), key=lambda row: -values[row])
    return values


def test_a_version_that_shares_products_has_a_popularity_of_its_own(folder: Path, own: Path) -> None:
    assert popularity_of(MappedCatalogue.open(folder, 3)) == [5, 0, 7]
    shared = MappedCatalogue.open(folder, 3, own=own)
    assert popularity_of(shared) == [0, 4, 0]
    assert shared.find(["b"]) == {"b": 1}


def test_popularity_of_older_software_is_that_of_the_rows(folder: Path) -> None:
    (folder / POPULARITY_FILE).unlink(missing_ok=True)
    assert popularity_of(MappedCatalogue.open(folder, 3)) == [5, 0, 7]


@pytest.mark.parametrize("name", [POPULARITY_FILE, POPULAR_FILE])
def test_a_damaged_file_of_its_own_is_named(folder: Path, own: Path, name: str) -> None:
    content = (own / name).read_bytes()
    catalogue = MappedCatalogue.open(folder, 3, own=own)
    with (own / name).open("r+b") as stream:
        stream.truncate(len(content) - 8)
    with pytest.raises(InvalidData, match=f"2/{name}: changed while it was in use"):
        catalogue.require_unchanged()
    with pytest.raises(InvalidData, match=f"2/{name}: truncated or damaged"):
        MappedCatalogue.open(folder, 3, own=own)


def test_popular_products_of_its_own_must_be_there(folder: Path, own: Path) -> None:
    (own / POPULAR_FILE).unlink()
    with pytest.raises(InvalidData, match=f"2/{POPULAR_FILE}: missing"):
        MappedCatalogue.open(folder, 3, own=own)


def test_files_may_be_removed_once_they_are_mapped(folder: Path, own: Path) -> None:
    catalogue = MappedCatalogue.open(folder, 3, own=own)
    shutil.rmtree(folder)
    shutil.rmtree(own)
    assert popularity_of(catalogue) == [0, 4, 0]
