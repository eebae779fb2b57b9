"""Conditions that end a command with an error: `uniformity>-1.5,retention<0.6,warning`.

The measured value decides, not its interval: a limit is set by someone who has seen what is usual for the shop.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from indexer.diagnostics.finding import Finding, Severity
from indexer.diagnostics.metric_names import METRIC_NEEDS, met_by
from indexer.diagnostics.report import Diagnosis, Metric

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(>=|<=|>|<)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")
_SEVERITIES = (Severity.ERROR, Severity.WARNING)


@dataclass(frozen=True)
class Threshold:
    """A limit that a metric must not pass.

    Attributes:
        metric: one of `METRIC_NEEDS`.
        operator: of `_OPERATORS`; the condition fires where `value operator limit` holds.
    """

    metric: str
    operator: str
    limit: float

    def fires(self, metric: Metric) -> bool:
        """Whether the metric is past the limit."""
        return _OPERATORS[self.operator](metric.value, self.limit)

    def __str__(self) -> str:
        return f"{self.metric}{self.operator}{self.limit!r}"


@dataclass(frozen=True)
class FailOn:
    """When a diagnosis counts as failed.

    Attributes:
        severity: a finding as bad as this one fails it; None for no matter which findings.
    """

    thresholds: tuple[Threshold, ...] = ()
    severity: Severity | None = None

    @classmethod
    def parse(cls, text: str) -> FailOn:
        """The conditions of a list with commas: `METRIC>LIMIT`, also with `>=`, `<`, `<=`; `warning` or `error`.

        Raises:
            ValueError: names the invalid condition, or the unknown metric.
        """
        parts = [part.strip() for part in text.split(",")]
        severities = [severity for severity in _SEVERITIES if severity in parts]
        thresholds = [_threshold(part) for part in parts if part not in severities]
        return cls(tuple(thresholds), severities[-1] if severities else None)

    def __str__(self) -> str:
        severity = [] if self.severity is None else [str(self.severity)]
        return ",".join([*map(str, self.thresholds), *severity])

    def out_of_reach(self, given: set[str]) -> Iterator[str]:
        """A message for each metric that needs another option than those given."""
        for threshold in self.thresholds:
            unmet = [need for need in METRIC_NEEDS[threshold.metric] if not met_by(need, given)]
            if unmet:
                yield f"{threshold.metric} is measured with {' and '.join(unmet)} only"

    def unmeasured(self, diagnosis: Diagnosis) -> list[str]:
        """The metrics of the thresholds that a diagnosis lacks."""
        measured = diagnosis.metrics
        return [threshold.metric for threshold in self.thresholds if threshold.metric not in measured]

    def failures(self, diagnosis: Diagnosis) -> Iterator[str]:
        """A message for each condition that holds."""
        metrics = diagnosis.metrics
        for threshold in self.thresholds:
            metric = metrics.get(threshold.metric)
            if metric is not None and threshold.fires(metric):
                yield f"{threshold}: {threshold.metric} is {metric.value:.4g}, measured on {metric.measured_on}"
        yield from (f"{finding.severity}: {finding.problem}" for finding in self._bad_findings(diagnosis))

    def _bad_findings(self, diagnosis: Diagnosis) -> Iterable[Finding]:
        if self.severity is None:
            return ()
        ranks = list(Severity)
        limit = ranks.index(self.severity)
        return (finding for finding in diagnosis.findings if ranks.index(finding.severity) <= limit)


def _threshold(part: str) -> Threshold:
    match = _CONDITION.fullmatch(part)
    if match is None:
        words = " or ".join(map(str, _SEVERITIES))
        raise ValueError(f"{part!r} is no condition: expected METRIC>LIMIT, also with >=, < or <=, or {words}")
    name, comparison, limit = match.groups()
    if name not in METRIC_NEEDS:
        similar = difflib.get_close_matches(name, METRIC_NEEDS, 1)
        guess = f"did you mean {similar[0]!r}? " if similar else ""
        raise ValueError(f"unknown metric {name!r}; {guess}known are {', '.join(sorted(METRIC_NEEDS))}")
    if not math.isfinite(float(limit)):
        raise ValueError(f"{part!r} has no finite limit")
    return Threshold(name, comparison, float(limit))
