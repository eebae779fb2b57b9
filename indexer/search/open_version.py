"""A version of a store, opened to be read: its model, its index and its products, with what changed since."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.catalogue.version_catalogue import open_catalogue
from indexer.index.vector_index import INDEX_FILE, VectorIndex
from indexer.lexical.words_file import WORDS_FILE, read_words
from indexer.revisions.revised_counts import RevisedCounts
from indexer.revisions.revised_words import RevisedWords
from indexer.revisions.segment import read_patch, segment_schema
from indexer.search.version_snapshot import VersionSnapshot
from indexer.store.embedding_store import EmbeddingStore, model_folder, version_folder
from indexer.versions.live import Live, read_live
from indexer.versions.revision import Revision
from indexer.versions.rollback import shared_base
from indexer.versions.version import CANARIES_FILE, PATCH_FILE, StoreVersion, read_version, require_files
from indexer.versions.version_counts import open_counts
from indexer.versions.version_index import open_index
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.folder import ModelFolder

# Upserts and pruning may remove what is about to be read; so often in a row they do not.
_MAX_TRIES = 20
# Whether counts are read, and whether words are.
_Besides = tuple[bool, bool]


@dataclass(frozen=True, slots=True)
class OpenVersion:
    """A version and its parts.

    Attributes:
        snapshot: its index and products, under its revision.
        canaries: the content of its file of canaries, which few need (see `Canaries.from_json`); None if it has none.
        with_counts, with_words: whether its counts and its words are read, and those of its successors.
    """

    version: StoreVersion
    embedder: Embedder
    snapshot: VersionSnapshot
    canaries: bytes | None = None
    with_counts: bool = False
    with_words: bool = False

    @property
    def index(self) -> VectorIndex:
        """Its vectors."""
        return self.snapshot.index

    @property
    def catalogue(self) -> Catalogue:
        """Its products."""
        return self.snapshot.catalogue

    @property
    def published_index(self) -> VectorIndex:
        """Its index without a revision."""
        return self.snapshot.published_index

    @property
    def published_catalogue(self) -> MappedCatalogue:
        """Its products without a revision, and as the version has them whose files it shares."""
        return self.snapshot.published_catalogue

    @property
    def counts(self) -> RevisedCounts | None:
        """What its shoppers did next; None if it has no counts, or they are not read."""
        return self.snapshot.counts

    @property
    def words(self) -> RevisedWords | None:
        """Which words its products have; None if it has no file of them, or it is not read."""
        return self.snapshot.words

    @property
    def _read_besides(self) -> _Besides:
        return self.with_counts, self.with_words

    @property
    def revision(self) -> Revision | None:
        """What changed since it was published, which its index and products hold; None if nothing did."""
        return self.snapshot.revision

    def shares_files(self, version: StoreVersion) -> bool:
        """Whether another version has the same index, products and model, or is this one."""
        mine = self.version
        return (mine.files_version, mine.model_id) == (version.files_version, version.model_id)

    def advanced(self, store: EmbeddingStore, live: Live) -> OpenVersion:
        """What is live, if it is another revision of this version or a version that shares its files.

        Only what this one has not read is read. Both may be used, and both read the same files.

        Raises:
            InvalidData: a file of the revision is missing or damaged.
            Conflict: the version that is live has other files or another model.
        """
        opened = self
        if live.version != self.version.version:
            version = read_version(store, live.version)
            if not self.shares_files(version):
                raise Conflict(f"version {version.version} does not share the files of version {self.version.version}")
            opened = _open_parts(store, version, self.embedder, self._read_besides, self.snapshot.published_index)
        return opened.revised(store, live.revisions.get(live.version))

    def revised(self, store: EmbeddingStore, revision: Revision | None) -> OpenVersion:
        """The same version under a revision, or under a later one if that is published meanwhile.

        Raises:
            InvalidData: a file of the revision is missing or damaged.
        """
        number = self.version.version
        for _ in range(_MAX_TRIES):
            try:
                return replace(self, snapshot=self.snapshot.revised(store, number, revision))
            except InvalidData:
                # A later revision may have merged the segments of this one, which are then removed.
                latest = read_live(store).revisions.get(number)
                if latest == revision:
                    raise
                revision = latest
        raise Conflict(f"the revisions of version {number} of {store.uri} change faster than they can be read")


def open_version(
    store: EmbeddingStore,
    number: int | None,
    device: str = "auto",
    embedder: Embedder | None = None,
    *,
    revised: bool = True,
    counts: bool = False,
    words: bool = False,
) -> OpenVersion:
    """A version of a store by its number, or the live one.

    Args:
        device: as of `Retriever.open`.
        embedder: is taken if it has the version's model, which is then not opened again.
        revised: whether under its last revision; otherwise as it was published.
        counts, words: whether to read these, if it has some.

    Raises:
        NotFound, InvalidData, Conflict, ValueError: as of `Retriever.open`.
    """
    # Read once: version and revision are of one moment.
    live = read_live(store) if revised or number is None else None
    opened = _open_published(store, number, live, device, embedder, (counts, words))
    if live is None or not revised:
        return opened
    return opened.revised(store, live.revisions.get(opened.version.version))


def gpu_number(device: str) -> int | None:
    """The number of the GPU that a device's name means for an index: 0 for "auto" and "cuda", None for "cpu"."""
    kind, _, number = device.partition(":")
    return None if kind == "cpu" else int(number) if number.isdecimal() else 0


def _open_published(
    store: EmbeddingStore,
    number: int | None,
    live: Live | None,
    device: str,
    embedder: Embedder | None,
    besides: _Besides,
) -> OpenVersion:
    opening = live.version if number is None and live is not None else number
    assert opening is not None, "a version without a number is the live one"
    while True:
        try:
            version = read_version(store, opening)
            # First, since a version of older software is copied to be opened, which would be in vain without its model.
            if embedder is None or embedder.model_id != version.model_id:
                embedder = _open_model(store, version, device)
            return _open_parts(store, version, embedder, besides, gpu=gpu_number(device))
        except (InvalidData, NotFound, OSError):
            # While a version is read, later ones may be published and this one pruned: then the live one is tried.
            if number is not None or read_live(store).version == opening:
                raise
            opening = read_live(store).version


def _open_parts(
    store: EmbeddingStore,
    version: StoreVersion,
    embedder: Embedder,
    besides: _Besides,
    index: VectorIndex | None = None,
    gpu: int | None = None,
) -> OpenVersion:
    """A version as it was published.

    Args:
        besides: whether to read its counts, and its words, if it has some.
        index: of its files, if it is open already.
    """
    base = shared_base(store, version)
    with ExitStack() as stack:
        folder = stack.enter_context(_open_folder(store, version_folder(base.version)))
        require_files(base, folder)
        own = None
        if base is not version:
            own = stack.enter_context(_open_folder(store, version_folder(version.version)))
            require_files(version, own)
        if index is None:
            index = _open_index(store, base, folder, gpu)
        catalogue = open_catalogue(store, version, folder, own)
        canaries = (folder / CANARIES_FILE).read_bytes() if CANARIES_FILE in base.files else None
        patch = None
        if own is not None and PATCH_FILE in version.files:
            patch = read_patch(own / PATCH_FILE, segment_schema(catalogue.schema, version.dimension))
        with_counts, with_words = besides
        counts = open_counts(version, folder, own) if with_counts else None
        words = read_words(folder / WORDS_FILE, base.indexed) if with_words and WORDS_FILE in base.files else None
    snapshot = VersionSnapshot.as_published(index, catalogue, patch, counts, words)
    return OpenVersion(version, embedder, snapshot, canaries, with_counts, with_words)


def _open_index(store: EmbeddingStore, version: StoreVersion, folder: Path, gpu: int | None) -> VectorIndex:
    index = open_index(store.table, version.table_version, version.index_spec, folder)
    _require_equal("vectors", len(index), version.indexed, folder / INDEX_FILE)
    _require_equal("width", index.dimension, version.dimension, folder / INDEX_FILE)
    if gpu is not None:
        index.move_to_gpu(gpu)
    return index


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
