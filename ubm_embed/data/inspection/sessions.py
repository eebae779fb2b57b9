"""Sessions: how many, how long, of which actions, and how often shoppers come back to a product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.batches.session_table import MAX_INTERACTIONS
from ubm_embed.data.inspection.numbered_corpus import NumberedCorpus
from ubm_embed.data.session import ACTIONS

# Upper ends of the bands of lengths; what lies above the last is more than the model reads.
_BANDS = (1, 2, 5, 10, 20, MAX_INTERACTIONS)
_QUANTILES = (10, 50, 90, 99, 100)


@dataclass(frozen=True)
class SessionStatistics:
    """Counts of sessions and interactions; shares are between 0 and 1.

    Attributes:
        sessions, interactions: how many.
        lengths: sessions by length, such as `{"1": 12, "2": 7, "3-5": 3, ...}`; the last band is longer than the model
            reads.
        quantiles: length of a session by percentile: 10, 50, 90, 99 and 100.
        single_share: sessions of one interaction.
        longer_than_read_share: sessions of more than `MAX_INTERACTIONS` interactions.
        several_products: sessions with two different products or more; only these can teach what comes next.
        actions: interactions by action.
        next_products: products that follow another in their session.
        repeats_last_share, repeats_earlier_share: next products that are the last product again, or an earlier one.
        same_again_share: interactions that repeat the action and the product (or a search) just before.
    """

    sessions: int
    interactions: int
    lengths: Mapping[str, int]
    quantiles: Mapping[str, int]
    single_share: float
    longer_than_read_share: float
    several_products: int
    actions: Mapping[str, int]
    next_products: int
    repeats_last_share: float
    repeats_earlier_share: float
    same_again_share: float

    @classmethod
    def measure(cls, corpus: NumberedCorpus) -> SessionStatistics:
        """Count the sessions of a corpus."""
        table, lengths = corpus.sessions, corpus.sessions.lengths
        session_of, is_product = table.session_of(), corpus.is_product
        sessions, products = session_of[is_product], table.rows[is_product].astype(np.int64)
        follows = sessions[1:] == sessions[:-1]
        last = follows & (products[1:] == products[:-1])
        first = _first_of_each(sessions * (corpus.products + 1) + products)
        earlier = follows & ~first[1:] & ~last
        different = np.bincount(sessions[first], minlength=len(table))
        counted = np.bincount(table.actions, minlength=len(ACTIONS))
        percentiles = np.percentile(lengths, _QUANTILES, method="inverted_cdf")
        return cls(
            sessions=len(table),
            interactions=table.rows.size,
            lengths=_by_band(lengths),
            quantiles={str(name): int(value) for name, value in zip(_QUANTILES, percentiles, strict=True)},
            single_share=_share((lengths == 1).sum(), len(table)),
            longer_than_read_share=_share((lengths > MAX_INTERACTIONS).sum(), len(table)),
            several_products=int((different > 1).sum()),
            actions={str(action): int(counted[action.code]) for action in ACTIONS if counted[action.code]},
            next_products=int(follows.sum()),
            repeats_last_share=_share(last.sum(), follows.sum()),
            repeats_earlier_share=_share(earlier.sum(), follows.sum()),
            same_again_share=_share(_same_again(corpus, session_of), table.rows.size),
        )


def _first_of_each(keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    first = np.zeros(keys.size, dtype=bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return first


def _same_again(corpus: NumberedCorpus, session_of: NDArray[np.int64]) -> int:
    """Interactions equal to the one before. Phrases are not numbered, so searches are left out."""
    table = corpus.sessions
    same = (session_of[1:] == session_of[:-1]) & (table.rows[1:] == table.rows[:-1])
    return int((same & (table.actions[1:] == table.actions[:-1]) & corpus.is_product[1:]).sum())


def _by_band(lengths: NDArray[np.int64]) -> dict[str, int]:
    bands = np.searchsorted(_BANDS, lengths)
    counts = np.bincount(bands, minlength=len(_BANDS) + 1)
    names, start = [], 1
    for end in _BANDS:
        names.append(str(end) if start == end else f"{start}-{end}")
        start = end + 1
    return dict(zip([*names, f"over {_BANDS[-1]}"], map(int, counts), strict=True))


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
