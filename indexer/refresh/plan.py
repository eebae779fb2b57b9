"""What a refresh has to do: a catalogue compared with the live version, and the rows that must be written.

Letters: M products of the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.refresh.catalogue_scan import CatalogueScan, InteractionCounts
from indexer.refresh.gates import Gate, GateResult
from indexer.store.embedding_store import LIVE_FILE, EmbeddingStore
from indexer.store.table_schema import ADDED_COLUMNS, POPULARITY, ROW_HASH, TEXT_HASH
from indexer.versions.live import Live, read_live
from indexer.versions.version import StoreVersion, read_version
from ubm_embed.data.arrays import BoolArray
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.folder import ModelFolder

_HASHED = ["product_id", TEXT_HASH, ROW_HASH, POPULARITY]


@dataclass(frozen=True)
class ChangeCounts:
    """Numbers of products by what changed.

    Attributes:
        new: products that the live version does not have.
        changed: products whose text differs.
        updated: products of which only something else differs, such as the price.
        unchanged: products without a difference.
        removed: products that the catalogue no longer has.
    """

    new: int
    changed: int
    updated: int
    unchanged: int
    removed: int

    @property
    def none(self) -> bool:
        """Whether the live version already is what the catalogue says."""
        return not (self.new or self.changed or self.updated or self.removed)


@dataclass(frozen=True)
class Changes:
    """A catalogue's products matched with the rows of the live version.

    Attributes:
        live_rows: row of each product in the live version, -1 if it is new: [M].
        text_differs: whether the product is new or its text differs: [M].
        row_differs: whether anything differs: [M].
        popularity: interactions of each product: [M].
        removed: ids that the catalogue no longer has.
    """

    live_rows: NDArray[np.int64]
    text_differs: BoolArray
    row_differs: BoolArray
    popularity: NDArray[np.int64]
    removed: pl.Series

    @classmethod
    def between(cls, live: pl.DataFrame | None, scan: CatalogueScan, popularity: pl.DataFrame | None) -> Changes:
        """Compare the live version with a catalogue.

        Args:
            live: product_id, text_hash, row_hash and popularity of the live version, in its order; None if there is
                no live version.
            popularity: interactions by product_id; None keeps the popularity of the live version.
        """
        before = (_NO_ROWS if live is None else live).with_row_index("live_row")
        rows = scan.rows.join(before, on="product_id", how="left", maintain_order="left", suffix="_live")
        if popularity is None:
            rows = rows.with_columns(now=pl.col(POPULARITY))
        else:
            counts = popularity.select("product_id", now=POPULARITY)
            rows = rows.join(counts, on="product_id", how="left", maintain_order="left")
        now = pl.col("now").fill_null(0).cast(pl.Int64)
        text = pl.col(TEXT_HASH).ne_missing(pl.col(f"{TEXT_HASH}_live"))
        row = text | pl.col(ROW_HASH).ne_missing(pl.col(f"{ROW_HASH}_live")) | now.ne_missing(pl.col(POPULARITY))
        matched = rows.select(pl.col("live_row").cast(pl.Int64).fill_null(-1), text=text, row=row, now=now)
        removed = before.join(scan.rows, on="product_id", how="anti", maintain_order="left")["product_id"]
        columns = {name: matched[name].to_numpy() for name in ("live_row", "text", "row", "now")}
        return cls(columns["live_row"], columns["text"], columns["row"], columns["now"], removed)

    @cached_property
    def counts(self) -> ChangeCounts:
        """Numbers of products by what changed."""
        known = self.live_rows >= 0
        return ChangeCounts(
            new=int((~known).sum()),
            changed=int((known & self.text_differs).sum()),
            updated=int((known & self.row_differs & ~self.text_differs).sum()),
            unchanged=int((known & ~self.row_differs).sum()),
            removed=self.removed.len(),
        )


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

    @classmethod
    def to_build(
        cls, store: EmbeddingStore, scan: CatalogueScan, counts: InteractionCounts | None, model: ModelFolder
    ) -> Plan:
        """Write every product, whatever the store holds; a live version is only compared with.

        Raises:
            InvalidData: live.json is damaged.
        """
        live = read_live(store) if store.storage.exists(LIVE_FILE) else None
        counted, tower = counts or InteractionCounts.empty(), model.product_tower
        plan = cls(
            scan=scan,
            changes=Changes.between(None, scan, counted.popularity),
            live=live,
            base=None,
            model_id=model.model_id,
            product_model_id=tower.model_id if tower else None,
            dimension=model.config.dimension,
            reuse=None,
            rewrite_reason="a build writes every product",
            pairs=None if counts is None else counts.pairs,
        )
        if live is None:
            return plan
        try:
            compared = cls.to_refresh(store, scan, counted, model)
        except (InvalidData, NotFound):
            return plan  # a build is how a store with a damaged live version is repaired
        return replace(plan, base=compared.base, live_schema=compared.live_schema, changes=compared.changes)

    @classmethod
    def to_refresh(
        cls, store: EmbeddingStore, scan: CatalogueScan, counts: InteractionCounts | None, model: ModelFolder | None
    ) -> Plan:
        """Write what the live version lacks.

        Args:
            model: the model that takes over, None for the model of the live version.

        Raises:
            InvalidData: live.json, the version's manifest or the table is damaged.
        """
        live = read_live(store)
        base = read_version(store, live.version)
        columns = pl.DataFrame(pl.from_arrow(store.table.schema(base.table_version).empty_table())).schema
        hashed = TEXT_HASH in columns
        rows = store.table.read(base.table_version, _HASHED) if hashed else _without_hashes(store, base)
        same_model = model is None or model.model_id == base.model_id
        tower = model and model.product_tower
        return cls(
            scan=scan,
            changes=Changes.between(rows, scan, None if counts is None else counts.popularity),
            live=live,
            base=base,
            live_schema=columns,
            model_id=model.model_id if model else base.model_id,
            product_model_id=(tower.model_id if tower else None) if model else base.product_model_id,
            dimension=model.config.dimension if model else base.dimension,
            reuse=base.table_version if same_model and hashed else None,
            rewrite_reason=_rewrite_reason(base, columns, scan, same_model=same_model, hashed=hashed),
            pairs=None if counts is None else counts.pairs,
        )

    def rows_gate(self, max_lost: float) -> GateResult:
        """The gate `rows`, which needs nothing encoded: the share of the live products that the catalogue lacks."""
        counts = self.changes.counts
        before = counts.removed + counts.changed + counts.updated + counts.unchanged
        share = counts.removed / max(before, 1)
        lacks = f"the catalogue lacks {counts.removed:,} of the {before:,} products of the live version"
        return GateResult(Gate.ROWS, share, max_lost, True, f"{lacks}, a share of {share:.3g}")

    @property
    def is_empty(self) -> bool:
        """Whether the live version is what would be written."""
        return self.rewrite_reason is None and self.changes.counts.none

    @cached_property
    def write(self) -> BoolArray:
        """Which products are written: [M]."""
        return self.changes.row_differs if self.rewrite_reason is None else np.ones(len(self.scan), bool)

    @cached_property
    def encode(self) -> BoolArray:
        """Which of the products that are written must be encoded: [M]."""
        return self.write if self.reuse is None else self.write & self.changes.text_differs

    @property
    def deleted(self) -> pl.Series:
        """Ids whose rows of the live version are deleted: the product was removed, or its row is replaced."""
        replaced = pl.Series(self.changes.row_differs & (self.changes.live_rows >= 0))
        return pl.concat([self.scan.rows.filter(replaced)["product_id"], self.changes.removed])


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


def _without_hashes(store: EmbeddingStore, base: StoreVersion) -> pl.DataFrame:
    """Rows of a version of older software, with null hashes: every product then counts as changed."""
    rows = store.table.read(base.table_version, ["product_id", POPULARITY])
    return rows.with_columns(**{TEXT_HASH: pl.lit(None, pl.Binary), ROW_HASH: pl.lit(None, pl.UInt64)})


_NO_ROWS = pl.DataFrame(
    schema={"product_id": pl.String, TEXT_HASH: pl.Binary, ROW_HASH: pl.UInt64, POPULARITY: pl.Int64}
)
