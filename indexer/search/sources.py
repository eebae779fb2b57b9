"""The sources of candidates that a version has besides its vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from indexer.revisions.revised_counts import RevisedCounts
from indexer.revisions.revised_words import RevisedWords
from indexer.search.candidate_source import NO_BONUSES, Bonuses, sum_of
from indexer.search.count_source import CountSource
from indexer.search.ranking import Rules
from indexer.search.resolution import ResolvedSession
from indexer.search.word_source import WordSource
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.session import Product


@dataclass(frozen=True, slots=True)
class Sources:
    """What names candidates; None for what the version lacks, or what was left out when it was opened.

    Attributes:
        counts: what shoppers did next.
        words: which products have the words of a search, or of a product that is looked up.
    """

    counts: CountSource | None = None
    words: WordSource | None = None

    @classmethod
    def from_version(cls, counts: RevisedCounts | None, words: RevisedWords | None) -> Self:
        """The sources of a version that has these, under its revision."""
        return cls(None if counts is None else CountSource(counts), None if words is None else WordSource(words))

    def of_session(self, rules: Rules, session: ResolvedSession) -> Bonuses:
        """The bonuses of a session, of all sources that the rules want."""
        parts = list[Bonuses]()
        if self.counts is not None and rules.counts:
            parts.append(self.counts.bonuses(session.steps))
        if self.words is not None and rules.words and session.phrase is not None:
            parts.append(self.words.of_phrase(session.phrase))
        return sum_of(parts)

    def of_product(self, rules: Rules, product: Product) -> Bonuses:
        """The bonuses of a product that is looked up by its text."""
        return NO_BONUSES if self.words is None or not rules.words else self.words.of_product(product)

    def counted(self, rules: Rules, session: ResolvedSession, positions: Sequence[int]) -> FloatArray | None:
        """How much lower each match would score without what followed each step: [K, S]; None without counts."""
        if self.counts is None or not rules.counts:
            return None
        return self.counts.parts(session.steps, positions)


NO_SOURCES = Sources()
