"""A store from a model and a catalogue, whatever was there before."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from indexer.index.index_request import IndexRequest
from indexer.index.faiss_factory import load_faiss
from indexer.refresh.catalogue_scan import Feed
from indexer.refresh.encoding import Engine, encode_here
from indexer.refresh.gates import Gate, require_passed
from indexer.refresh.interaction_counts import Interest
from indexer.refresh.model_copy import keep_model
from indexer.refresh.plan import Plan, checkpoint_of
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.writing import Writer
from indexer.store.embedding_store import STAGING, EmbeddingStore
from indexer.versions.pruning import try_prune
from indexer.versions.tags import read_tags
from indexer.versions.version import StoreVersion
from ubm_embed.progress import Progress, silent


def build_index(
    *,
    model: str | Path,
    products: str | Path,
    store: str | Path,
    interactions: str | Path | None = None,
    settings: RefreshSettings | None = None,
    allow: Collection[Gate] = (),
    engine: Engine = encode_here,
    device: str = "auto",
    runtime: str = "torch",
    progress: Progress = silent,
) -> StoreVersion:
    """Embed a catalogue and make it the live version of a store. A build that was killed is taken up where it stopped.

    Args:
        model: a model folder; the store keeps a copy.
        products: the catalogue, of any kind that `product_batches` reads.
        store: path or URI of the store, made if it is not there.
        interactions: what shoppers did, from which popularity is counted; without them it is 0 everywhere.
        settings: limits of the checks, what is kept, how the work is cut.
        allow: checks that may fail.
        engine: what encodes the shards.
        device: "auto" takes a GPU where there is one.
        runtime: what reads the texts, a `RuntimeName`.

    Raises:
        NotFound: a file is missing, or faiss or the runtime's library is.
        InvalidData: names the file, row and field; or the model was fine-tuned for another task than next items.
        Conflict: another process writes to the store, or the folder holds something else.
        QualityGateFailed: a check failed; what was live still is.
    """
    load_faiss()  # that it is missing is worth knowing before hours of embedding
    settings = settings or RefreshSettings()
    asked = settings.index or IndexRequest()
    settings = replace(settings, index=asked.model_copy(update={"index": asked.index_or_auto}))  # whatever was live before
    checkpoint = checkpoint_of(model)
    feed = Feed.read(products)
    interest = None if interactions is None else Interest.read(interactions)
    target = EmbeddingStore.create(store)
    with target.write_lock():
        read_tags(target)  # what is kept afterwards depends on them: better known before hours of embedding
        plan = Plan.to_build(target, feed, interest, checkpoint)
        keep_model(target, Path(model), checkpoint)
        writer = Writer(
            store=target,
            settings=settings,
            allow=allow,
            engine=engine,
            device=device,
            runtime=runtime,
            progress=progress,
        )
        lost = plan.lost(settings.gates)
        require_passed([lost], allow)
        written = writer.write(plan, [lost] if plan.base else [])
        try_prune(target, settings.keep, STAGING)  # what it could not remove, the next refresh does
    return written.version
