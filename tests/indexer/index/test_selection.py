"""A selection says the same in all its forms."""

import numpy as np
import pytest

from indexer.index.selection import Selection

MASKS = [np.arange(21) % 4 == 1, np.zeros(21, bool), np.ones(8, bool), np.zeros(0, bool)]


@pytest.mark.parametrize("mask", MASKS)
def test_its_forms_agree(mask: np.ndarray) -> None:
    selection = Selection(mask)
    assert (len(selection), selection.count) == (mask.size, mask.sum())
    assert selection.positions.tolist() == np.flatnonzero(mask).tolist()
    bits = [bool(selection.bitmap[at // 8] >> (at % 8) & 1) for at in range(mask.size)]
    assert bits == mask.tolist()
    taken = selection.mask.nbytes + selection.bitmap.nbytes + selection.positions.nbytes
    assert taken <= selection.nbytes + 1  # the last bits take a byte


@pytest.mark.parametrize("positions", [[], [3], [5, 1, 5]])
def test_positions_may_repeat_and_be_in_any_order(positions: list[int]) -> None:
    selection = Selection.from_positions(np.array(positions, np.int64), 7)
    assert selection.positions.tolist() == sorted(set(positions))


def test_without_leaves_the_selection_as_it_is() -> None:
    selection = Selection(MASKS[0])
    assert selection.without(np.array([1, 2])).positions.tolist() == [5, 9, 13, 17]
    assert selection.positions.tolist() == [1, 5, 9, 13, 17]
