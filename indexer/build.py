"""From a model and a catalogue to a live version of a store.

The order is what keeps a crash harmless: the model, then the table, then the index, and last the one small file that
makes them live. Until then the store answers as before, and what was written aside is cleared by the next writer.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import polars as pl

from indexer.catalogue import IDS_FILE, write_ids
from indexer.index import INDEX_FILE, VectorIndex, load_faiss
from indexer.recall import index_recall_at_k
from indexer.store import POPULARITY, EmbeddingStore, StoredVectors, require_storable
from indexer.version import METRIC, StoreVersion, make_live, next_number
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.corpus import read_interactions, read_products
from ubm_embed.data.tasks import Task
from ubm_embed.embedder import Embedder
from ubm_embed.errors import Conflict, QualityGateFailed
from ubm_embed.model.checkpoint import PRODUCT_TOWER, Checkpoint, copy_checkpoint, model_id_of, require_task
from ubm_embed.outputs import output_folder
from ubm_embed.progress import Progress, silent

LEAST_RECALL = 0.99
_RECALL_QUERIES = 100
_LENGTH_TOLERANCE = 1e-3


def build_index(
    *,
    model: str | Path,
    products: str | Path,
    store: str | Path,
    interactions: str | Path | None = None,
    progress: Progress = silent,
) -> StoreVersion:
    """Embed a catalogue and make it the live version of a store.

    Args:
        model: a model folder; the store keeps a copy.
        products: the catalogue, of any kind that `read_products` reads.
        store: the store's folder, made if it is not there.
        interactions: what shoppers did, from which popularity is counted; without them it is 0 everywhere.

    Raises:
        NotFound: a file is missing, or faiss is.
        InvalidData: names the file, row and field; or the model was fine-tuned for another task than next items.
        Conflict: another process writes to the store, or the folder holds something else.
        QualityGateFailed: a check failed; what was live still is.
    """
    load_faiss()  # that it is missing is worth knowing before hours of embedding
    checkpoint = Checkpoint.from_pretrained(model)
    require_task(checkpoint, Task.NIP)
    rows = _read_catalogue(Path(products), interactions)
    target = EmbeddingStore.create(store)
    with target.writing():
        _keep_model(target, Path(model), checkpoint)
        vectors = Embedder(checkpoint).embed_products(rows, progress=progress)
        _require_sound(vectors, rows["product_id"])
        table_version = target.write(rows, vectors)
        del vectors  # read back below: an index is built from what is in the table
        return publish_index(target, table_version, model_id=checkpoint.model_id, source=Path(products).name)


def publish_index(store: EmbeddingStore, table_version: int, *, model_id: str, source: str) -> StoreVersion:
    """Build an index from one version of the table, check it, and make it live. Call it inside `store.writing`.

    Raises:
        QualityGateFailed: a check failed; what was live still is.
    """
    stored = store.read_vectors(table_version)
    number = next_number(store)
    with output_folder(store.version_folder(number)) as aside:
        VectorIndex.build(stored.vectors).save(aside / INDEX_FILE)
        write_ids(aside / IDS_FILE, stored.product_ids)
        index = VectorIndex.load(aside / INDEX_FILE)  # what is judged is what will be served
        published = StoreVersion(
            version=number,
            table_version=table_version,
            model_id=model_id,
            dimension=index.dimension,
            kind=index.kind,
            metric=METRIC,
            products=len(stored.vectors),
            indexed=len(index),
            recall_at_10=_require_recall(index, stored),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            software=_software(),
            source=source,
        )
        published.write(aside)
    make_live(store, published)
    return published


def _read_catalogue(file: Path, interactions: str | Path | None) -> pl.DataFrame:
    """Products with their popularity: how many interactions each has."""
    products = read_products(file)
    require_storable(products, file)
    if interactions is None:
        return products.with_columns(pl.lit(0, pl.Int64).alias(POPULARITY))
    counts = read_interactions(interactions).group_by("product_id").len(POPULARITY)
    counted = products.join(counts, on="product_id", how="left", maintain_order="left")
    return counted.with_columns(pl.col(POPULARITY).fill_null(0).cast(pl.Int64))


def _keep_model(store: EmbeddingStore, model: Path, checkpoint: Checkpoint) -> None:
    """Copy a model into the store, unless it is there and whole."""
    kept = store.model_folder(checkpoint.model_id)
    if _holds(kept, checkpoint):
        return
    with output_folder(kept, overwrite=True) as aside:
        copy_checkpoint(model, aside)
        if not _holds(aside, checkpoint):
            raise Conflict(f"{model} changed while it was copied")


def _holds(folder: Path, checkpoint: Checkpoint) -> bool:
    """Whether a folder has this model, and its product tower where there is one."""
    try:
        if model_id_of(folder) != checkpoint.model_id:
            return False
    except (FileNotFoundError, NotADirectoryError):
        return False
    tower = checkpoint.product_tower
    return tower is None or _holds(folder / PRODUCT_TOWER, tower)


def _require_sound(vectors: FloatArray, product_ids: pl.Series) -> None:
    """Raise unless every vector is finite and of length 1: NaN and zero come of a damaged model."""
    lengths = np.sqrt(np.einsum("md,md->m", vectors, vectors))
    unsound = np.flatnonzero(~(np.abs(lengths - 1) <= _LENGTH_TOLERANCE))
    if unsound.size:
        first = f"product {product_ids[int(unsound[0])]!r} has length {lengths[unsound[0]]:g}"
        raise QualityGateFailed(f"{unsound.size} of {len(vectors)} vectors are not of length 1: that of {first}")


def _require_recall(index: VectorIndex, stored: StoredVectors) -> float:
    """The recall@10 of an index, asked with a sample of its own vectors."""
    if len(index) != len(stored.vectors):
        raise QualityGateFailed(f"the index holds {len(index)} vectors, expected {len(stored.vectors)}")
    sample = np.linspace(0, len(index) - 1, min(_RECALL_QUERIES, len(index))).astype(np.int64)
    recall = index_recall_at_k(index, stored.vectors, stored.vectors[sample])
    if recall < LEAST_RECALL:
        raise QualityGateFailed(f"the index finds {recall:.3f} of the exact ten nearest, expected {LEAST_RECALL}")
    return recall


def _software() -> str:
    try:
        return version("ubm-embed")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"
