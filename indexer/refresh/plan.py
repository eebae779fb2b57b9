"""What a refresh is to write, and why.

Letters: M products of the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from indexer.refresh.catalogue_scan import Feed
from indexer.refresh.changes import Changes
from indexer.refresh.gates import Gate, GateLimits, Measured
from indexer.refresh.interaction_counts import Interest
from indexer.refresh.shards import Selection
from indexer.store.embedding_store import LIVE_FILE, EmbeddingStore
from indexer.store.product_table import OURS, POPULARITY, ROW_HASH, TEXT_HASH
from indexer.versions.live import Live, read_live
from indexer.versions.version import StoreVersion, read_version
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.checkpoint import Checkpoint

_HASHED = ["product_id", TEXT_HASH, ROW_HASH, POPULARITY]


@dataclass(frozen=True)
class ModelIdentity:
    """Which model encodes.

    Attributes:
        model_id: of the folder, whose session tower asks.
        product_model_id: of its product tower, where it has another one.
        dimension: width of the vectors, D.
    """

    model_id: str
    product_model_id: str | None
    dimension: int

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> ModelIdentity:
        """Of a model that was opened."""
        tower = checkpoint.product_tower
        return cls(checkpoint.model_id, tower.model_id if tower else None, checkpoint.model.config.dimension)

    @classmethod
    def of_version(cls, version: StoreVersion) -> ModelIdentity:
        """Of the model that made a version."""
        return cls(version.model_id, version.product_model_id, version.dimension)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be written.

    Attributes:
        feed: the catalogue.
        changes: against the version that is live.
        live: what live.json says, None where nothing is live.
        base: the live version, None where all is built anew whatever is there.
        model: who encodes.
        reuse: version of the table that unchanged vectors are taken from; None where there is none of this model.
        reason: why the whole table is written anew; None where only what changed is.
        pairs: products that sessions hold side by side, None without sessions.
    """

    feed: Feed
    changes: Changes
    live: Live | None
    base: StoreVersion | None
    model: ModelIdentity
    reuse: int | None
    reason: str | None
    pairs: pl.DataFrame | None

    @classmethod
    def to_build(cls, store: EmbeddingStore, feed: Feed, interest: Interest | None, checkpoint: Checkpoint) -> Plan:
        """Write everything, whatever is there; what is live is only compared with.

        Raises:
            InvalidData: live.json is damaged.
        """
        live, asked = read_live(store) if store.storage.exists(LIVE_FILE) else None, interest or Interest.nobody()
        anew = cls(
            feed=feed,
            changes=Changes.between(None, feed, asked.counts),
            live=live,
            base=None,
            model=ModelIdentity.of(checkpoint),
            reuse=None,
            reason="a build writes all",
            pairs=None if interest is None else interest.pairs,
        )
        if live is None:
            return anew
        try:
            found = cls.to_refresh(store, feed, asked, checkpoint)
        except (InvalidData, NotFound):
            return anew  # to build anew is what mends a store whose live version is damaged
        return replace(anew, base=found.base, changes=found.changes)

    @classmethod
    def to_refresh(
        cls, store: EmbeddingStore, feed: Feed, interest: Interest | None, checkpoint: Checkpoint | None
    ) -> Plan:
        """Write what the live version lacks.

        Args:
            checkpoint: the model that takes over, None for the live version's.

        Raises:
            InvalidData: live.json, the version's manifest or the table is damaged.
        """
        live = read_live(store)
        base = read_version(store, live.version)
        columns = pl.DataFrame(pl.from_arrow(store.table.schema(base.table_version).empty_table())).schema
        hashed = TEXT_HASH in columns
        rows = store.table.read(base.table_version, _HASHED) if hashed else _unhashed(store, base)
        same = checkpoint is None or checkpoint.model_id == base.model_id
        return cls(
            feed=feed,
            changes=Changes.between(rows, feed, None if interest is None else interest.counts),
            live=live,
            base=base,
            reuse=base.table_version if same and hashed else None,
            reason=_reason(base, columns, feed, same=same, hashed=hashed),
            pairs=None if interest is None else interest.pairs,
            model=ModelIdentity.of(checkpoint) if checkpoint else ModelIdentity.of_version(base),
        )

    def lost(self, limits: GateLimits) -> Measured:
        """The gate that can be asked before anything is encoded: how much the catalogue lacks of the live version."""
        counts = self.changes.counts
        before = counts.removed + counts.changed + counts.updated + counts.unchanged
        share = counts.removed / max(before, 1)
        lacks = f"the catalogue lacks {counts.removed:,} of the {before:,} products of the live version"
        return Measured(Gate.ROWS, share, limits.most_lost, True, f"{lacks}, a share of {share:.3g}")

    @property
    def nothing(self) -> bool:
        """Whether the live version is what would be written."""
        return self.reason is None and self.changes.counts.nothing

    @cached_property
    def selection(self) -> Selection:
        """Which products are written and which of those encoded."""
        everything = np.ones(len(self.feed), bool)
        return Selection(
            write=self.changes.row if self.reason is None else everything,
            encode=everything if self.reuse is None else self.changes.text,
            model_id=self.model.model_id,
            base=self.reuse,
            anew=self.reason is not None,
        )

    @property
    def to_encode(self) -> int:
        """How many products the model has to read."""
        return int((self.selection.write & self.selection.encode).sum())

    @property
    def gone(self) -> pl.Series:
        """Ids whose rows of the live version go: removed, or written anew."""
        anew = self.feed.rows.filter(pl.Series(self.changes.row & (self.changes.positions >= 0)))["product_id"]
        return pl.concat([anew, self.changes.removed])


def checkpoint_of(model: str | Path) -> Checkpoint:
    """A model folder whose vectors can be searched.

    Raises:
        NotFound: there is none.
        InvalidData: it is damaged, or was fine-tuned for another task than next items.
    """
    from ubm_embed.data.tasks.task import Task
    from ubm_embed.model.checkpoint import require_task

    checkpoint = Checkpoint.from_pretrained(model)
    require_task(checkpoint, Task.NIP)
    return checkpoint


def _reason(base: StoreVersion, columns: pl.Schema, feed: Feed, *, same: bool, hashed: bool) -> str | None:
    if not same:
        return f"another model made version {base.version}"
    if not hashed:
        return f"version {base.version} is of older software"
    before = {name: dtype for name, dtype in columns.items() if name not in OURS}
    different = sorted(name for name, _ in before.items() ^ dict(feed.schema).items())
    if different:
        return f"columns are new, gone or of another type: {', '.join(dict.fromkeys(different))}"
    return None


def _unhashed(store: EmbeddingStore, base: StoreVersion) -> pl.DataFrame:
    """Rows of a version of older software: nothing tells what changed of them."""
    rows = store.table.read(base.table_version, ["product_id", POPULARITY])
    nothing = {TEXT_HASH: pl.lit(None, pl.Binary), ROW_HASH: pl.lit(None, pl.UInt64)}
    return rows.with_columns(**nothing)
