"""What became of every event of a log: counts by reason, and where the first of each are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

EXAMPLES = 3  # of each reason
_LOOKED_AT = 100_000  # events of a reason, for its examples


@dataclass(frozen=True)
class Example:
    """A row that a count counts.

    Attributes:
        file: that it is in.
        row: from 1; of JSON Lines the line.
        value: that was changed or lost, or what is wrong with an odd record.
    """

    file: str
    row: int
    value: str | None = None


@dataclass(frozen=True)
class IngestReport:
    """How many events became interactions, and why others did not.

    Attributes:
        rows: rows read, by file. A row is an event or, with several products, one event for each of them.
        left_out: why files are not read, by their paths: those without a byte, and those that occur again.
        events: events read: the sum of `interactions`, `taken_back` and `dropped`.
        interactions: interactions written.
        taken_back: adds that a removal from the cart takes back, and these removals.
        dropped: events dropped, by reason.
        changed: values that were read as something else than they are written, by field: ids with blanks around them or
            in the form `17.0`, prices with a currency.
        lost: values that could not be read, and times that are not there, by field: they are missing now.
        sessions: sessions written.
        single_interaction_sessions: those of one interaction.
        products: products written, including those that no session holds.
        products_without_text: products of the catalogue or the log that were not written.
        actions: interactions written, by action.
        catalogues: what was changed, lost or left out in reading the products of a file, in words.
        examples: the first rows of each reason in `dropped`, and of `changed FIELD` and `lost FIELD`.
    """

    rows: Mapping[str, int]
    left_out: Mapping[str, str]
    events: int
    interactions: int
    taken_back: int
    dropped: Mapping[str, int]
    changed: Mapping[str, int]
    lost: Mapping[str, int]
    sessions: int
    single_interaction_sessions: int
    products: int
    products_without_text: int
    actions: Mapping[str, int]
    catalogues: Mapping[str, Sequence[str]]
    examples: Mapping[str, Sequence[Example]]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, for JSON."""
        return asdict(self)


@dataclass
class Tally:
    """Counts while a log is read. An event is known by its `order`, until `examples` looks up its row."""

    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    taken_back: int = 0
    _first: dict[str, dict[int, str | None]] = field(default_factory=dict)

    def drop(self, reason: str, orders: pl.Series) -> None:
        """Count events as dropped."""
        if not orders.is_empty():
            self.dropped[reason] += orders.len()
            self.show(reason, dict.fromkeys(orders.sort().head(EXAMPLES)))

    def drop_all(self, reason: str, count: int, events: pl.LazyFrame) -> None:
        """Count all these events, of which there are `count`, as dropped."""
        if count:
            self.dropped[reason] += count
            first = events.select("order").sort("order").head(EXAMPLES).collect(engine="streaming")
            self.show(reason, dict.fromkeys(first["order"]))

    def show(self, name: str, values: Mapping[int, str | None]) -> None:
        """Remember the first events, by order, of a count, each with the value to show."""
        merged = self._first.get(name, {}) | dict(values)
        self._first[name] = {order: merged[order] for order in sorted(merged)[:EXAMPLES]}

    def examples(self, read: pl.LazyFrame, files: Sequence[Path]) -> dict[str, list[Example]]:
        """Where the first events of each count are.

        Args:
            read: order, file (an index of `files`), row and problem.
        """
        orders = {order for first in self._first.values() for order in first}
        rows = read.filter(pl.col("order").is_in(sorted(orders))).select("order", "file", "row", "problem")
        found = rows.collect(engine="streaming")
        places = {order: (str(files[file]), row, problem) for order, file, row, problem in found.iter_rows()}
        return {
            name: [
                Example(*places[order][:2], places[order][2] if value is None else value)
                for order, value in first.items()
            ]
            for name, first in self._first.items()
        }


def count_dropped(events: pl.LazyFrame, tally: Tally) -> None:
    """Count the events that have a reason in `dropped`."""
    counts = events.group_by("dropped").len().drop_nulls("dropped").collect(engine="streaming")
    for reason, count in counts.sort("dropped").iter_rows():
        tally.drop_all(reason, count, _of_each_kind(events.filter(pl.col("dropped") == reason)))


def _of_each_kind(events: pl.LazyFrame) -> pl.LazyFrame:
    """The first events, those with a problem that an earlier one has only if there are no others."""
    some = events.select("order", "problem").head(_LOOKED_AT).sort("order")
    repeats = pl.int_range(pl.len()).over("problem").alias("repeats")
    return some.with_columns(repeats).sort("repeats", "order").head(EXAMPLES)


def rows_by_file(read: pl.LazyFrame, files: Sequence[Path]) -> dict[str, int]:
    """How many rows of each file are among events in their order."""
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in ("file", "row"))
    rows = read.select("file", begins.alias("begins")).group_by("file").agg(pl.col("begins").sum())
    counts = dict(rows.collect(engine="streaming").iter_rows())
    by_file = Counter[str]()
    for number, file in enumerate(files):
        by_file[str(file)] += counts.get(number, 0)
    return dict(by_file)
