"""The models that a store keeps copies of, so that it needs no other folder to answer and to be refreshed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from indexer.store.embedding_store import MODEL_LAST_FILE, EmbeddingStore, model_folder
from ubm_embed.counts.ranking_weights import COUNTS_FILE
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.inference.runtimes.graphs import DESCRIPTION_FILE, read_graphs, verify_graphs
from ubm_embed.model.folder import GRAPHS, PRODUCT_TOWER, ModelFolder, copy_checkpoint, model_id_of, require_task
from ubm_embed.progress import Notice

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
    """Copy a model with its graphs into the store, unless a whole copy is there. Call it inside `store.write_lock`.

    Raises:
        InvalidData: what counts weigh is in a damaged file.
        Conflict: the folder changed while it was copied.
    """
    name, _ = model_folder(model.model_id), model.count_weights
    if _has_copy(store, name, model):
        _take_over_count_weights(store, name, model.path)
        return
    with store.storage.write_folder(name, last=MODEL_LAST_FILE) as aside:
        copy_checkpoint(model.path, aside)
        if not _holds(aside, model):
            raise Conflict(f"{model.path} changed while it was copied")


def complete_graphs(store: EmbeddingStore, model_id: str, notice: Notice) -> None:
    """Write the graphs that the store's copy of a model lacks. Call it inside `store.write_lock`.

    Without PyTorch, which they are made with, the copy stays as it is and a notice says so. A copy that is missing or
    damaged stays as it is, too: see `open_model_copy`.
    """
    name = model_folder(model_id)
    with suppress(FileNotFoundError), store.storage.open_folder(name) as folder:
        if model_id_of(folder) != model_id or _has_graphs(folder):
            return
        if not find_spec("torch") or not find_spec("onnx"):
            notice(
                f"the store's copy of model {model_id} has no graphs, so only PyTorch reads it; to write them, run "
                "this once where ubm-embed[cpu,train] is installed"
            )
            return
        for part, graphs in _written_graphs(folder):
            with store.storage.write_folder(f"{name}/{part}", last=DESCRIPTION_FILE) as aside:
                shutil.copytree(graphs, aside, dirs_exist_ok=True)


@contextmanager
def open_model_copy(store: EmbeddingStore, model_id: str) -> Iterator[ModelFolder]:
    """The store's copy of a model, whose files are hashed first: they must be those of this model.

    Raises:
        InvalidData: the copy is missing, or its graphs are damaged.
        Conflict: its files are not those of the model.
    """
    name = f"{store.uri}/{model_folder(model_id)}"
    try:
        with store.storage.open_folder(model_folder(model_id)) as folder:
            if (actual := model_id_of(folder)) != model_id:
                raise Conflict(f"{name} holds model {actual}, not {model_id}, so it is damaged; {_REMEDY}")
            for tower in _towers(folder):
                _require_sound_graphs(tower)
            yield ModelFolder.open(folder, model_id=model_id)
    except FileNotFoundError:
        raise InvalidData(f"missing; {_REMEDY}", file=name) from None


def _has_copy(store: EmbeddingStore, name: str, model: ModelFolder) -> bool:
    try:
        with store.storage.open_folder(name) as folder:
            return _holds(folder, model) and (_has_graphs(folder) or not _has_graphs(model.path))
    except FileNotFoundError:
        return False


def _take_over_count_weights(store: EmbeddingStore, name: str, folder: Path) -> None:
    """Give a copy the weights of counts in the model's own folder, or their absence: its id says nothing of them."""
    file, copy = folder / COUNTS_FILE, f"{name}/{COUNTS_FILE}"
    wanted = file.read_bytes() if file.is_file() else None
    before = store.storage.read(copy) if store.storage.exists(copy) else None
    if wanted == before:
        return
    if wanted is None:
        store.storage.remove(copy)
    else:
        store.storage.write(copy, wanted)


def _holds(folder: Path, model: ModelFolder) -> bool:
    """Whether a folder holds this model, and its product tower if it has one."""
    try:
        if model_id_of(folder) != model.model_id:
            return False
    except (FileNotFoundError, NotADirectoryError):
        return False
    tower = model.product_tower
    return tower is None or _holds(folder / PRODUCT_TOWER, tower)


def _towers(folder: Path) -> list[Path]:
    """The folders of the models in a model folder: its own, and the product tower's if it has one."""
    return [tower for tower in (folder, folder / PRODUCT_TOWER) if tower.is_dir()]


def _require_sound_graphs(tower: Path) -> bool:
    """Whether a model has graphs; raises InvalidData or Conflict if they are damaged, or another model's."""
    graphs = read_graphs(tower, model_id_of(tower))
    if graphs is not None:
        verify_graphs(graphs)
    return graphs is not None


def _has_graphs(folder: Path) -> bool:
    """Whether a model folder has sound graphs, and its product tower too."""
    try:
        return all(map(_require_sound_graphs, _towers(folder)))
    except (InvalidData, Conflict):
        return False


def _written_graphs(folder: Path) -> Iterator[tuple[str, Path]]:
    """The graphs of a model and of its product tower: where they belong in the folder, and where they are now."""
    from ubm_embed.inference.runtimes.graph_writer import write_graphs

    with TemporaryDirectory() as temporary:
        copy_checkpoint(folder, temporary)
        with suppress(InvalidData):  # weights that do not fit: opening the copy says so, with its own path
            write_graphs(temporary)
        for graphs in (tower / GRAPHS for tower in _towers(Path(temporary))):
            if graphs.is_dir():
                yield graphs.relative_to(temporary).as_posix(), graphs
