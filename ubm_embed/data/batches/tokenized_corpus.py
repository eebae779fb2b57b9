"""A corpus in tokens: every text tokenised once, every session as a few small numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, offsets_of
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.session import ACTIONS
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer


@dataclass(frozen=True)
class TokenizedCorpus:
    """M product texts, then the P distinct search phrases, and the sessions over them.

    Attributes:
        texts: [M + P] rows.
        products: M; row m is product m of the corpus.
        sessions: S sessions.
        session_ids: [S] their ids.
        starts: [S] int64, when each began, microseconds since 1970; None where a session has no timestamp.
    """

    texts: TokenTable
    products: int
    sessions: SessionTable
    session_ids: NDArray[np.object_]
    starts: NDArray[np.int64] | None = None

    @classmethod
    def from_corpus(cls, corpus: Corpus, tokenizer: InteractionTokenizer) -> TokenizedCorpus:
        """Tokenise a corpus.

        Without a token for removals from the cart, the adds are taken back: that may leave a session empty.
        """
        frame, phrases = _text_rows(corpus)
        times = corpus.session_times()
        table = SessionTable(
            frame["action"].to_numpy(writable=True),
            frame["row"].to_numpy(writable=True),
            offsets_of(times.lengths),
        )
        texts = TokenTable.concatenate([tokenizer.product_texts(corpus.products), tokenizer.search_phrases(phrases)])
        if not tokenizer.reads_removals:
            table = table.take_back()
        return cls(texts, corpus.products.height, table, times.session_ids, times.starts)

    @property
    def is_product(self) -> BoolArray:
        """[M + P] which texts are products."""
        return np.arange(len(self.texts)) < self.products

    def fingerprint(self) -> str:
        """Identifies this data: counts, for people, and a hash of it."""
        texts, sessions = self.texts, self.sessions
        digest = hashlib.sha256("\n".join(map(str, self.session_ids)).encode())
        for array in (texts.ids, texts.offsets, sessions.actions, sessions.rows, sessions.offsets, self.starts):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
        counts = f"{len(texts)} texts, {len(sessions)} sessions, {sessions.rows.size} interactions"
        return f"{counts}, {digest.hexdigest()[:16]}"


def _text_rows(corpus: Corpus) -> tuple[pl.DataFrame, pl.Series]:
    """Interactions as (action code, text row), and the distinct search phrases."""
    interactions = corpus.interactions
    phrases = interactions.filter(pl.col("action") == "search")["query"].unique(maintain_order=True)
    rows = [
        interactions.select(name).join(texts, on=name, how="left", maintain_order="left")["row"]
        for name, texts in (
            ("query", _numbered(phrases, corpus.products.height)),
            ("product_id", _numbered(corpus.products["product_id"], 0)),
        )
    ]
    codes = pl.col("action").replace_strict({str(action): action.code for action in ACTIONS}, return_dtype=pl.UInt8)
    row = pl.when(pl.col("action") == "search").then(rows[0]).otherwise(rows[1])
    return interactions.select(codes.alias("action"), row.alias("row")), phrases


def _numbered(texts: pl.Series, first: int) -> pl.DataFrame:
    return texts.to_frame().with_columns(pl.int_range(first, first + texts.len(), dtype=pl.Int32).alias("row"))
