"""Products that share a vector: because they share a text, because the model reads their texts alike, or wrongly.

Letters: M products, K pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.diagnostics.estimate import Estimate
from indexer.diagnostics.geometry.read_texts import ReadTexts
from indexer.diagnostics.report import Table
from indexer.diagnostics.space import Space, title_of
from ubm_embed.data.arrays import BoolArray, IntArray
from ubm_embed.evaluation.duplicates import occurs_again, partners
from ubm_embed.evaluation.proportions import wilson_interval

# Pairs of equal vectors whose texts are read; a share of 1% of them is then known to within 1%.
_PAIRS = 500
_ROWS_SHOWN = 10


@dataclass(frozen=True)
class Duplicates:
    """Shares of the products.

    Attributes:
        equal_text: those that have the text of another product; their vectors are equal by design.
        read_alike: those that have another text and the vector of another product, since the model reads the same
            tokens: the difference is cut off, or in words that it does not know.
        wrong: those that have the vector of another product although the model reads other tokens.
        examples: of the wrong ones.
    """

    equal_text: Estimate
    read_alike: Estimate
    wrong: Estimate
    examples: Table

    @classmethod
    def find(cls, space: Space, hashes: NDArray[np.uint64], codes: NDArray[np.uint64], seed: int) -> Duplicates:
        """Compare all vectors and texts by their hashes [M], and read the texts of a sample of equal vectors."""
        total = len(space)
        partner = partners(hashes, codes)
        paired = np.flatnonzero(partner >= 0)
        rows = paired
        if paired.size > _PAIRS:
            rows = np.sort(np.random.default_rng([seed, 10]).choice(paired, _PAIRS, replace=False))
        alike, wrong = _verdicts(space, rows, partner[rows])
        return cls(
            equal_text=Estimate(float(occurs_again(codes).mean()), None, f"{total:,} products"),
            read_alike=_of_all(alike, paired.size, total),
            wrong=_of_all(wrong, paired.size, total),
            examples=_examples(space, rows[wrong], partner[rows][wrong]),
        )


def _verdicts(space: Space, rows: IntArray, others: IntArray) -> tuple[BoolArray, BoolArray]:
    """Which pairs of equal vectors have equal tokens, and which have not: [K] and [K] -> [K] and [K].

    Vectors are compared once more: their hashes can be equal by chance.
    """
    if not rows.size:
        return np.empty(0, bool), np.empty(0, bool)
    equal = (space.vectors(rows) == space.vectors(others)).all(axis=1)
    tokens, other_tokens = ReadTexts.of_rows(space, rows).tokens, ReadTexts.of_rows(space, others).tokens
    same = [np.array_equal(tokens.row(pair), other_tokens.row(pair)) for pair in range(rows.size)]
    return equal & np.array(same), equal & ~np.array(same)


def _of_all(found: BoolArray, paired: int, total: int) -> Estimate:
    """The share of all products, from which of the examined pairs have something."""
    if found.size == paired:
        return Estimate(float(found.sum()) / total, None, f"{total:,} products")
    low, high = wilson_interval(int(found.sum()), found.size)
    scale = paired / total
    where = f"{total:,} products, and the texts of {found.size:,} of the {paired:,} with equal vectors"
    return Estimate(float(found.mean()) * scale, (low * scale, high * scale), where)


def _examples(space: Space, rows: IntArray, others: IntArray) -> Table:
    shown = slice(_ROWS_SHOWN)
    pairs = zip(space.products(rows[shown]), space.products(others[shown]), strict=True)
    return Table(
        "duplicate_vectors",
        "Products with one vector although the model reads different texts.",
        ("product", "title", "has the vector of", "title of that"),
        [(one.product_id, title_of(one), other.product_id, title_of(other)) for one, other in pairs],
    )
