"""Sessions of a corpus that a diagnosis reads, and how often each product is chosen in all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from ubm_embed.data.arrays import BoolArray, IntArray
from ubm_embed.data.corpus import Corpus, SessionTimes
from ubm_embed.errors import InvalidData
from ubm_embed.evaluation.unseen import UnseenSessions, unseen_sessions
from ubm_embed.model.folder import ModelFolder

# Of fewer sessions a share such as hit@10 has an interval of more than 0.36 from end to end (1.96 sqrt(1/4/30) on
# either side), which tells nothing.
MIN_UNSEEN = 30


@dataclass(frozen=True)
class SessionSample:
    """Some sessions of a corpus.

    Attributes:
        corpus: these sessions, and the products that occur in them.
        counts: product_id, count, sessions: interactions with each product, and sessions that hold it, of those
            sessions that training may have read; of all the others if these are not known, or there are none.
        total: sessions of the whole corpus.
        rule: which sessions were drawn from, in words.
        unseen: whether training has read none of them. If not, hit@10 is flattered.
        counted: sessions that `counts` was taken from.
    """

    corpus: Corpus
    counts: pl.DataFrame
    total: int
    rule: str = "all sessions"
    unseen: bool = False
    counted: int = 0

    @classmethod
    def draw(
        cls, corpus: Corpus, count: int, seed: int, model: ModelFolder | None = None, *, min_interactions: int = 2
    ) -> Self:
        """At most `count` sessions of `min_interactions` or more, drawn at random.

        Args:
            model: sessions that its training has read are left out, if its record tells which these are and enough
                others are left.
        """
        sessions = corpus.session_times()
        long_enough = sessions.lengths >= min_interactions
        unseen, rule = _unseen(corpus, sessions, model)
        if unseen is not None and (unseen.mask & long_enough).sum() < MIN_UNSEEN:
            number = f"only {int((unseen.mask & long_enough).sum()):,} sessions have not been read by training"
            unseen, rule = None, f"all sessions, as {number}"
        drawn_from = np.flatnonzero(long_enough if unseen is None else long_enough & unseen.mask)
        drawn = np.sort(np.random.default_rng([seed, 5]).permutation(drawn_from)[:count])
        counted = np.ones(sessions.lengths.size, dtype=bool)
        if unseen is not None and not unseen.last_only and not unseen.mask.all():
            counted = ~unseen.mask
        counted[drawn] = False
        return cls(
            _part(corpus, sessions, drawn),
            _counts(corpus, sessions, counted),
            sessions.lengths.size,
            rule,
            unseen is not None,
            int(counted.sum()),
        )


def _unseen(corpus: Corpus, sessions: SessionTimes, model: ModelFolder | None) -> tuple[UnseenSessions | None, str]:
    if model is None:
        return None, "all sessions, as it is not known which training has read"
    try:
        unseen = unseen_sessions(model, sessions)
    except InvalidData as error:
        return None, f"all sessions, as it is not known which training has read: {error.problem}"
    if unseen.last_only:
        unseen = UnseenSessions(_ends_with_a_new_product(corpus, sessions), unseen.rule, True)
    return unseen, unseen.rule


def _ends_with_a_new_product(corpus: Corpus, sessions: SessionTimes) -> BoolArray:
    """[S] whether the last interaction of a session of three or more is the first with its product."""
    grouped = corpus.interactions.group_by("session_id", maintain_order=True)
    last = pl.col("product_id").last()
    new: BoolArray = (
        grouped.agg(new=last.is_not_null() & ((pl.col("product_id") == last).sum() == 1))["new"]
        .fill_null(value=False)
        .to_numpy()
    )
    return new & (sessions.lengths >= 3)


def _part(corpus: Corpus, sessions: SessionTimes, drawn: IntArray) -> Corpus:
    """Sessions at these indices, with the products that occur in them."""
    ids = pl.Series("session_id", sessions.session_ids[drawn], dtype=pl.String)
    interactions = corpus.select_sessions(ids).interactions
    used = interactions["product_id"].drop_nulls().unique()
    return Corpus(corpus.products.filter(pl.col("product_id").is_in(used.implode())), interactions)


def _counts(corpus: Corpus, sessions: SessionTimes, counted: BoolArray) -> pl.DataFrame:
    # Sessions lie one after the other, in the order of `sessions`.
    interactions = corpus.interactions.filter(pl.Series(np.repeat(counted, sessions.lengths)))
    sessions_of = pl.col("session_id").n_unique().alias("sessions")
    return interactions.drop_nulls("product_id").group_by("product_id").agg(pl.len().alias("count"), sessions_of)
