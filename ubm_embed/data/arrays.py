"""The types of flat arrays, and how ragged rows are laid end to end and gathered."""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.integer[Any]]
FloatArray: TypeAlias = NDArray[np.float32]
BoolArray: TypeAlias = NDArray[np.bool_]
Float = TypeVar("Float", np.float32, np.float64)

_MIN_LENGTH = np.float32(1e-12)  # as of `torch.nn.functional.normalize`


def offsets_of(lengths: IntArray) -> NDArray[np.int64]:
    """Where rows of these lengths begin and end when laid end to end: [R] -> [R + 1], from 0 to the total."""
    offsets = np.zeros(lengths.size + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def ragged_index(starts: IntArray, lengths: IntArray) -> NDArray[np.int64]:
    """Flat indices of the rows that begin at `starts` [R] and have `lengths` [R]: [sum of lengths].

    `values[ragged_index(starts, lengths)]` is those rows laid end to end.
    """
    offsets = offsets_of(lengths)
    shift = np.asarray(starts, dtype=np.int64) - offsets[:-1]
    return np.repeat(shift, np.diff(offsets)) + np.arange(offsets[-1], dtype=np.int64)


def summed(keys: NDArray[np.int64], values: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """The distinct keys, ascending, each with the sum of its values: [N] each -> [E] each."""
    order = np.argsort(keys, kind="stable")
    return sums_of_runs(keys[order], values[order])


def sums_of_runs(keys: NDArray[np.int64], values: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """As `summed`, of keys that ascend already."""
    firsts = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[firsts], np.add.reduceat(values, firsts) if firsts.size else values


def evenly_spaced(count: int, limit: int) -> IntArray:
    """At most `limit` of the numbers below `count`, evenly spaced."""
    # In whole numbers, which need no `np.unique` to be distinct: that loads `numpy.ma`, a tenth of a query's start.
    points = min(limit, count)
    return np.arange(points, dtype=np.int64) * (count - 1) // max(points - 1, 1)


def finite_rows(vectors: FloatArray) -> FloatArray:
    """Vectors with 0 in place of one that is not finite, which would make every mean and score NaN: [N, D] -> [N, D].

    It is then near to nothing, and still not of length 1.
    """
    finite = np.asarray(np.isfinite(vectors).all(axis=1))
    return vectors if finite.all() else np.where(finite[:, None], vectors, np.float32(0))


def unit_rows(vectors: NDArray[Float]) -> NDArray[Float]:
    """The rows [N, D] divided by their lengths; a row of zeros stays one."""
    unit: NDArray[Float] = vectors / np.maximum(np.sqrt(np.vecdot(vectors, vectors)), _MIN_LENGTH)[:, None]
    return unit
