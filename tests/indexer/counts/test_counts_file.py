"""The file of a version's counts: what is written is read, and damage has a name."""

from pathlib import Path

import numpy as np
import pytest

from indexer.counts.counts_file import read_counts, write_counts
from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.counts.transition_counts import TransitionCounts
from ubm_embed.errors import InvalidData

WEIGHTS = CountWeights(by_seen=(0.0, 0.1, 0.2))
SEEN = np.array([3, 0, 1, 2], np.uint8)


def table(neighbours: list[int], values: list[float], offsets: list[int] | None = None) -> TransitionCounts:
    rows = np.array([0, 2, 2, 3, len(neighbours)] if offsets is None else offsets, np.int64)
    return TransitionCounts(rows, np.array(neighbours, np.int32), np.array(values, np.float32))


COUNTS = table([1, 3, 0, 0, 2], [0.5, 2.0, 1.0, 0.25, 4.0])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_counts(tmp_path / "counts.arrow", COUNTS, SEEN, WEIGHTS)
    return tmp_path / "counts.arrow"


def test_what_was_written_is_read_and_outlives_its_file(file: Path) -> None:
    read = read_counts(file, 4)
    file.unlink()
    read.require_valid()
    assert (read.weights, read.seen.tolist()) == (WEIGHTS, SEEN.tolist())
    for name in ("offsets", "neighbours", "values"):
        np.testing.assert_array_equal(getattr(read.transitions, name), getattr(COUNTS, name))
    positions, sums = read.candidates(np.array([0, 3]), np.array([0.5, 1], np.float32))
    assert (positions.tolist(), sums.tolist()) == ([0, 1, 2, 3], [0.25, 0.25, 4.0, 1.0])


def test_counts_of_nothing_are_written_and_read(tmp_path: Path) -> None:
    file = tmp_path / "counts.arrow"
    write_counts(file, table([], [], [0, 0, 0]), np.zeros(2, np.uint8), WEIGHTS)
    read = read_counts(file, 2)
    read.require_valid()
    assert read.candidates(np.array([1]), np.ones(1, np.float32))[0].size == 0


def test_values_beyond_16_bits_are_the_largest_and_the_smallest(tmp_path: Path) -> None:
    write_counts(tmp_path / "c", table([1, 3], [1e9, 1e-12], [0, 2, 2, 2, 2]), SEEN, WEIGHTS)
    read = read_counts(tmp_path / "c", 4)
    read.require_valid()
    assert read.transitions.values[0] == 65504


def test_a_file_that_is_missing_cut_short_or_something_else_is_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="missing"):
        read_counts(tmp_path / "none.arrow", 4)
    with pytest.raises(InvalidData, match="has 4 rows, but the manifest says 5"):
        read_counts(file, 5)
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"something else"):
        (tmp_path / "damaged.arrow").write_bytes(damaged)
        with pytest.raises(InvalidData, match="not a file of counts") as caught:
            read_counts(tmp_path / "damaged.arrow", 4)
        assert str(caught.value).startswith(str(tmp_path / "damaged.arrow"))


@pytest.mark.parametrize(
    ("counts", "problem"),
    [
        (table([1, 3, 0, 0, 4], [1] * 5), r"row 4, field 'transitions.product': damaged: must be a position below 4"),
        (table([1, 3, -1, 0, 2], [1] * 5), r"row 3, field 'transitions.product': damaged: must be a position below 4"),
        (table([3, 1, 0, 0, 2], [1] * 5), r"row 1, field 'transitions.product': damaged: must ascend within a row"),
        (table([1, 3, 0, 0, 2], [1, np.nan, 1, 1, 1]), r"row 1, field 'transitions.value': damaged: must be a finite"),
    ],
)
def test_a_damaged_entry_is_found_by_its_row(tmp_path: Path, counts: TransitionCounts, problem: str) -> None:
    write_counts(tmp_path / "counts.arrow", counts, SEEN, WEIGHTS)
    read = read_counts(tmp_path / "counts.arrow", 4)
    with pytest.raises(InvalidData, match=problem):
        read.require_valid()


def test_a_query_is_not_answered_from_a_damaged_entry(tmp_path: Path) -> None:
    write_counts(tmp_path / "counts.arrow", table([1, 3, 0, 0, 9], [1] * 5), SEEN, WEIGHTS)
    read, weight = read_counts(tmp_path / "counts.arrow", 4), np.ones(1, np.float32)
    assert read.candidates(np.array([0]), weight)[0].tolist() == [1, 3]
    with pytest.raises(InvalidData, match="row 4"):
        read.candidates(np.array([3]), weight)


def test_a_query_is_not_answered_from_a_value_below_0(tmp_path: Path) -> None:
    file, values = tmp_path / "counts.arrow", np.arange(2, 7, dtype=np.float16)
    write_counts(file, table([1, 3, 0, 0, 2], values.tolist()), SEEN, WEIGHTS)
    assert values.tobytes() in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(values.tobytes(), (-values).tobytes()))
    with pytest.raises(InvalidData, match=r"row 1, field 'transitions.value': damaged: must be a finite"):
        read_counts(file, 4).candidates(np.array([0]), np.ones(1, np.float32))


def test_other_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seen must have 4 values, got 3"):
        write_counts(tmp_path / "counts.arrow", COUNTS, SEEN[:3], WEIGHTS)
