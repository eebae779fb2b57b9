"""The interactions of shoppers as a refresh reads them: how often each product was chosen, and what followed what.

Letters: P products of the log, K products.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.catalogue.id_hashes import id_hashes
from indexer.refresh.logged_transitions import LoggedTransitions
from indexer.refresh.session_parts import ROWS_IN_MEMORY, SessionParts, session_parts
from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.data.arrays import IntArray
from ubm_embed.data.removals import taken_back
from ubm_embed.data.tables.json_files import open_text
from ubm_embed.data.tables.table_files import collect_tables, scan_table, table_files, table_kind
from ubm_embed.progress import Notice

# Alignment is measured on a sample of 1,000 pairs, so a long log's pairs need not all be kept.
_PAIRS = 10_000
_BLANK = 1 << 16


@dataclass(frozen=True)
class InteractionCounts:
    """Counts over a file of interactions.

    Attributes:
        hashes: of the ids of its products, sorted: [P].
        counts: number of interactions of each; what was taken back out of the cart does not count: [P].
        pairs: a sample of ids of products that follow one another in a session, as two columns; what was taken back
            follows nothing.
        transitions: what followed what; None if only popularity was counted.
    """

    hashes: NDArray[np.uint64]
    counts: NDArray[np.int64]
    pairs: pl.DataFrame
    transitions: LoggedTransitions | None = None

    @classmethod
    def empty(cls) -> InteractionCounts:
        """The counts of no interactions."""
        pairs = pl.DataFrame(schema={"product_id": pl.String, "following": pl.String})
        return cls(np.empty(0, np.uint64), np.empty(0, np.int64), pairs)

    @classmethod
    def read(
        cls,
        interactions: str | Path,
        *,
        weights: CountWeights | None = None,
        min_pairs: int = _PAIRS,
        rows_in_memory: int = ROWS_IN_MEMORY,
    ) -> InteractionCounts:
        """Count the interactions of a file.

        Args:
            weights: say how transitions are counted; None counts popularity alone.
            min_pairs: pairs are taken evenly from the whole file, so that at least this many stay if there are more.
            rows_in_memory: a longer file is counted in parts.

        Raises:
            NotFound, InvalidData: as `read_interactions`.
        """
        with session_parts(interactions, rows_in_memory) as parts:
            return cls._of(parts, weights, -(-min_pairs // max(len(parts), 1)))

    @classmethod
    def _of(cls, parts: SessionParts, weights: CountWeights | None, min_pairs: int) -> InteractionCounts:
        total, pairs = cls.empty(), [cls.empty().pairs]
        transitions = None if weights is None else LoggedTransitions(_distinct_hashes(parts), weights)
        for part in parts:
            rows = part.filter(~taken_back(part) & pl.col("product_id").is_not_null())
            pairs.append(_sample(rows, min_pairs))
            if transitions is not None:
                transitions.add(rows)
                continue
            counted = rows.group_by("product_id").len("count")
            total = total.plus(id_hashes(counted["product_id"].to_list()), counted["count"].to_numpy())
        if transitions is not None:
            total = total.plus(transitions.hashes, transitions.seen)
        return cls(total.hashes, total.counts, pl.concat(pairs), transitions)

    def plus(self, hashes: NDArray[np.uint64], counts: IntArray) -> InteractionCounts:
        """The sums with the counts of further products."""
        distinct, rows = np.unique(np.concatenate([self.hashes, hashes]), return_inverse=True)
        sums = np.zeros(distinct.size, np.int64)
        np.add.at(sums, rows, np.concatenate([self.counts, counts.astype(np.int64)]))
        return InteractionCounts(distinct, sums, self.pairs)

    def give_notice(self, id_hashes: NDArray[np.uint64], interactions: str | Path, notice: Notice) -> None:
        """Say that the interactions are of none of a catalogue's products [M]: they may have other ids.

        Args:
            interactions: the file that was counted.
        """
        if not self.of(id_hashes).any():
            no_use = "popularity is 0 everywhere, and nothing is known of what shoppers did next"
            notice(f"{interactions} has no interaction with a product of the catalogue: {no_use}")

    def of(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The count of each product, by the hash of its id: [K] -> [K]."""
        if not self.hashes.size:
            return np.zeros(hashes.size, np.int64)
        ranks = np.minimum(np.searchsorted(self.hashes, hashes), self.hashes.size - 1)
        return np.where(self.hashes[ranks] == hashes, self.counts[ranks], 0)


def _sample(rows: pl.DataFrame, min_pairs: int) -> pl.DataFrame:
    """Evenly spaced pairs of products that follow one another in a session, and differ."""
    following = pl.col("product_id").shift(-1).over("session_id")
    pairs = rows.select("product_id", following=following).filter(pl.col("product_id") != pl.col("following"))
    return pairs.gather_every(max(1, pairs.height // min_pairs))


def _distinct_hashes(parts: SessionParts) -> NDArray[np.uint64]:
    """Hashes of the ids of all products, ascending."""
    hashes = np.empty(0, np.uint64)
    for product_ids in parts.product_ids():
        hashes = np.union1d(hashes, id_hashes(product_ids.to_list()))
    return hashes


def read_counts(
    interactions: str | Path | None, notice: Notice, weights: CountWeights | None = None
) -> InteractionCounts | None:
    """The counts of a file of interactions; None without one, or if it has none, which is said.

    Args:
        weights: as of `InteractionCounts.read`.

    Raises:
        NotFound, InvalidData: as `read_interactions`.
    """
    if interactions is None:
        return None
    if _has_no_rows(Path(interactions)):
        notice(f"{interactions} has no interactions; popularity is as without --interactions")
        return None
    return InteractionCounts.read(interactions, weights=weights)


def _has_no_rows(path: Path) -> bool:
    files = table_files(path)
    if all(map(_is_blank, files)):
        return True
    (first,) = collect_tables([scan_table(path).head(1)], files)
    return first.is_empty()


def _is_blank(file: Path) -> bool:
    """Whether a file of text has nothing, or an empty JSON array."""
    if table_kind(file) == "Parquet":
        return False
    if file.stat().st_size == 0:
        return True
    with open_text(file) as stream:
        start = stream.read(_BLANK)
    return len(start) < _BLANK and start.strip().removeprefix("\ufeff").strip() in ("", "[]")
