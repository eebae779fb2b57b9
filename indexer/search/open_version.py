"""A version of a store, opened to be read: its model, its index and its products."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.version_catalogue import open_catalogue
from indexer.index.vector_index import INDEX_FILE, VectorIndex
from indexer.store.embedding_store import EmbeddingStore, model_folder, version_folder
from indexer.versions.live import live_number
from indexer.versions.revision import Revision
from indexer.versions.version import CANARIES_FILE, StoreVersion, read_version, require_files
from indexer.versions.version_index import open_index
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.folder import ModelFolder


@dataclass(frozen=True, slots=True)
class OpenVersion:
    """A version and its parts.

    Attributes:
        canaries: the content of its file of canaries, which few need (see `Canaries.from_json`); None if it has none.
        revision: what changed since it was published, which index and catalogue hold, too; None if nothing did.
    """

    version: StoreVersion
    embedder: Embedder
    index: VectorIndex
    catalogue: Catalogue
    canaries: bytes | None = None
    revision: Revision | None = None


def open_version(
    store: EmbeddingStore, number: int | None, device: str = "auto", embedder: Embedder | None = None
) -> OpenVersion:
    """A version of a store by its number, or the live one.

    Args:
        device: as of `Retriever.open`.
        embedder: is taken if it has the version's model, which is then not opened again.

    Raises:
        NotFound, InvalidData, Conflict, ValueError: as of `Retriever.open`.
    """
    opening = live_number(store) if number is None else number
    while True:
        try:
            return _open_parts(store, read_version(store, opening), device, embedder)
        except (InvalidData, NotFound, OSError):
            # While a version is read, later ones may be published and this one pruned: then the live one is tried.
            if number is not None or live_number(store) == opening:
                raise
            opening = live_number(store)


def gpu_number(device: str) -> int | None:
    """The number of the GPU that a device's name means for an index: 0 for "auto" and "cuda", None for "cpu"."""
    kind, _, number = device.partition(":")
    return None if kind == "cpu" else int(number) if number.isdecimal() else 0


def _open_parts(store: EmbeddingStore, version: StoreVersion, device: str, embedder: Embedder | None) -> OpenVersion:
    # First, since a version of older software is copied to be opened, which would be in vain without its model.
    if embedder is None or embedder.model_id != version.model_id:
        embedder = _open_model(store, version, device)
    with _open_folder(store, version_folder(version.version)) as folder:
        require_files(version, folder)
        index = open_index(store.table, version.table_version, version.index_spec, folder)
        _require_equal("vectors", len(index), version.indexed, folder / INDEX_FILE)
        _require_equal("width", index.dimension, version.dimension, folder / INDEX_FILE)
        catalogue = open_catalogue(store, version, folder)
        canaries = (folder / CANARIES_FILE).read_bytes() if CANARIES_FILE in version.files else None
    gpu = gpu_number(device)
    if gpu is not None:
        index.move_to_gpu(gpu)
    return OpenVersion(version, embedder, index, catalogue, canaries)


def _open_model(store: EmbeddingStore, version: StoreVersion, device: str) -> Embedder:
    """The model of a version, which was verified when it was published: its weights are not hashed again."""
    name = f"{store.uri}/{model_folder(version.model_id)}"
    try:
        with ExitStack() as stack:
            path = stack.enter_context(store.storage.open_folder(model_folder(version.model_id)))
            try:
                folder = ModelFolder.open(path, model_id=version.model_id)
            except NotFound as error:
                raise InvalidData(f"version {version.version} needs this model: {error}", file=name) from None
            except Conflict as error:
                raise Conflict(f"{name}: version {version.version} needs this model: {error}") from None
            embedder = Embedder(folder, device=device)
            if folder.product_tower is not None:
                # It is only opened for the first product that is looked up by its text.
                weakref.finalize(embedder, stack.pop_all().close)
    except FileNotFoundError:
        raise InvalidData(f"missing; version {version.version} needs this model", file=name) from None
    _require_equal("width", embedder.dimension, version.dimension, name)
    return embedder


@contextmanager
def _open_folder(store: EmbeddingStore, name: str) -> Iterator[Path]:
    """As `Storage.open_folder`; a missing folder is damage to the store."""
    try:
        with store.storage.open_folder(name) as folder:
            yield folder
    except FileNotFoundError as error:
        raise InvalidData("missing; the store is damaged", file=error.filename or f"{store.uri}/{name}") from None


def _require_equal(what: str, actual: int, expected: int, file: Path | str) -> None:
    if actual != expected:
        raise InvalidData(f"{actual} {what}, but the manifest says {expected}", file=file)
