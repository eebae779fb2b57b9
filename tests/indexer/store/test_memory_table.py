"""Rows in memory answer LanceDB's SQL."""

from __future__ import annotations

import polars as pl
import pytest

from indexer.store.memory_table import MemoryTable


def test_rows_are_found_by_a_condition() -> None:
    table = MemoryTable(pl.DataFrame({"price": [3.0, 1.0, 2.0]}).to_arrow())
    assert table.positions_where("price >= 2").tolist() == [0, 2]
    assert table.positions_where("price > 9").tolist() == []


def test_many_rows_keep_their_positions() -> None:
    table = MemoryTable(pl.DataFrame({"number": range(3_000_000)}).to_arrow())  # LanceDB would make three fragments
    assert table.positions_where("number % 1000000 = 0").tolist() == [0, 1_000_000, 2_000_000]


def test_no_rows_satisfy_no_condition_but_it_is_checked() -> None:
    table = MemoryTable(pl.DataFrame({"price": []}, schema={"price": pl.Float64}).to_arrow())
    assert table.positions_where("price > 1").tolist() == []
    with pytest.raises(ValueError, match="colour"):
        table.positions_where("colour = 'red'")


def test_a_condition_that_takes_too_long_is_given_up() -> None:
    table = MemoryTable(pl.DataFrame({"price": [3.0, 1.0]}).to_arrow())
    with pytest.raises(TimeoutError):
        table.positions_where("price >= 2", seconds=-1)
