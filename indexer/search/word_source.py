"""Candidates from words: products that have the words of a search phrase, or of a product that is looked up.

Words need no model: a phrase, or a product, of which the model knows no word finds what has the same words.
"""

from __future__ import annotations

from collections.abc import Sequence

from indexer.lexical.bm25 import bonuses
from indexer.lexical.words import phrase_words, product_words
from indexer.revisions.revised_words import RevisedWords
from indexer.search.candidate_source import Bonuses
from ubm_embed.data.session import Product


class WordSource:
    """Bonuses for sharing words: where a session ends in a search, and for a product looked up by its text."""

    def __init__(self, words: RevisedWords) -> None:
        self._words = words

    def of_phrase(self, phrase: str) -> Bonuses:
        """The products that have words of a search phrase.

        Raises:
            InvalidData: the version's words are damaged.
        """
        return self._of_words([*phrase_words(phrase)])

    def of_product(self, product: Product) -> Bonuses:
        """The products that share words with one.

        Raises:
            InvalidData: the version's words are damaged.
        """
        return self._of_words([*product_words(product)])

    def _of_words(self, words: Sequence[str]) -> Bonuses:
        positions, scores = self._words.candidates(words)
        return Bonuses(positions, bonuses(scores))
