"""A plan carried out: shards encoded, rows committed, a version published."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import polars as pl

from indexer.index.index_request import IndexRequest
from indexer.index.tuning import require_possible
from indexer.refresh.catalogue_scan import Feed
from indexer.refresh.encoding import EncodingJob, Engine, encode_here, encoders_of, fragments_of, is_done
from indexer.refresh.gates import Gate, Measured
from indexer.refresh.plan import Plan
from indexer.refresh.publication import Candidate, publish
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.shards import POSITION, Shard, cut, read_shard
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.product_table import ROW_HASH, TEXT_HASH, table_schema
from indexer.versions.version import StoreVersion
from ubm_embed.inference.runtimes.runtime_name import EncoderName
from ubm_embed.progress import Progress, silent

# What tells a row of the table from another one.
_FED = ["product_id", TEXT_HASH, ROW_HASH]


class Clock:
    """Seconds of each step of some work, by its name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """The time of the block."""
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


@dataclass(frozen=True)
class Written:
    """What came of a plan.

    Attributes:
        version: that is live now.
        resumed: products that had been encoded before, by a refresh that did not come to its end.
    """

    version: StoreVersion
    resumed: int


@dataclass(kw_only=True)
class Writer:
    """Carries out plans for one store. Call it inside `store.write_lock`."""

    store: EmbeddingStore
    settings: RefreshSettings = field(default_factory=RefreshSettings)
    allow: Collection[Gate] = ()
    engine: Engine = encode_here
    device: str = "auto"
    encoder: str = "torch"
    progress: Progress = silent
    clock: Clock = field(default_factory=Clock)

    def write(self, plan: Plan, measured: Sequence[Measured] = ()) -> Written:
        """Encode, commit and publish.

        Args:
            measured: gates that were asked before.

        Raises:
            Conflict: the catalogue changed since it was compared, or something else was made live meanwhile.
            QualityGateFailed: a check failed; what was live still is.
            InvalidData: the index that is asked for cannot be made.
        """
        index = asked_index(plan.base, self.settings)
        require_possible(index, plan.model.dimension)
        if plan.reason is None:
            # First: what is written beside a table is written for its newest version, which a failed gate or a
            # rollback may have left with other columns.
            assert plan.base is not None, "only against a version that there is can anything be left out"
            self.store.table.restore(plan.base.table_version)
        with self.clock.step("cut"):
            shards = list(cut(self.store, plan.feed, plan.changes, plan.selection, rows=self.settings.shard_rows))
        with self.clock.step("encode"):
            left = [shard for shard in shards if not is_done(self.store, plan.model.model_id, shard)]
            job = EncodingJob(
                store=self.store.uri,
                model_id=plan.model.model_id,
                base=plan.reuse,
                anew=plan.reason is not None,
                device=self.device,
                encoder=self.encoder,
            )
            if left:
                self.engine(job, left, self.progress)
        with self.clock.step("commit"):
            table_version = self._commit(plan, shards)
            rows = self.store.table.read(table_version, _FED)
        candidate = Candidate(
            table_version=table_version,
            product_ids=rows["product_id"],
            model_id=plan.model.model_id,
            product_model_id=plan.model.product_model_id,
            source=plan.feed.file.name,
            changes=plan.changes.counts,
            encoded=plan.to_encode,
            base=plan.base,
            live=plan.live,
            pairs=plan.pairs,
            measured=(*measured, _as_fed(rows, plan.feed)),
            encoder=_encoder(plan, encoders_of(self.store, plan.model.model_id, shards)),
            index=index,
        )
        with self.clock.step("index, check and publish"):
            version = publish(self.store, candidate, self.settings.gates, self.allow)
        return Written(version, sum(shard.to_encode for shard in shards) - sum(shard.to_encode for shard in left))

    def _commit(self, plan: Plan, shards: list[Shard]) -> int:
        """Make the table what the plan says; its version."""
        table, fragments = self.store.table, fragments_of(self.store, plan.model.model_id, shards)
        if plan.reason is not None:
            first = read_shard(self.store.storage, plan.model.model_id, shards[0].key).drop(POSITION)
            table.replace(fragments, table_schema(first, plan.model.dimension), model_id=plan.model.model_id)
        else:
            table.drop_indexes()
            if plan.gone.len():
                table.remove(plan.gone)
            if fragments:
                table.append(fragments)
        return table.compact(self.settings.shard_rows)


def _encoder(plan: Plan, names: set[str]) -> str:
    """What read the texts of a version, where some of the vectors are those of the version before."""
    if plan.reuse is not None and plan.base is not None:
        names = names | set((plan.base.encoder or EncoderName.TORCH).split(", "))
    return ", ".join(sorted(names))


def _as_fed(rows: pl.DataFrame, feed: Feed) -> Measured:
    """Whether the table has each row of the catalogue once, as it is, and no other."""
    wrong = feed.rows.join(rows, on=_FED, how="anti").height + rows.join(feed.rows, on=_FED, how="anti").height
    says = f"{wrong} rows of the table are not those of the catalogue"
    return Measured(Gate.WRITTEN, wrong + abs(rows.height - len(feed)), 0, True, says)


def asked_index(base: StoreVersion | None, settings: RefreshSettings) -> IndexRequest:
    """The index that the settings ask for; what they do not say is as in the version before."""
    before = IndexRequest() if base is None else base.index_request
    return before if settings.index is None else settings.index.over(before)
