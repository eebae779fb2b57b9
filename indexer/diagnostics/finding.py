"""What a diagnosis warns of: one fault by its name, with its figure and what to do."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ubm_embed.data.inspection.finding import Severity

__all__ = ["Fault", "Finding", "Severity", "worst_first"]


class Fault(enum.StrEnum):
    """The faults that a diagnosis can name. Their names are part of the JSON."""

    # The space
    INVALID_VECTORS = "invalid-vectors"  # not finite, or not of length 1
    COLLAPSED = "collapsed"  # all vectors are nearly alike
    LOW_RANK = "low-rank"  # they vary in a few directions only
    DUPLICATE_VECTORS = "duplicate-vectors"  # products of different texts share a vector
    HUBS = "hubs"  # a few products are near to everything
    UNREADABLE_TEXTS = "unreadable-texts"  # products of whose words the model knows hardly any
    # A version's parts
    SWAPPED_VECTORS = "swapped-vectors"  # vectors belong to other products
    STALE_VECTORS = "stale-vectors"  # vectors are of earlier texts
    FOREIGN_INDEX = "foreign-index"  # the index holds vectors of another version
    CHANGED_ANSWERS = "changed-answers"  # the model makes other vectors of the same texts than it did
    # Answers
    POPULARITY_ONLY = "popularity-only"  # every session gets the same popular products
    BELOW_POPULARITY = "below-popularity"  # the most popular products would be the better answer
    LOW_RECALL = "low-recall"  # the index misses neighbours, over all or of some products
    OVERCONFIDENT = "overconfident"  # a head's probabilities are too extreme
    BIASED_PROBABILITIES = "biased-probabilities"  # a head's probabilities are too high or too low as a whole
    BIASED_LENGTHS = "biased-lengths"  # remaining lengths are too long or too short
    # Between versions
    MOVED_NEIGHBOURS = "moved-neighbours"  # products have other neighbours than before
    SHIFTED_CATEGORY = "shifted-category"  # one category moved, the rest did not
    SHIFTED_CENTROID = "shifted-centroid"  # everything moved in one direction
    CHANGED_RESULTS = "changed-results"  # sessions get other answers than before
    # A training run
    DIVERGED = "diverged"
    NOT_LEARNING = "not-learning"
    COLLAPSING = "collapsing"
    TOO_FEW_NEGATIVES = "too-few-negatives"


@dataclass(frozen=True)
class Finding:
    """A warning.

    Attributes:
        fault: its name.
        severity: an error means wrong answers, a warning worse ones than need be; a note needs nothing done.
        section: of the report.
        problem: what was seen, with its figure: a clause without a full stop.
        remedy: what to do, with the command to type where there is one.
    """

    fault: Fault
    severity: Severity
    section: str
    problem: str
    remedy: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "fault": str(self.fault),
            "severity": str(self.severity),
            "section": self.section,
            "problem": self.problem,
            "remedy": self.remedy,
        }


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then warnings, then notes; else in the order given."""
    return tuple(sorted(findings, key=lambda finding: list(Severity).index(finding.severity)))
