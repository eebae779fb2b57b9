"""The counts of a new version: from the interactions, or those of the version before under the numbering of today.

Letters: M products of the version, O products of the log or of the version before, K new products, N nearest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from indexer.catalogue.product_ids import ID_HASHES_FILE, ID_POSITIONS_FILE, mapped_array
from indexer.counts.count_summary import CountSummary
from indexer.counts.counts_file import COUNTS_FILE, read_counts, write_counts
from indexer.counts.nearest_known import nearest_known
from indexer.index.selection import Selection
from indexer.index.vector_index import VectorIndex
from indexer.refresh.built_index import TableVectors
from indexer.refresh.logged_transitions import CatalogueTransitions
from indexer.store.embedding_store import EmbeddingStore, model_folder, version_folder
from indexer.versions.version import StoreVersion, read_version, require_digests
from indexer.versions.version_counts import counts_holder
from ubm_embed.counts.propagation import Sources, renumbered
from ubm_embed.counts.ranking_weights import CountWeights, seen_bins
from ubm_embed.counts.transition_counts import TransitionCounts
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData, NotFound

# New products whose nearest are searched for at once.
_BATCH = 8192


@dataclass(frozen=True)
class RestoredCounts:
    """The file of a version that is repaired: its products have the positions that they had.

    Attributes:
        summary: what its manifest said of it.
        content: of the file.
    """

    summary: CountSummary
    content: bytes


# What was counted just now; or the version whose counts are taken over; or the file of this version.
CountsSource: TypeAlias = CatalogueTransitions | StoreVersion | RestoredCounts


@dataclass(frozen=True)
class EarlierCounts:
    """Counts under another numbering of the products.

    Attributes:
        hashes: of the ids of its products, ascending: [O].
        rows: of these products in the counts: [O].
        transitions: what came after what.
        seen: how often the product of each row was seen, as bins.
        summary: what the manifest says of them; the numbers of products are those that there were.
    """

    hashes: NDArray[np.uint64]
    rows: IntArray
    transitions: TransitionCounts
    seen: NDArray[np.uint8]
    summary: CountSummary

    @classmethod
    def from_log(cls, logged: CatalogueTransitions) -> EarlierCounts:
        """What was counted just now."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        numbers = {"interactions": logged.interactions, "sessions": logged.sessions}
        summary = CountSummary(**numbers, products=0, spread=0, pairs=0, counted=now, digest=logged.digest())
        rows = np.flatnonzero(logged.seen)
        return cls(logged.hashes[rows], rows, logged.counts, seen_bins(logged.seen), summary)

    @classmethod
    def from_version(cls, store: EmbeddingStore, version: StoreVersion) -> EarlierCounts | None:
        """The counts of a version that has some, mapped; None if they or its ids are missing or damaged."""
        assert version.counts is not None
        try:
            with store.storage.open_folder(version_folder(version.files_version)) as folder:
                hashes = mapped_array(folder / ID_HASHES_FILE, np.dtype("<u8"), version.products)
                rows = mapped_array(folder / ID_POSITIONS_FILE, np.dtype("<u4"), version.products).astype(np.int64)
            holder = read_version(store, counts_holder(version))
            with store.storage.open_folder(version_folder(holder.version)) as folder:
                # Damage must not be handed on.
                require_digests(holder.replace(files={COUNTS_FILE: holder.files[COUNTS_FILE]}), folder)
                counts = read_counts(folder / COUNTS_FILE, version.products)
        except (InvalidData, NotFound, FileNotFoundError, KeyError):
            return None
        return cls(hashes, rows, counts.transitions, counts.seen, version.counts)

    def rows_of(self, folder: Path, products: int) -> NDArray[np.int64]:
        """The row of each of the M products of a version, whose ids are in this folder; -1 for those without: [M]."""
        rows = np.full(products, -1, np.int64)
        if not self.hashes.size:
            return rows
        wanted = mapped_array(folder / ID_HASHES_FILE, np.dtype("<u8"), products)
        positions = mapped_array(folder / ID_POSITIONS_FILE, np.dtype("<u4"), products)
        ranks = np.minimum(np.searchsorted(self.hashes, wanted), self.hashes.size - 1)
        found = self.hashes[ranks] == wanted
        rows[positions[found]] = self.rows[ranks[found]]
        return rows


@dataclass(frozen=True)
class VersionParts:
    """What of a version its counts are made with.

    Attributes:
        folder: that has the files of its products.
        products: M.
        vectors: of its products.
        index: opens its index; only asked if a product has no counts of its own.
    """

    folder: Path
    products: int
    vectors: TableVectors
    index: Callable[[], VectorIndex]


def write_version_counts(
    store: EmbeddingStore, source: CountsSource | None, parts: VersionParts, model_id: str, folder: Path
) -> CountSummary | None:
    """Write the counts of a version into its folder, and return what its manifest says of them.

    Args:
        source: None for a version without counts.
        model_id: the model that reads sessions, which says what the counts weigh.

    Returns:
        None if it has no counts, or they were lost: the file of the version before is missing or damaged.
    """
    if isinstance(source, RestoredCounts):
        (folder / COUNTS_FILE).write_bytes(source.content)
        return source.summary
    if source is None:
        return None
    earlier = (
        EarlierCounts.from_version(store, source)
        if isinstance(source, StoreVersion)
        else EarlierCounts.from_log(source)
    )
    if earlier is None:
        return None
    return _write(earlier, parts, count_weights(store, model_id), folder / COUNTS_FILE)


def copy_counts(store: EmbeddingStore, version: StoreVersion, folder: Path) -> CountSummary | None:
    """Give a version that shares the files of another one the counts of one that shares them, too.

    Returns:
        None if it has no counts, or they are missing or damaged.
    """
    if version.counts is None or counts_holder(version) == version.files_version:
        return version.counts
    name = f"{version_folder(version.version)}/{COUNTS_FILE}"
    try:
        (folder / COUNTS_FILE).write_bytes(store.storage.read(name))
        require_digests(version.replace(files={COUNTS_FILE: version.files[COUNTS_FILE]}), folder)
    except (FileNotFoundError, InvalidData):
        (folder / COUNTS_FILE).unlink(missing_ok=True)
        return None
    return version.counts


def count_weights(store: EmbeddingStore, model_id: str) -> CountWeights:
    """How transitions are counted for a model, and what counts weigh beside its cosines: as its folder says."""
    try:
        with store.storage.open_folder(model_folder(model_id)) as folder:
            return CountWeights.load(folder)
    except FileNotFoundError:
        return CountWeights()


def _write(earlier: EarlierCounts, parts: VersionParts, weights: CountWeights, file: Path) -> CountSummary:
    before = earlier.rows_of(parts.folder, parts.products)
    seen = np.where(before >= 0, earlier.seen[before] if earlier.seen.size else 0, 0).astype(np.uint8)
    new = np.flatnonzero(before < 0)
    known = Selection(seen > 0) if earlier.transitions.neighbours.size else Selection(np.zeros(seen.size, bool))
    nearest, cosines = _nearest(new, known, parts)
    sources = Sources.kept_and_nearest(before, np.where(nearest >= 0, before[nearest], -1), cosines)
    counts = renumbered(earlier.transitions, sources)
    write_counts(file, counts, seen, weights)
    has_own, has_any = seen > 0, np.diff(counts.offsets) > 0
    return earlier.summary.replace(
        products=int(has_own.sum()), spread=int((has_any & ~has_own).sum()), pairs=counts.neighbours.size
    )


def _nearest(new: IntArray, known: Selection, parts: VersionParts) -> tuple[NDArray[np.int64], FloatArray]:
    """The nearest of the products that were seen for each new one, and their cosines: [K, N] each."""
    if not new.size or not known.count:
        return np.empty((new.size, 0), np.int64), np.empty((new.size, 0), np.float32)
    index = parts.index()
    batches = (new[first : first + _BATCH] for first in range(0, new.size, _BATCH))
    found = [nearest_known(index, parts.vectors.at(batch), known) for batch in batches]
    return np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])
