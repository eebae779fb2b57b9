"""Products by how often sessions hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ubm_embed.data.inspection.numbered_corpus import NumberedCorpus
from ubm_embed.data.tasks.task import MIN_COUNT

_BANDS = {"never": 0, "once": 1, f"2-{MIN_COUNT - 1}": MIN_COUNT - 1, f"{MIN_COUNT}-19": 19, "20-99": 99}


@dataclass(frozen=True)
class PopularityStatistics:
    """How interactions spread over the catalogue; shares are between 0 and 1.

    Attributes:
        products: products of the catalogue.
        seen: products by the number of their interactions, such as `{"never": 3, "once": 5, ...}`.
        never_share: products that no session holds.
        rare_share: products that sessions hold, but fewer than five times: no targets in training.
        top_share: interactions with the most frequent 1% of the products (at least one product).
    """

    products: int
    seen: Mapping[str, int]
    never_share: float
    rare_share: float
    top_share: float

    @classmethod
    def measure(cls, corpus: NumberedCorpus) -> PopularityStatistics:
        """Count the interactions of each product."""
        counts = np.bincount(corpus.sessions.rows[corpus.is_product], minlength=corpus.products)
        bands = np.bincount(np.searchsorted([*_BANDS.values()], counts), minlength=len(_BANDS) + 1)
        top = np.sort(counts)[::-1][: max(1, corpus.products // 100)]
        return cls(
            products=corpus.products,
            seen=dict(zip([*_BANDS, "100 or more"], map(int, bands), strict=True)),
            never_share=float((counts == 0).mean()),
            rare_share=float(((counts > 0) & (counts < MIN_COUNT)).mean()),
            top_share=float(top.sum() / max(1, counts.sum())),
        )
