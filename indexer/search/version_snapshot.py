"""A version's index and products under one of its revisions. Snapshots of a version share what did not change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.counts.counts_file import VersionCounts
from indexer.index.appended_vectors import AppendedVectors
from indexer.index.vector_index import VectorIndex
from indexer.lexical.words_file import VersionWords
from indexer.revisions.overlay import Overlay
from indexer.revisions.revised_catalogue import RevisedCatalogue
from indexer.revisions.revised_counts import RevisedCounts
from indexer.revisions.revised_words import RevisedWords
from indexer.revisions.segment import read_rows, segment_schema
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.revision import Revision


@dataclass(frozen=True, slots=True)
class VersionSnapshot:
    """An index, and products of the same positions. It never changes; a later revision makes a new one.

    Attributes:
        published_index, published_catalogue: of the version's files, which all its snapshots read.
        published: the version without a revision.
        overlay: what the revision makes of it.
        appended: vectors that the index lacks.
        index, catalogue: under the revision.
        revision: None for the version as it was published.
        counts, words: under the revision; None if the version has none, or they were left out.
    """

    published_index: VectorIndex
    published_catalogue: MappedCatalogue
    published: Overlay
    overlay: Overlay
    appended: AppendedVectors
    index: VectorIndex
    catalogue: Catalogue
    revision: Revision | None = None
    counts: RevisedCounts | None = None
    words: RevisedWords | None = None

    @classmethod
    def as_published(
        cls,
        index: VectorIndex,
        catalogue: MappedCatalogue,
        patch: pa.Table | None = None,
        counts: VersionCounts | None = None,
        words: VersionWords | None = None,
    ) -> Self:
        """A version without a revision.

        Args:
            patch: the products that differ from those of the files, if it shares those of another version.
            counts, words: of the version.

        Raises:
            InvalidData: the patch has products that the files lack.
        """
        overlay = Overlay.of_base(catalogue, index.dimension, patch)
        products = catalogue if patch is None else RevisedCatalogue(catalogue, overlay)
        revised = None if counts is None else RevisedCounts.as_published(counts, overlay)
        parts = index, catalogue, overlay, overlay, AppendedVectors.empty(index), index, products
        return cls(*parts, counts=revised, words=None if words is None else RevisedWords.as_published(words))

    def revised(self, store: EmbeddingStore, version: int, revision: Revision | None) -> VersionSnapshot:
        """The version under another revision. Of a later one only the segments are read that this one lacks.

        Raises:
            InvalidData: a segment is missing or damaged, or its products are not those of the version.
        """
        if revision == self.revision:
            return self
        if revision is None:
            return self._over(self.published, None)
        known = self.revision
        if known is None or not revision.continues(known.number):  # changes that it knows were dropped
            known = None
        schema = segment_schema(self.published_catalogue.schema, self.published_index.dimension)
        rows = read_rows(store, version, revision, schema, known)
        before = self.published if known is None else self.overlay
        return self._over(before.advanced(rows, revision.number), revision)

    def _over(self, overlay: Overlay, revision: Revision | None) -> VersionSnapshot:
        base, products = self.published_index, self.published_catalogue
        known = self.appended if overlay.continues(self.overlay) else AppendedVectors.empty(base)
        appended = known.extended(overlay.appended_vectors_since(self.overlay if known is self.appended else None))
        index = base.revised(appended, overlay.visible) if len(overlay) > len(base) or overlay.visible else base
        catalogue = RevisedCatalogue(products, overlay) if overlay.rows else products
        counts = None if self.counts is None else self.counts.revised(overlay, index)
        words = None if self.words is None else self.words.revised(overlay, catalogue, self.overlay)
        parts = base, products, self.published, overlay, appended, index, catalogue, revision
        return VersionSnapshot(*parts, counts, words)
