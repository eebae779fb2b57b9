"""Something about a corpus that its owner should know before training."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.StrEnum):
    """How much it matters; from the worst on."""

    ERROR = "error"
    """Training would learn, or a test would measure, something else than what shoppers do."""
    WARNING = "warning"
    """Results would be worse than they need to be."""
    NOTE = "note"
    """Good to know when reading results."""


@dataclass(frozen=True)
class Finding:
    """A warning in words.

    Attributes:
        severity: how much it matters.
        section: of the report, such as "texts".
        problem: what was seen, with its figure.
        remedy: what to do.
    """

    severity: Severity
    section: str
    problem: str
    remedy: str


def by_severity(findings: list[Finding]) -> tuple[Finding, ...]:
    """The worst first, else in the order given."""
    return tuple(sorted(findings, key=lambda finding: list(Severity).index(finding.severity)))
