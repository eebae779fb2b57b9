"""Sessions of a sample for a map: their vectors, what is in them, and what kind of visit each is.

Letters: S sessions, D width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from indexer.diagnostics.maps.categories import groups_of
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.session import Action
from ubm_embed.inference.embedder import Embedder
from ubm_embed.wording import counted

_MANY_VIEWS = 5
_WORDS = {Action.BUY: "bought", Action.ADD: "put into the cart", Action.SEARCH: "searched"}
_SHOWN = 4  # last interactions of a session that its label holds


@dataclass(frozen=True)
class MappedSessions:
    """S sessions that the model can read, the shortest first.

    Attributes:
        vectors: [S, D], of length 1.
        labels: [S] their last interactions in words.
        categories: [S] the most frequent category of each; None without one.
        behaviours: [S] the kind of each visit: what it came to, or how much was looked at.
        lengths: [S] the quarter of each session by its length.
    """

    vectors: FloatArray
    labels: Sequence[str]
    categories: Sequence[str | None]
    behaviours: Sequence[str]
    lengths: Sequence[str]

    def groups(self) -> dict[str, Sequence[str | None]]:
        """What sessions are told apart by, where there is more than one group."""
        found = {"category": self.categories, "behaviour": self.behaviours, "length": self.lengths}
        return {name: groups for name, groups in found.items() if len({*groups} - {None}) > 1}

    @classmethod
    def read(cls, corpus: Corpus, embedder: Embedder, count: int, seed: int) -> MappedSessions:
        """At most `count` sessions of a corpus, drawn at random."""
        ids = corpus.interactions["session_id"].unique(maintain_order=True)
        if ids.len() > count:
            ids = ids[np.sort(np.random.default_rng([seed, 6]).choice(ids.len(), count, replace=False))]
        chosen = corpus.select_sessions(ids)
        tokenized = TokenizedCorpus.from_corpus(chosen, embedder.tokenizer)
        # A session of which the model knows no interaction has no vector.
        readable = np.flatnonzero(tokenized.sessions.lengths)
        readable = readable[np.argsort(tokenized.sessions.lengths[readable], kind="stable")]
        vectors = embedder.embed_table(tokenized.texts, tokenized.sessions.take(readable))
        facts = _described(chosen)[readable]
        return cls(
            vectors,
            labels=facts["label"].to_list(),
            categories=groups_of(facts["category"].to_list()),
            behaviours=[_behaviour(actions) for actions in facts["actions"].to_list()],
            lengths=_length_groups([len(actions) for actions in facts["actions"].to_list()]),
        )


def _described(corpus: Corpus) -> pl.DataFrame:
    """label, category, actions of each session, in the corpus's order."""
    products = corpus.products.select("product_id", "title", "category")
    joined = corpus.interactions.join(products, on="product_id", how="left", maintain_order="left")
    what = pl.coalesce("query", "title", "product_id").fill_null("")
    told = joined.with_columns(said=pl.format("{} {}", "action", what))
    sessions = told.group_by("session_id", maintain_order=True)
    shown = sessions.agg(
        pl.col("said").tail(_SHOWN).str.join(", ").alias("label"),
        pl.col("category").drop_nulls(),
        pl.col("action").alias("actions"),
    )
    categories = [_most_common(values) for values in shown["category"].to_list()]
    return shown.with_columns(category=pl.Series(categories, dtype=pl.String))


def _most_common(values: Sequence[str]) -> str | None:
    return Counter(values).most_common(1)[0][0] if values else None


def _length_groups(lengths: Sequence[int]) -> list[str]:
    """The quarter of each session by its length, the quarters of equal lengths being one: "3 to 7 steps"."""
    values = np.asarray(lengths)
    if not values.size:
        return []
    quarters = np.searchsorted(np.unique(np.quantile(values, [0.25, 0.5, 0.75])), values)
    names = {quarter: _range(values[quarters == quarter]) for quarter in np.unique(quarters).tolist()}
    return [names[quarter] for quarter in quarters.tolist()]


def _range(lengths: IntArray) -> str:
    low, high = int(lengths.min()), int(lengths.max())
    return counted(low, "step") if low == high else f"{low} to {high} steps"


def _behaviour(actions: Sequence[str]) -> str:
    """The furthest that a session came: to a purchase, a full cart, a search; else by its views."""
    furthest = next((words for action, words in _WORDS.items() if action in actions), None)
    return furthest or (f"{_MANY_VIEWS} views or more" if len(actions) >= _MANY_VIEWS else "few views")
