"""The sources of candidates that a version has besides its vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from indexer.revisions.revised_counts import RevisedCounts
from indexer.search.candidate_source import NO_BONUSES, Bonuses, sum_of
from indexer.search.count_source import CountSource
from indexer.search.ranking import Rules
from indexer.search.resolution import ResolvedSession
from ubm_embed.data.arrays import FloatArray


@dataclass(frozen=True, slots=True)
class Sources:
    """What names candidates; None for what the version lacks, or what was left out when it was opened.

    Attributes:
        counts: what shoppers did next.
    """

    counts: CountSource | None = None

    @classmethod
    def from_version(cls, counts: RevisedCounts | None) -> Self:
        """The sources of a version that has these, under its revision."""
        return cls(None if counts is None else CountSource(counts))

    def of_session(self, rules: Rules, session: ResolvedSession) -> Bonuses:
        """The bonuses of a session, of all sources that the rules want."""
        if session.fallback is not None:
            return NO_BONUSES
        return sum_of([source.bonuses(session.steps) for source in self._wanted(rules)])

    def counted(self, rules: Rules, session: ResolvedSession, positions: Sequence[int]) -> FloatArray | None:
        """How much of the score of each match counts have added for each step of a session: [K, S]; None without."""
        if self.counts is None or not rules.counts:
            return None
        return self.counts.parts(session.steps, positions)

    def _wanted(self, rules: Rules) -> list[CountSource]:
        return [self.counts] if self.counts is not None and rules.counts else []


NO_SOURCES = Sources()
