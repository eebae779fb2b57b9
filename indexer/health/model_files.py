"""The files of a store's copy of a model: are they still those of that model."""

from __future__ import annotations

from indexer.store.embedding_store import EmbeddingStore, model_folder
from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.inference.runtimes.graphs import read_graphs, verify_graphs
from ubm_embed.model.folder import ModelFolder


def require_sound_model(store: EmbeddingStore, model_id: str) -> None:
    """Read the store's copy of a model, with its product tower and graphs, and compare it with its digests.

    Raises:
        NotFound, InvalidData, Conflict: a file is missing or damaged, or was changed.
    """
    name = model_folder(model_id)
    try:
        with store.storage.open_folder(name) as folder:
            model = ModelFolder.open(folder)
            for tower in filter(None, (model, model.product_tower)):
                if graphs := read_graphs(tower.path, tower.model_id):
                    verify_graphs(graphs)
    except FileNotFoundError:
        raise InvalidData("missing", file=f"{store.uri}/{name}") from None
    if model.model_id != model_id:
        raise Conflict(f"{store.uri}/{name} holds model {model.model_id}")
