"""A diagnosis: sections of figures, tables and charts, and what they warn of.

Each part of `indexer.diagnostics` returns a `Section`; the command line, the JSON document, the page and `--fail-on`
read nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from indexer.diagnostics.finding import Finding, worst_first

# Of the JSON document; a change that breaks readers raises it.
SCHEMA_VERSION = 1


class Better(enum.StrEnum):
    """Which way a figure improves."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One figure.

    Attributes:
        name: unique in a report and part of the JSON; what `--fail-on` names, such as "uniformity".
        value: finite. A figure that could not be measured is left out.
        interval: 95% of it; None where it was measured on everything, or no interval is known.
        measured_on: in words, such as "2,000 of 1,000,000 products".
        better: which way it improves; None if neither is better.
        meaning: what it is, and what good looks like, in a sentence.
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None
    measured_on: str
    better: Better | None = None
    meaning: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "value": self.value,
            "interval": None if self.interval is None else list(self.interval),
            "measured_on": self.measured_on,
            "better": None if self.better is None else str(self.better),
            "meaning": self.meaning,
        }


@dataclass(frozen=True)
class Table:
    """Rows for people: hubs by name, products that moved.

    Attributes:
        name: unique in its section.
        caption: a sentence.
        columns: their headings, in words.
        rows: plain values, one for each column.
    """

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def without_empty_columns(self) -> Table:
        """The columns that say something, for people: a shop has no categories, an old version no popularity."""
        full = [at for at in range(len(self.columns)) if any(row[at] not in (None, "") for row in self.rows)]
        rows = [[row[at] for at in full] for row in self.rows]
        return Table(self.name, self.caption, [self.columns[at] for at in full], rows) if self.rows else self

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"caption": self.caption, "columns": list(self.columns), "rows": [list(row) for row in self.rows]}


class ChartKind(enum.StrEnum):
    """What a chart shows, and the fields of its rows. Fields in brackets may be missing."""

    PLANE = "plane"  # name, subject, alignment, uniformity, [alignment_low, alignment_high, uniformity_low, ..._high]
    SPECTRUM = "spectrum"  # name, rank (from 1), share of the variance
    HISTOGRAM = "histogram"  # [name], low, high (of the bin), count
    MAP = "map"  # x, y, subject ("product" or "session"), label, [category], [group], [name: of a panel]
    BARS = "bars"  # name, group, value, [low, high, count]
    RELIABILITY = "reliability"  # name, predicted, observed, count, [low, high]
    CURVES = "curves"  # panel, name, x, y
    TIMELINE = "timeline"  # panel, version, created, value, [is_live]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The data of one picture.

    Attributes:
        name: unique in a report; the stem of its PNG's file name.
        title: a sentence or less.
        x, y: titles of the axes, where the kind does not fix them.
        rows: as `kind` says; plain values.
        good: what good looks like.
        remedy: what to do otherwise.
        reference: a line to compare with, on the y axis.
        logarithmic: whether counts of a histogram differ so much that a linear scale would hide the small ones.
    """

    name: str
    kind: ChartKind
    title: str
    rows: Sequence[Mapping[str, Any]]
    good: str
    remedy: str
    x: str = ""
    y: str = ""
    reference: float | None = None
    logarithmic: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """One subject of a report."""

    name: str
    title: str
    metrics: tuple[Metric, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON; charts are not part of it."""
        return {
            "title": self.title,
            "metrics": {metric.name: metric.to_dict() for metric in self.metrics},
            "tables": {table.name: table.to_dict() for table in self.tables},
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A report.

    Attributes:
        subject: what was diagnosed: its kind ("version", "model" or "run") and what identifies it.
        created: UTC, ISO 8601.
        software: the version of ubm-embed.
        notes: which sections are missing, and the option that adds each.
    """

    subject: Mapping[str, Any]
    created: str
    software: str
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of all sections, the worst first."""
        return worst_first(finding for section in self.sections for finding in section.findings)

    @property
    def metrics(self) -> dict[str, Metric]:
        """Of all sections, by name."""
        return {metric.name: metric for section in self.sections for metric in section.metrics}

    def charts(self) -> Iterator[Chart]:
        """Of all sections, in their order."""
        for section in self.sections:
            yield from section.charts

    def to_dict(self) -> dict[str, Any]:
        """For JSON, as docs/diagnosis.schema.json describes it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "subject": dict(self.subject),
            "created": self.created,
            "software": self.software,
            "findings": [finding.to_dict() for finding in self.findings],
            "notes": list(self.notes),
            "sections": {section.name: section.to_dict() for section in self.sections},
        }
