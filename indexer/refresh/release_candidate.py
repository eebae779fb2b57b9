"""A version of the table on its way to be a version of the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from indexer.index.index_request import IndexRequest
from indexer.refresh.gates import GateResult
from indexer.refresh.plan import ChangeCounts
from indexer.refresh.row_signatures import Signatures
from indexer.refresh.version_counts import CountsSource
from indexer.versions.live import Live
from indexer.versions.version import ColumnSummary, StoreVersion


@dataclass(frozen=True, kw_only=True)
class ReleaseCandidate:
    """A version of the table that is to be published.

    Attributes:
        table_version: its number.
        model_id: the model that reads sessions.
        product_model_id: the model that made the vectors, if it is another one.
        source: name of the catalogue's file.
        changes: differences from `base`.
        encoded: products that the model encoded for it.
        resumed: how many of them an earlier, interrupted run had encoded.
        base: the live version that it is compared with, None if there is none.
        live: contents of live.json when the work began.
        takes_over_vectors: whether each product of `base` whose text is the same has the vector that it had there.
        signatures: of the rows that it must have, in any order; None if that is not known.
        pairs: ids of products that follow one another in sessions, as two columns; None without interactions.
        results: gates that were measured before.
        index: the index to build and its targets.
        runtime: the text runtimes that encoded its products.
        columns: the shop's columns, for the manifest.
        canaries: those of a version that is repaired, which stay; None to make them.
        revisions: what became of the rows of the revision that was live when the work began, for the manifest.
        kept: the file of products that are newer than the catalogue; None for none.
        counts: where its counts come from; None for a version without counts.
    """

    table_version: int
    model_id: str
    product_model_id: str | None
    source: str
    changes: ChangeCounts
    encoded: int
    resumed: int = 0
    base: StoreVersion | None
    live: Live | None
    takes_over_vectors: bool = False
    signatures: Signatures | None = None
    pairs: pl.DataFrame | None
    results: tuple[GateResult, ...] = ()
    index: IndexRequest = field(default_factory=IndexRequest)
    runtime: str | None = None
    columns: Mapping[str, ColumnSummary] = field(default_factory=dict)
    canaries: bytes | None = None
    revisions: Mapping[str, int] = field(default_factory=dict)
    kept: bytes | None = None
    counts: CountsSource | None = None

    @property
    def vectors_model_id(self) -> str:
        """The model that made the vectors."""
        return self.product_model_id or self.model_id
