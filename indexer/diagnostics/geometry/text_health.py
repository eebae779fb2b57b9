"""What the model sees of products' texts, and the lengths of what it makes of them before they are normalised.

Letters: K products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.diagnostics.estimate import Estimate
from indexer.diagnostics.geometry.read_texts import ReadTexts
from indexer.diagnostics.report import Table
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import Space, sample_rows, title_of
from ubm_embed.data.arrays import BoolArray

_ROWS_SHOWN = 10


@dataclass(frozen=True)
class TextHealth:
    """Of a sample of products.

    Attributes:
        without_text: share without words, or with most of them unknown to the model.
        cut: share of which the model reads only the beginning.
        unreadable: some of those.
        norms: lengths of h' of products that are read again, [K].
    """

    without_text: Estimate
    cut: Estimate
    unreadable: Table
    norms: NDArray[np.float64]

    @classmethod
    def measure(cls, space: Space, settings: DiagnosisSettings) -> TextHealth:
        """Tokenise a sample of products, and read fewer."""
        texts = ReadTexts.of_rows(space, sample_rows(space, settings.sample, settings.seed))
        read = ReadTexts.of_rows(space, sample_rows(space, settings.texts, settings.seed))
        wordless = texts.is_unreadable
        return cls(
            without_text=_share(wordless, len(space)),
            cut=_share(texts.is_cut, len(space)),
            unreadable=_unreadable(texts, wordless),
            norms=np.linalg.norm(space.embedder.encode_texts(read.tokens).astype(np.float64), axis=1),
        )


def _share(found: BoolArray, total: int) -> Estimate:
    return Estimate.share(int(found.sum()), found.size, total, f"{found.size:,} of {total:,} products")


def _unreadable(texts: ReadTexts, wordless: BoolArray) -> Table:
    products = [texts.products[row] for row in np.flatnonzero(wordless)[:_ROWS_SHOWN]]
    return Table(
        "unreadable_texts",
        "Products without words, or with most of them unknown to the model.",
        ("product", "title"),
        [(product.product_id, title_of(product)) for product in products],
    )
