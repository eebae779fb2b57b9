"""TokenTable against lists of lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.text.token_table import TokenTable

ROWS = st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=10)


def lists(table):
    return [table.row(index).tolist() for index in range(len(table))]


@given(ROWS)
def test_rows_come_back(rows):
    table = TokenTable.from_rows(rows)
    assert len(table) == len(rows)
    assert table.lengths.tolist() == [len(row) for row in rows]
    assert lists(table) == rows
    assert (table.ids.dtype, table.offsets.dtype) == (np.int32, np.int64)


@given(ROWS, st.data())
def test_take_is_indexing(rows, data):
    index = data.draw(st.lists(st.integers(-len(rows), len(rows) - 1), max_size=8)) if rows else []
    table = TokenTable.from_rows(rows)
    assert lists(table.take(np.array(index, dtype=np.int64))) == [rows[place] for place in index]


@given(st.lists(ROWS, max_size=3))
def test_concatenate_is_addition(tables):
    joined = TokenTable.concatenate([TokenTable.from_rows(rows) for rows in tables])
    assert lists(joined) == [row for rows in tables for row in rows]


@given(ROWS, st.data())
def test_heads_are_slices(rows, data):
    table = TokenTable.from_rows(rows)
    assert lists(table.heads(2)) == [row[:2] for row in rows]
    most = data.draw(st.lists(st.integers(0, 5), min_size=len(rows), max_size=len(rows)))
    assert lists(table.heads(np.array(most, dtype=np.int64))) == [
        row[:end] for row, end in zip(rows, most, strict=True)
    ]


@given(ROWS)
def test_firsts_are_where_a_row_was_seen_first(rows):
    assert TokenTable.from_rows(rows).firsts().tolist() == [rows.index(row) for row in rows]


def test_rows_of_the_same_bytes_in_other_pieces_are_not_equal():
    rows = [[1], [256], [1, 0], [0, 1], [1], [2**31 - 1], [1, 0]]
    assert TokenTable.from_rows(rows).firsts().tolist() == [0, 1, 2, 3, 0, 5, 2]


@given(ROWS)
def test_distinct_is_the_first_of_each_and_which_it_was(rows):
    different, index = TokenTable.from_rows(rows).distinct()
    expected = [list(row) for row in dict.fromkeys(map(tuple, rows))]
    assert lists(different) == expected
    assert [expected[place] for place in index.tolist()] == rows


@pytest.mark.parametrize("by_length", [True, False])
@given(
    rows=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1, max_size=20),
    tokens=st.integers(9, 30),
)
def test_batches_hold_every_row_once_in_order_and_about_as_many_tokens_as_given(rows, tokens, by_length):
    table = TokenTable.from_rows(rows)
    batches = list(table.batches(tokens, by_length=by_length))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(rows)))
    lengths = [table.lengths[batch] for batch in batches]
    in_order = np.concatenate(lengths if by_length else batches)
    assert (np.diff(in_order) >= 0).all()
    assert all(one.sum() < tokens + 9 for one in lengths)


def test_a_row_that_is_not_there_is_an_error():
    table = TokenTable.from_rows([[1], [2, 3]])
    assert table.row(-1).tolist() == [2, 3]
    with pytest.raises(IndexError):
        table.row(2)
