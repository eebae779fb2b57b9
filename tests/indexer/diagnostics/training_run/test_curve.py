"""A curve in bounded memory keeps its extremes and means."""

from __future__ import annotations

import math

import numpy as np
import pytest

from indexer.diagnostics.training_run.curve import MAX_BUCKETS, MAX_POINTS, Curve

# Sums of thousands of float64 numbers near 1.
ROUNDING = 1e-9


def curve_of(values: list[float]) -> Curve:
    curve = Curve()
    for step, value in enumerate(values, start=1):
        curve.add(step, value)
    return curve


def test_a_short_curve_is_kept_whole() -> None:
    values = [3.0, 1.0, 2.0]
    assert list(curve_of(values).points()) == [(1, 3.0), (2, 1.0), (3, 2.0)]


@pytest.mark.parametrize("count", [MAX_BUCKETS, MAX_BUCKETS + 1, 10_007])
def test_a_long_curve_keeps_spikes_in_few_points(count: int) -> None:
    values = np.random.default_rng(0).normal(1.0, 0.1, count)
    values[count // 3], values[count // 2] = 50.0, -50.0
    points = list(curve_of(values.tolist()).points())
    assert MAX_BUCKETS / 4 < len(points) <= MAX_POINTS
    assert (count // 3 + 1, 50.0) in points
    assert (count // 2 + 1, -50.0) in points
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert all(values[x - 1] == y for x, y in points), "points of the curve, no means"


@pytest.mark.parametrize("count", [10, 250, 5000])
def test_means_of_parts_are_those_of_the_values(count: int) -> None:
    values = np.random.default_rng(1).normal(1.0, 0.1, count)
    curve = curve_of(values.tolist())
    whole = curve.part(0.0, 1.0)
    assert whole.mean == pytest.approx(values.mean(), rel=ROUNDING)
    assert whole.error == pytest.approx(values.std(ddof=1) / math.sqrt(count), rel=1e-6)
    tail = values[-math.ceil(count / 10) :]
    # A part begins with a bucket: at most one in 125 of the values more or less than a tenth.
    assert curve.part(0.9, 1.0).mean == pytest.approx(tail.mean(), abs=4 * tail.std() / math.sqrt(tail.size) + ROUNDING)
    assert (curve.lowest, curve.highest) == (values.min(), values.max())


def test_a_part_has_one_value_at_least() -> None:
    assert curve_of([5.0]).part(0.9, 1.0).mean == 5.0
    assert curve_of([1.0, 5.0]).part(1.0, 1.0).mean == 5.0


def test_values_that_are_not_finite_are_told_apart() -> None:
    curve = curve_of([1.0, math.nan, 3.0, math.inf])
    assert curve.not_finite == 2
    assert list(curve.points()) == [(1, 1.0), (3, 3.0)]
    assert (curve.first, curve.last) == ((1, 1.0), (3, 3.0))
