"""A corpus in numbers: which product, action and moment each interaction has. Texts are not read.

Letters: S sessions, I interactions of all sessions end to end, M products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, offsets_of
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.session import ACTIONS
from ubm_embed.data.tables.timestamps import as_timestamp
from ubm_embed.data.text.token_table import TokenTable


@dataclass(frozen=True)
class NumberedCorpus:
    """Sessions over the rows of the catalogue.

    Attributes:
        sessions: S sessions; row m is product m of the corpus, row M any search phrase.
        session_ids: [S] their ids.
        starts: [S] int64, when each began, microseconds since 1970; None where a session has no timestamp.
        times: [I] microseconds since 1970.
        timed: [I] whether an interaction has a timestamp; `times` is 0 where not.
        products: M.
    """

    sessions: SessionTable
    session_ids: NDArray[np.object_]
    starts: NDArray[np.int64] | None
    times: NDArray[np.int64]
    timed: BoolArray
    products: int

    @classmethod
    def from_corpus(cls, corpus: Corpus) -> NumberedCorpus:
        """Number the interactions of a corpus."""
        interactions = corpus.interactions
        numbers = corpus.products.select("product_id").with_columns(pl.int_range(pl.len(), dtype=pl.Int32).alias("row"))
        products = interactions.select("product_id").join(numbers, on="product_id", how="left", maintain_order="left")
        actions = {str(action): action.code for action in ACTIONS}
        is_search = interactions["action"] == "search"
        rows = products["row"].set(is_search, corpus.products.height).to_numpy(writable=True)
        codes = interactions["action"].replace_strict(actions, return_dtype=pl.UInt8).to_numpy(writable=True)
        of_session = corpus.session_times()
        table = SessionTable(codes, rows, offsets_of(of_session.lengths))
        times, timed = _times(interactions)
        return cls(table, of_session.session_ids, of_session.starts, times, timed, corpus.products.height)

    @property
    def is_product(self) -> BoolArray:
        """[I] whether an interaction is with a product, not a search."""
        return self.sessions.rows < self.products

    def without_texts(self) -> TokenizedCorpus:
        """What a split and its tasks look at: the sessions, over texts that are all empty."""
        texts = TokenTable(np.zeros(0, np.int32), np.zeros(self.products + 2, np.int64))
        return TokenizedCorpus(texts, self.products, self.sessions, self.session_ids, self.starts)


def _times(interactions: pl.DataFrame) -> tuple[NDArray[np.int64], BoolArray]:
    if "timestamp" not in interactions.columns:
        return np.zeros(interactions.height, np.int64), np.zeros(interactions.height, dtype=bool)
    moment = as_timestamp(pl.col("timestamp"), interactions.schema["timestamp"])
    times = interactions.select(moment.dt.epoch("us").alias("time"))["time"]
    return times.fill_null(0).to_numpy(), times.is_not_null().to_numpy()
