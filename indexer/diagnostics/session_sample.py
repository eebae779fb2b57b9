"""Sessions of a corpus that a diagnosis reads, and how often each product is chosen in all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from ubm_embed.data.corpus import Corpus


@dataclass(frozen=True)
class SessionSample:
    """Some sessions of a corpus.

    Attributes:
        corpus: these sessions, and the products that occur in them.
        counts: product_id, count: interactions with each product in the other sessions.
        total: sessions of the whole corpus.
    """

    corpus: Corpus
    counts: pl.DataFrame
    total: int

    @classmethod
    def draw(cls, corpus: Corpus, count: int, seed: int) -> Self:
        """At most `count` sessions of two or more interactions, drawn at random."""
        interactions = corpus.interactions
        lengths = interactions.group_by("session_id", maintain_order=True).len()
        ids = lengths.filter(pl.col("len") > 1)["session_id"]
        if ids.len() > count:
            ids = ids[np.sort(np.random.default_rng([seed, 5]).choice(ids.len(), count, replace=False))]
        chosen = corpus.select_sessions(ids)
        used = chosen.interactions["product_id"].drop_nulls().unique()
        rest = interactions.filter(~pl.col("session_id").is_in(ids.implode()) & pl.col("product_id").is_not_null())
        products = corpus.products.filter(pl.col("product_id").is_in(used.implode()))
        return cls(Corpus(products, chosen.interactions), rest.group_by("product_id").len("count"), lengths.height)
