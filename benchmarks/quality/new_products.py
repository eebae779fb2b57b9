"""Products that a shop adds after training its model: part of a catalogue, kept out of all training data.

Letters: M products, E questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from ubm_embed.data.arrays import BoolArray, FloatArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.data.tasks.next_item_examples import next_item_examples
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.evaluation.baselines import Scorer


@dataclass(frozen=True)
class NewProducts:
    """A shop, and which of its products are new.

    Attributes:
        shop: with the new products and the interactions with them.
        new: [M] which products are new.
    """

    shop: Corpus
    new: BoolArray

    @classmethod
    def draw(cls, shop: Corpus, share: float, seed: int) -> Self:
        """Draw this share of the products at random.

        Raises:
            ValueError: the share is not between 0 and 1.
        """
        if not 0 < share < 1:
            raise ValueError(f"the share of new products must be between 0 and 1, got {share:g}")
        products = shop.products.height
        new = np.zeros(products, dtype=bool)
        new[np.random.default_rng([seed, 11]).permutation(products)[: round(share * products)]] = True
        return cls(shop, new)

    def before(self) -> Corpus:
        """The shop without the new products and without interactions with them.

        Interactions are removed and not whole sessions: with a fifth of the products new, hardly any session of ten
        products would be left. So a session may contain the search that led to a new product.
        """
        return Corpus(self.shop.products.filter(~self.new), self._interactions_before())

    def training(self, split: Split, tokenizer: InteractionTokenizer) -> SessionTable:
        """The training sessions of `before`, over the product rows of the whole shop."""
        corpus = Corpus(self.shop.products, self._interactions_before())
        return split.parts(TokenizedCorpus.from_corpus(corpus, tokenizer)).training

    def _interactions_before(self) -> pl.DataFrame:
        new = self.shop.products["product_id"].filter(pl.Series(self.new))
        is_new = pl.col("product_id").is_in(new.implode()).fill_null(value=False)
        return self.shop.interactions.filter(~is_new)


def questions_about(
    targets: BoolArray, corpus: TokenizedCorpus, split: Split, *, max_questions: int, seed: int
) -> TaskExamples:
    """Up to one question from each test session, with one of the `targets` [M] as its answer.

    The prefix may contain new products too, as a live session does.
    """
    answers = np.zeros(len(corpus.texts), dtype=bool)
    answers[: corpus.products] = targets
    rng = np.random.default_rng([seed, 12])
    examples = next_item_examples(split.parts(corpus).test, corpus.is_product, rng, max_per_session=1, allowed=answers)
    return examples.take(np.sort(rng.permutation(len(examples))[:max_questions]))


@dataclass(frozen=True)
class CandidateFilter:
    """Another scorer, with only some of the products as candidates.

    Attributes:
        candidates: [M] which products.
    """

    scorer: Scorer
    candidates: BoolArray

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """As `Scorer`: [E, M], minus infinity for all other products."""
        scores: FloatArray = np.where(self.candidates, self.scorer.scores(prefixes), np.float32(-np.inf))
        return scores
