"""Products that a shop takes up after its model was trained: some of a catalogue, kept out of all that training reads.

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
from ubm_embed.data.tasks.examples import TaskExamples, next_item_examples
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.evaluation.baselines import Scorer


@dataclass(frozen=True)
class NewProducts:
    """A shop, and which of its products are new.

    Attributes:
        shop: with the new products, and with what was done to them.
        new: [M] of its products.
    """

    shop: Corpus
    new: BoolArray

    @classmethod
    def draw(cls, shop: Corpus, share: float, seed: int) -> Self:
        """A share of the products, at random.

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
        """The shop as it was: neither the new products nor an interaction with one of them.

        Interactions go, not the sessions they stand in: with a fifth of the products new, hardly a session of ten
        products would be left. So a session may hold the search that led to a product, and not the product.
        """
        return Corpus(self.shop.products.filter(~self.new), self._interactions_before())

    def training(self, split: Split, tokenizer: InteractionTokenizer) -> SessionTable:
        """The sessions of `before` that training may read, over the rows of all of today's products."""
        corpus = Corpus(self.shop.products, self._interactions_before())
        return split.parts(TokenizedCorpus.from_corpus(corpus, tokenizer)).training

    def _interactions_before(self) -> pl.DataFrame:
        new = self.shop.products["product_id"].filter(pl.Series(self.new))
        is_new = pl.col("product_id").is_in(new.implode()).fill_null(value=False)
        return self.shop.interactions.filter(~is_new)


def questions_about(wanted: BoolArray, corpus: TokenizedCorpus, split: Split, *, most: int, seed: int) -> TaskExamples:
    """At most one question of each session of the test part, whose answer is one of the wanted products ([M]).

    What comes before the answer may hold new products too, as a live session does.
    """
    answers = np.zeros(len(corpus.texts), dtype=bool)
    answers[: corpus.products] = wanted
    rng = np.random.default_rng([seed, 12])
    examples = next_item_examples(split.parts(corpus).test, corpus.is_product, rng, max_per_session=1, allowed=answers)
    return examples.take(np.sort(rng.permutation(len(examples))[:most]))


@dataclass(frozen=True)
class Among:
    """Another scorer, asked for some of the products alone.

    Attributes:
        candidates: [M] which.
    """

    scorer: Scorer
    candidates: BoolArray

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """[E, M], minus infinity for the rest."""
        scores: FloatArray = np.where(self.candidates, self.scorer.scores(prefixes), np.float32(-np.inf))
        return scores
