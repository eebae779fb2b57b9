"""A curve of any length in bounded memory: its extremes, and the means of its parts.

Neighbouring points share a bucket, which keeps its lowest and highest point, so that no spike is lost: M4 without its
first and last points (Jugel et al. 2014, "M4: A Visualization-Oriented Time Series Data Aggregation", section 4). Once
there are too many buckets, each two become one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MAX_BUCKETS = 250
MAX_POINTS = 2 * MAX_BUCKETS


class Point(NamedTuple):
    """A value at a step."""

    x: int
    y: float


class Average(NamedTuple):
    """The mean of some values, and its standard error as if they were independent."""

    mean: float
    error: float


@dataclass
class _Bucket:
    count: int
    total: float
    squares: float
    low: Point
    high: Point

    def add(self, point: Point) -> None:
        y = point.y
        self.count += 1
        self.total += y
        self.squares += y * y
        if y < self.low.y:
            self.low = point
        if y > self.high.y:
            self.high = point

    def merge(self, other: _Bucket) -> None:
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.low = min(self.low, other.low, key=lambda point: point.y)
        self.high = max(self.high, other.high, key=lambda point: point.y)


class Curve:
    """The values of one figure by step, added in order.

    Attributes:
        count: finite values.
        first, last: of them.
        not_finite: the step of the first value that is not finite, if any.
    """

    def __init__(self) -> None:
        self._buckets: list[_Bucket] = []
        self._width = 1
        self.count = 0
        self.first = self.last = Point(0, math.nan)
        self.not_finite: int | None = None

    def add(self, x: int, y: float) -> None:
        """Add the value at step `x`."""
        if not math.isfinite(y):
            self.not_finite = x if self.not_finite is None else self.not_finite
            return
        self.last = Point(x, y)
        self.first = self.last if not self.count else self.first
        self.count += 1
        if self._buckets and self._buckets[-1].count < self._width:
            self._buckets[-1].add(self.last)
            return
        self._buckets.append(_Bucket(1, y, y * y, self.last, self.last))
        if len(self._buckets) > MAX_BUCKETS:
            self._halve()

    def _halve(self) -> None:
        for left, right in zip(self._buckets[::2], self._buckets[1::2], strict=False):
            left.merge(right)
        self._buckets, self._width = self._buckets[::2], 2 * self._width

    def points(self) -> Iterator[Point]:
        """At most `MAX_POINTS` points, in order, with all extremes."""
        for bucket in self._buckets:
            yield from sorted({bucket.low, bucket.high})

    @property
    def lowest(self) -> float:
        """The lowest value."""
        return min(bucket.low.y for bucket in self._buckets)

    @property
    def highest(self) -> float:
        """The highest value."""
        return max(bucket.high.y for bucket in self._buckets)

    def part(self, begin: float, end: float) -> Average:
        """Of the values between two fractions of the curve: of one bucket at least."""
        first = min(math.floor(begin * len(self._buckets)), len(self._buckets) - 1)
        chosen = self._buckets[first : max(first + 1, math.ceil(end * len(self._buckets)))]
        count = sum(bucket.count for bucket in chosen)
        mean = sum(bucket.total for bucket in chosen) / count
        variance = max(0.0, sum(bucket.squares for bucket in chosen) / count - mean * mean)
        return Average(mean, math.sqrt(variance / max(1, count - 1)))

    def means(self) -> list[float]:
        """The mean of each bucket."""
        return [bucket.total / bucket.count for bucket in self._buckets]
