"""The store's own copy of a model: what made its vectors must be there to ask them."""

from __future__ import annotations

from pathlib import Path

from indexer.store.embedding_store import MODEL_LAST_FILE, EmbeddingStore, model_folder
from ubm_embed.errors import Conflict
from ubm_embed.model.checkpoint import PRODUCT_TOWER, Checkpoint, copy_checkpoint, model_id_of


def keep_model(store: EmbeddingStore, model: Path, checkpoint: Checkpoint) -> None:
    """Copy a model into the store, unless it is there and whole. Call it inside `store.write_lock`.

    Raises:
        Conflict: the folder changed meanwhile.
    """
    name = model_folder(checkpoint.model_id)
    if _kept(store, name, checkpoint):
        return
    with store.storage.write_folder(name, last=MODEL_LAST_FILE) as aside:
        copy_checkpoint(model, aside)
        if not holds(aside, checkpoint):
            raise Conflict(f"{model} changed while it was copied")


def holds(folder: Path, checkpoint: Checkpoint) -> bool:
    """Whether a folder has this model, and its product tower where there is one."""
    try:
        if model_id_of(folder) != checkpoint.model_id:
            return False
    except (FileNotFoundError, NotADirectoryError):
        return False
    tower = checkpoint.product_tower
    return tower is None or holds(folder / PRODUCT_TOWER, tower)


def _kept(store: EmbeddingStore, name: str, checkpoint: Checkpoint) -> bool:
    try:
        with store.storage.open_folder(name) as folder:
            return holds(folder, checkpoint)
    except FileNotFoundError:
        return False
