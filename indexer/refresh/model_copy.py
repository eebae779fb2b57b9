"""The models that a store keeps copies of, so that it needs no other folder to answer and to be refreshed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from indexer.store.embedding_store import MODEL_LAST_FILE, EmbeddingStore, model_folder
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.model.folder import PRODUCT_TOWER, ModelFolder, copy_checkpoint, model_id_of, require_task

_REMEDY = "give the model's own folder: ubm-embed refresh --model DIR"


def open_model(folder: str | Path) -> ModelFolder:
    """Open a model folder whose vectors can be searched.

    Raises:
        NotFound: there is no such folder.
        InvalidData: it is damaged, or was fine-tuned for another task than next items.
    """
    model = ModelFolder.open(folder)
    require_task(model, Task.NIP)
    return model


def copy_model(store: EmbeddingStore, model: ModelFolder) -> None:
    """Copy a model into the store, unless a whole copy is there. Call it inside `store.write_lock`.

    Raises:
        Conflict: the folder changed while it was copied.
    """
    name = model_folder(model.model_id)
    if _has_copy(store, name, model):
        return
    with store.storage.write_folder(name, last=MODEL_LAST_FILE) as aside:
        copy_checkpoint(model.path, aside)
        if not _holds(aside, model):
            raise Conflict(f"{model.path} changed while it was copied")


@contextmanager
def open_model_copy(store: EmbeddingStore, model_id: str) -> Iterator[ModelFolder]:
    """The store's copy of a model, whose files are hashed first: they must be those of this model.

    Raises:
        InvalidData: the copy is missing.
        Conflict: its files are not those of the model.
    """
    name = f"{store.uri}/{model_folder(model_id)}"
    try:
        with store.storage.open_folder(model_folder(model_id)) as folder:
            if (actual := model_id_of(folder)) != model_id:
                raise Conflict(f"{name} holds model {actual}, not {model_id}, so it is damaged; {_REMEDY}")
            yield ModelFolder.open(folder, model_id=model_id)
    except FileNotFoundError:
        raise InvalidData(f"missing; {_REMEDY}", file=name) from None


def _has_copy(store: EmbeddingStore, name: str, model: ModelFolder) -> bool:
    try:
        with store.storage.open_folder(name) as folder:
            return _holds(folder, model)
    except FileNotFoundError:
        return False


def _holds(folder: Path, model: ModelFolder) -> bool:
    """Whether a folder holds this model, and its product tower if it has one."""
    try:
        if model_id_of(folder) != model.model_id:
            return False
    except (FileNotFoundError, NotADirectoryError):
        return False
    tower = model.product_tower
    return tower is None or _holds(folder / PRODUCT_TOWER, tower)
