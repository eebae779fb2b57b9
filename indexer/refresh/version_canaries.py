"""Writing a version's canaries: by the store's copy of its model, over the index and the products to be published."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.index.vector_index import VectorIndex
from indexer.search.canaries import Canaries
from indexer.store.embedding_store import EmbeddingStore, model_folder
from indexer.versions.version import CANARIES_FILE
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.folder import ModelFolder


def write_canaries(
    store: EmbeddingStore, model_id: str, index: VectorIndex, folder: Path, *, kept: bytes | None = None
) -> None:
    """Write the canaries of a version into its folder, which has its products already.

    There are none where the model cannot be read: a version can be published and repaired without reading it.

    Args:
        kept: the file of a version that is repaired: its vectors are still those that were published, but an index
            that is trained again may find other products.
    """
    if kept is not None:
        with closing(MappedCatalogue.open(folder, len(index))) as catalogue:
            found = Canaries.from_json(kept, file=CANARIES_FILE).found_again(index, catalogue)
        (folder / CANARIES_FILE).write_bytes(found.to_bytes())
        return
    # As most servers read it. Some texts are not worth a GPU's start.
    with suppress(NotFound, InvalidData, Conflict, FileNotFoundError):
        with store.storage.open_folder(model_folder(model_id)) as path:
            embedder = Embedder(ModelFolder.open(path, model_id=model_id), device="cpu")
            with closing(MappedCatalogue.open(folder, len(index))) as catalogue:
                canaries = Canaries.make(embedder, index, catalogue)
        if canaries is not None:
            (folder / CANARIES_FILE).write_bytes(canaries.to_bytes())
