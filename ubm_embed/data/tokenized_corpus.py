"""A corpus ready for the model: every text tokenised once, every session a few small numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, offsets_of
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.session import ACTIONS
from ubm_embed.data.session_table import SessionTable
from ubm_embed.data.timestamps import as_timestamp
from ubm_embed.data.token_table import TokenTable
from ubm_embed.data.tokenizer import InteractionTokenizer


@dataclass(frozen=True)
class TokenizedCorpus:
    """M product texts, then the P different search phrases, and the sessions over them.

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
    def of(cls, corpus: Corpus, tokenizer: InteractionTokenizer) -> TokenizedCorpus:
        """Tokenise a corpus."""
        frame, phrases = _text_rows(corpus)
        sessions = frame.group_by("session_id", maintain_order=True).len()
        table = SessionTable(
            frame["action"].to_numpy().astype(np.uint8),
            frame["row"].to_numpy().astype(np.int32),
            offsets_of(sessions["len"].to_numpy().astype(np.int64)),
        )
        texts = TokenTable.concatenate([tokenizer.product_texts(corpus.products), tokenizer.search_phrases(phrases)])
        return cls(texts, corpus.products.height, table, sessions["session_id"].to_numpy(), _starts(corpus))

    @property
    def is_product(self) -> BoolArray:
        """[M + P] which texts are products."""
        return np.arange(len(self.texts)) < self.products

    def fingerprint(self) -> str:
        """Names this data: counts, for people, and a hash of it."""
        texts, sessions = self.texts, self.sessions
        digest = hashlib.sha256("\n".join(map(str, self.session_ids)).encode())
        for array in (texts.ids, texts.offsets, sessions.actions, sessions.rows, sessions.offsets, self.starts):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
        counts = f"{len(texts)} texts, {len(sessions)} sessions, {sessions.rows.size} interactions"
        return f"{counts}, {digest.hexdigest()[:16]}"


def _text_rows(corpus: Corpus) -> tuple[pl.DataFrame, list[str]]:
    """Interactions as (session_id, action code, text row), and the different search phrases."""
    interactions = corpus.interactions
    phrases = interactions.filter(pl.col("action") == "search")["query"].unique(maintain_order=True)
    products = corpus.products.select("product_id").with_row_index("product_row")
    searches = pl.DataFrame({"query": phrases}).with_row_index("phrase_row", offset=products.height)
    frame = interactions.join(products, on="product_id", how="left", maintain_order="left")
    frame = frame.join(searches, on="query", how="left", maintain_order="left")
    row = pl.when(pl.col("action") == "search").then("phrase_row").otherwise("product_row")
    codes = pl.col("action").replace_strict({str(action): action.code for action in ACTIONS}, return_dtype=pl.UInt8)
    return frame.select("session_id", codes.alias("action"), row.alias("row")), phrases.to_list()


def _starts(corpus: Corpus) -> NDArray[np.int64] | None:
    """When each session began, sessions in order of first occurrence; None unless all of them say."""
    interactions = corpus.interactions
    if "timestamp" not in interactions.columns:
        return None
    times = as_timestamp(pl.col("timestamp"), interactions.schema["timestamp"])
    starts = interactions.group_by("session_id", maintain_order=True).agg(times.min().dt.epoch("us").alias("start"))
    return None if starts["start"].null_count() else starts["start"].to_numpy().astype(np.int64)


def held_out(session_ids: NDArray[np.object_], share: float) -> BoolArray:
    """[S] which sessions are held out of training: about `share` of them.

    By a hash of the id, so that a session stays on its side while the corpus grows, and training and evaluation agree
    without a file between them.
    """
    limit = int(share * 2**64)
    hashes = (hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in session_ids)
    return np.fromiter((int.from_bytes(digest, "big") < limit for digest in hashes), dtype=bool, count=session_ids.size)
