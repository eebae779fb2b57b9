"""Candidates from words: products that have the words of a search phrase, or of a product that is looked up.

Letters: S steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from indexer.lexical.bm25 import bonuses
from indexer.lexical.words import phrase_words, product_words
from indexer.revisions.revised_words import RevisedWords
from indexer.search.candidate_source import NO_BONUSES, Bonuses
from indexer.search.resolution import Step
from ubm_embed.data.session import Product


class WordSource:
    """As `CandidateSource`: speaks where a session ends in a search, and for a product looked up by its text."""

    def __init__(self, words: RevisedWords) -> None:
        self._words = words

    def bonuses(self, steps: Sequence[Step]) -> Bonuses:
        """As `CandidateSource`.

        Raises:
            InvalidData: the version's words are damaged.
        """
        phrase = steps[-1].interaction.query if steps else None
        return NO_BONUSES if phrase is None else self._of_words([*phrase_words(phrase)])

    def of_product(self, product: Product) -> Bonuses:
        """The products that share words with one.

        Raises:
            InvalidData: the version's words are damaged.
        """
        return self._of_words([*product_words(product)])

    def _of_words(self, words: Sequence[str]) -> Bonuses:
        positions, scores = self._words.candidates(words)
        return Bonuses(positions, bonuses(scores))
