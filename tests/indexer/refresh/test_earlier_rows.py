"""Products are found among those of an earlier version, by id and by text, whatever order they come in."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.catalogue.id_hashes import id_hashes
from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.refresh.earlier_rows import EarlierRows
from indexer.refresh.row_signatures import count_differences, row_signatures
from indexer.refresh.written_version import RowOrigins

IDS = st.lists(st.text("abc\u00e9\U0001f600", max_size=3), unique=True, max_size=40)


def texts(numbers: list[int]) -> np.ndarray:
    return np.frombuffer(b"".join(number.to_bytes(16, "little") for number in numbers), "V16")


def earlier(ids: list[str]) -> EarlierRows:
    """Of products whose text is the number of their row."""
    catalogue = MappedCatalogue.from_table(pa.table({"product_id": pa.array(ids, pa.string())}))
    return EarlierRows(catalogue.ordered_search(), texts(list(range(len(ids)))))


@given(IDS, IDS)
def test_ids_are_found_at_their_positions(before: list[str], wanted: list[str]) -> None:
    found, hashes = earlier(before).find(pa.array(wanted, pa.string()))
    assert found.tolist() == [before.index(name) if name in before else -1 for name in wanted]
    assert hashes.tolist() == id_hashes(wanted).tolist()


@given(IDS, st.data())
def test_a_text_is_the_same_where_its_hash_is(before: list[str], data: st.DataObject) -> None:
    rows = earlier(before)
    hashes = data.draw(st.lists(st.integers(0, 45), min_size=len(before), max_size=len(before)))
    same = rows.have_texts(np.arange(len(before), dtype=np.int32), texts(hashes))
    assert same.tolist() == [row == number for row, number in enumerate(hashes)]
    assert not rows.have_texts(np.full(len(before), -1, np.int32), texts(hashes)).any()


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=30, unique_by=lambda pair: pair[0]))
def test_origins_lead_back_and_forth(pairs: list[tuple[int, bool]]) -> None:
    """Some of 31 products, some of them with another text, and a new one."""
    positions = np.array([*(position for position, _ in pairs), -1], np.int32)
    origins = RowOrigins(positions, np.array([*(same for _, same in pairs), False]))
    expected = {position: row for row, (position, _) in enumerate(pairs)}
    assert origins.now_at(np.arange(31)).tolist() == [expected.get(position, -1) for position in range(31)]
    same = {position: row for row, (position, alike) in enumerate(pairs) if alike}
    now = origins.new_positions(31)
    assert now.tolist() == [same.get(position, -1) for position in range(31)]
    assert origins.kept.tolist() == [position if alike else -1 for position, alike in [*pairs, (-1, False)]]


ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), max_size=20)


@given(ROWS, ROWS)
def test_signatures_count_the_rows_that_only_one_side_has(
    ours: list[tuple[int, ...]], theirs: list[tuple[int, ...]]
) -> None:
    def signed(rows: list[tuple[int, ...]]) -> np.ndarray:
        ids, text, row = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
        return row_signatures(np.array(ids, np.uint64), texts(text), np.array(row, np.uint64))

    one, other = Counter(ours), Counter(theirs)
    assert count_differences(signed(ours), signed(theirs)) == ((one - other) + (other - one)).total()


@pytest.mark.parametrize("which", range(3))
def test_every_hash_of_a_row_counts(which: int) -> None:
    hashes = [np.array([1, 2], np.uint64), texts([1, 2]), np.array([1, 2], np.uint64)]
    other = [array[::-1] if number == which else array for number, array in enumerate(hashes)]
    assert count_differences(row_signatures(*hashes), row_signatures(*other)) == 4
