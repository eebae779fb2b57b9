"""What a refresh has to do: a catalogue compared with the live version, and the rows that must be written.

Letters: M products of the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from indexer.refresh.catalogue_scan import CatalogueScan
from indexer.refresh.changes import ChangeCounts, Changes
from indexer.refresh.feed_time import FoldCounts
from indexer.refresh.gates import Gate, GateResult
from indexer.refresh.interaction_counts import InteractionCounts
from indexer.refresh.live_rows import LiveRows
from indexer.refresh.logged_transitions import CatalogueTransitions
from indexer.refresh.version_counts import CountsSource
from indexer.store.table_schema import ADDED_COLUMNS
from indexer.versions.live import Live
from indexer.versions.version import StoreVersion
from ubm_embed.data.arrays import BoolArray
from ubm_embed.model.folder import ModelFolder

__all__ = ["ChangeCounts", "Changes", "Plan"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The work of a build or a refresh.

    Attributes:
        scan: the catalogue.
        changes: its differences from the live version.
        live: contents of live.json, None if nothing is live.
        base: the live version, None if there is none to compare with.
        model_id: the model that encodes; sessions are read by it.
        product_model_id: its product tower, if it has a separate one.
        dimension: width of the vectors, D.
        reuse: version of the table whose vectors of unchanged texts are taken over; None if this model made none.
        rewrite_reason: why the whole table is written again; None if only the differences are.
        pairs: products that follow one another in sessions, None without interactions.
        live_schema: columns of the live version and their types, empty if there is none.
        rows: the live products, with which the catalogue is compared; None if there are none.
        folded: what became of the live revision in the catalogue; None without one.
        counts: where the counts of the new version come from; None for a version without counts.
    """

    scan: CatalogueScan
    changes: Changes
    live: Live | None
    base: StoreVersion | None
    model_id: str
    product_model_id: str | None
    dimension: int
    reuse: int | None
    rewrite_reason: str | None
    pairs: pl.DataFrame | None
    live_schema: pl.Schema = field(default_factory=pl.Schema)
    rows: LiveRows | None = None
    folded: FoldCounts | None = None
    counts: CountsSource | None = None

    @classmethod
    def to_build(
        cls,
        scan: CatalogueScan,
        counts: InteractionCounts | None,
        model: ModelFolder,
        live: Live | None = None,
        rows: LiveRows | None = None,
    ) -> Plan:
        """Write every product, whatever the store holds; a live version is only compared with.

        Args:
            live: contents of live.json, None if nothing is live.
            rows: the live products, None if there are none or they are damaged: a build is how that is repaired.
        """
        tower = model.product_tower
        return cls(
            scan=scan,
            changes=Changes.between(rows, scan, counts or InteractionCounts.empty()),
            live=live,
            base=rows.version if rows else None,
            live_schema=rows.schema if rows else pl.Schema(),
            model_id=model.model_id,
            product_model_id=tower.model_id if tower else None,
            dimension=model.config.dimension,
            reuse=None,
            rewrite_reason="a build writes every product",
            pairs=None if counts is None else counts.pairs,
            rows=rows,
            counts=_transitions(scan, counts),
        )

    @classmethod
    def to_refresh(
        cls,
        scan: CatalogueScan,
        counts: InteractionCounts | None,
        model: ModelFolder | None,
        rows: LiveRows,
        folded: FoldCounts | None = None,
        *,
        keep_counts: bool = True,
    ) -> Plan:
        """Write what the live version lacks.

        Args:
            model: the model that takes over, None for the model of the live version.
            rows: the live products, with which the catalogue was scanned.
            folded: what became of the live revision in the catalogue.
            keep_counts: whether the counts of the live version are taken over where none were counted.
        """
        base = rows.version
        same_model = model is None or model.model_id == base.model_id
        tower = model and model.product_tower
        return cls(
            scan=scan,
            changes=Changes.between(rows, scan, counts),
            live=rows.known,
            base=base,
            live_schema=rows.schema,
            model_id=model.model_id if model else base.model_id,
            product_model_id=(tower.model_id if tower else None) if model else base.product_model_id,
            dimension=model.config.dimension if model else base.dimension,
            reuse=base.table_version if same_model and rows.has_hashes else None,
            rewrite_reason=_rewrite_reason(base, rows.schema, scan, same_model=same_model, hashed=rows.has_hashes),
            pairs=None if counts is None else counts.pairs,
            rows=rows,
            folded=folded,
            counts=_transitions(scan, counts) or (base if keep_counts and base.counts is not None else None),
        )

    def rows_gate(self, max_lost: float) -> GateResult:
        """The gate `rows`, which needs nothing encoded: the share of the live products that the catalogue lacks."""
        counts = self.changes.counts
        before = counts.removed + counts.changed + counts.updated + counts.unchanged
        share = counts.removed / max(before, 1)
        lacks = f"the catalogue lacks {counts.removed:,} of the {before:,} products of the live version"
        return GateResult(Gate.ROWS, share, max_lost, True, f"{lacks}, a share of {share:.3g}")

    @property
    def kept(self) -> bytes | None:
        """The file `kept.arrow` of the new version; None if no product is newer than the feed."""
        newer = self.scan.source.newer
        return None if newer is None else newer.record

    @property
    def is_empty(self) -> bool:
        """Whether the live version is what would be written, and has no revision that would become part of it."""
        is_revised = self.live is not None and self.live.revision is not None and bool(self.live.revision.segments)
        return self.rewrite_reason is None and self.changes.counts.none and not is_revised and not self.changes_counts

    @property
    def changes_counts(self) -> bool:
        """Whether the counts would not be those of the live version."""
        before = None if self.base is None else self.base.counts
        if not isinstance(self.counts, CatalogueTransitions):
            return self.counts is None and before is not None
        if before is None:
            return True
        now = (self.counts.interactions, self.counts.sessions, self.counts.digest())
        return now != (before.interactions, before.sessions, before.digest)

    @property
    def changes_no_vector(self) -> bool:
        """Whether the new version would have the vectors of the table as they are."""
        changes = self.changes
        return (
            self.rewrite_reason is None
            and self.rows is not None
            and len(self.scan) == len(self.rows)
            and not changes.table_text_differs.any()
        )

    @cached_property
    def write(self) -> BoolArray:
        """Which products are written to the table: [M]."""
        return self.changes.table_row_differs if self.rewrite_reason is None else np.ones(len(self.scan), bool)

    @cached_property
    def encode(self) -> BoolArray:
        """Which of the products that are written must be encoded: neither the table nor the revision has the vector."""
        if self.reuse is None:
            return self.write
        return self.write & self.changes.text_differs & self.changes.table_text_differs

    @property
    def deleted(self) -> pl.Series:
        """Ids whose rows of the table are deleted: the product was removed, or its row is replaced."""
        assert self.rows is not None, "rows are only left where there are some"
        replaced = np.ones(len(self.rows), bool)
        replaced[self.changes.table_rows[~self.write & (self.changes.table_rows >= 0)]] = False
        return self.rows.ids_at(replaced)


def _transitions(scan: CatalogueScan, counts: InteractionCounts | None) -> CatalogueTransitions | None:
    """What was counted of the products of a catalogue; None if transitions were not."""
    if counts is None or counts.transitions is None:
        return None
    return counts.transitions.of_catalogue(scan.id_hashes)


def _rewrite_reason(
    base: StoreVersion, columns: pl.Schema, scan: CatalogueScan, *, same_model: bool, hashed: bool
) -> str | None:
    if not same_model:
        return f"another model made version {base.version}"
    if not hashed:
        return f"version {base.version} was written by older software"
    before = {name: dtype for name, dtype in columns.items() if name not in ADDED_COLUMNS}
    different = sorted(name for name, _ in before.items() ^ dict(scan.schema).items())
    if different:
        return f"columns were added, removed or have another type: {', '.join(dict.fromkeys(different))}"
    return None
