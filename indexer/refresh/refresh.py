"""From a catalogue to the version of a store that answers: encode what must be, write, check, publish, tidy up.

The order is what keeps a crash harmless: the model, then shards beside the table, then the table, then the index, and
last the one small file that makes them live. Until then the store answers as before. What was encoded is kept until it
is published, and the next refresh goes on from there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from indexer.index.tuning import require_buildable
from indexer.index.faiss_factory import load_faiss
from indexer.refresh.catalogue_scan import Feed
from indexer.refresh.changes import ChangeCounts
from indexer.refresh.encoding import Engine, encode_here
from indexer.refresh.gates import Gate, Measured, require_passed
from indexer.refresh.interaction_counts import Interest
from indexer.refresh.model_copy import keep_model
from indexer.refresh.plan import Plan, checkpoint_of
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.writing import Clock, Writer, asked_index
from indexer.store.embedding_store import STAGING, EmbeddingStore, staging_folder
from indexer.versions.pruning import try_prune
from indexer.versions.rollback import require_whole
from indexer.versions.tags import read_tags
from indexer.versions.version import StoreVersion, read_version
from ubm_embed.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What a refresh did, or would do.

    Attributes:
        base: number of the version that was live before.
        published: the version that is live now; None where nothing was published.
        changes: against `base`.
        written: products written to the table, encoded or not.
        encoded: products that the model had to read for it.
        resumed: how many of them an earlier refresh had encoded that did not come to its end.
        reason: why all is written anew, or None.
        index: where another index is asked for than there was: `from`, its kind and what it was asked as, and `to`,
            what is asked for. None where it is the same.
        gates: what was measured, its limit, and whether it is within; those of `published` where there is one.
        seconds: of each step.
        pruned: versions that were removed.
        freed: bytes that this gave back.
        prune_error: why old versions could not be removed, after the new one was published; None where they could.
    """

    base: int
    published: StoreVersion | None
    changes: ChangeCounts
    written: int
    encoded: int
    resumed: int = 0
    reason: str | None = None
    index: Mapping[str, Any] | None = None
    gates: Mapping[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    pruned: tuple[int, ...] = ()
    freed: int = 0
    prune_error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "base": self.base,
            "version": self.published.version if self.published else None,
            **asdict(self.changes),
            "written": self.written,
            "encoded": self.encoded,
            "resumed": self.resumed,
            "reason": self.reason,
            "index": self.index,
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "pruned": list(self.pruned),
            "freed_bytes": self.freed,
            "prune_error": self.prune_error,
            "gates": dict(self.gates),
        }


def refresh(
    *,
    products: str | Path,
    store: str | Path,
    model: str | Path | None = None,
    interactions: str | Path | None = None,
    settings: RefreshSettings | None = None,
    allow: Collection[Gate] = (),
    dry_run: bool = False,
    engine: Engine = encode_here,
    device: str = "auto",
    runtime: str = "torch",
    progress: Progress = silent,
) -> Refreshed:
    """Bring a store up to date with a catalogue: what is unchanged is not encoded, and if all is, nothing happens.

    Args:
        products: the catalogue, of any kind that `product_batches` reads.
        store: path or URI of a store that answers.
        model: another model's folder; everything is then encoded anew. None is the model of the live version.
        interactions: what shoppers did, from which popularity is counted; None leaves it as it is.
        allow: gates that may fail.
        dry_run: only say what would happen.
        engine: what encodes the shards.
        device: "auto" takes a GPU where there is one.
        runtime: what reads the texts, a `RuntimeName`.

    Raises:
        NotFound: a file or the store is missing, or faiss or the runtime's library is.
        InvalidData: names the file, row and field; or the model was fine-tuned for another task than next items; or
            the index that is asked for cannot be made; or nothing is new, but the live version is damaged.
        Conflict: another process writes to the store, or made something else live meanwhile; or the catalogue changed
            while it was read.
        QualityGateFailed: a check failed; what was live still is.
    """
    load_faiss()  # that it is missing is worth knowing before hours of embedding
    settings, clock = settings or RefreshSettings(), Clock()
    opened = EmbeddingStore.open(store)
    read_tags(opened)  # and so is that they are damaged, which would stop the pruning
    checkpoint = None if model is None else checkpoint_of(model)
    with nullcontext() if dry_run else opened.write_lock():
        with clock.step("compare"):
            interest = None if interactions is None else Interest.read(interactions)
            plan = Plan.to_refresh(opened, Feed.read(products), interest, checkpoint)
        lost = plan.lost(settings.gates)
        found = _found(plan, lost, settings, clock)
        if dry_run:
            return found
        require_passed([lost], allow)
        if checkpoint is not None and model is not None:
            keep_model(opened, Path(model), checkpoint)
        if plan.nothing and found.index is None:
            require_whole(opened, read_version(opened, found.base))
        else:
            writer = Writer(
                store=opened,
                settings=settings,
                allow=allow,
                engine=engine,
                device=device,
                runtime=runtime,
                progress=progress,
                clock=clock,
            )
            written = writer.write(plan, [lost])
            version = written.version
            found = replace(found, published=version, resumed=written.resumed, gates=version.gates)
        with clock.step("tidy up"):
            # That of another model is a change-over that was interrupted, unless this was one.
            staging = staging_folder(plan.model.model_id) if model is None else STAGING
            pruned = try_prune(opened, settings.keep, staging)
        return replace(found, pruned=pruned.versions, freed=max(0, pruned.bytes), prune_error=pruned.error)


def _another_index(base: StoreVersion, settings: RefreshSettings, dimension: int) -> dict[str, Any] | None:
    """The index of the live version and the one that the settings ask for, where they differ."""
    before, asked = base.index_request, asked_index(base, settings)
    if asked == before:
        return None
    require_buildable(asked, dimension)  # a dry run is not to promise what cannot be
    was, wanted = ({name: value for name, value in one.model_dump().items() if value is not None} for one in (before, asked))
    return {"from": {"kind": base.kind, **was}, "to": {"index": asked.index_or_auto, **wanted}}


def _found(plan: Plan, lost: Measured, settings: RefreshSettings, clock: Clock) -> Refreshed:
    assert plan.base is not None, "a refresh is against the version that is live"
    return Refreshed(
        base=plan.base.version,
        published=None,
        changes=plan.changes.counts,
        written=0 if plan.nothing else int(plan.selection.write.sum()),
        encoded=0 if plan.nothing else plan.to_encode,
        reason=plan.reason,
        index=_another_index(plan.base, settings, plan.model.dimension),
        gates={} if plan.nothing else {str(lost.gate): lost.to_dict()},
        seconds=clock.seconds,
    )
