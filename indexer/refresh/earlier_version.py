"""The version that a new one is made from: its index, its products and its probes, as far as they can be used again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from indexer.index.kept_lists import KEPT_KINDS
from indexer.index.vector_index import INDEX_FILE, VectorIndex
from indexer.refresh.earlier_rows import EarlierRows
from indexer.refresh.probes import PROBES_FILE, Probes
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.versions.version import StoreVersion, read_version, require_digests
from ubm_embed.errors import InvalidData, NotFound


@dataclass(frozen=True)
class EarlierVersion:
    """A version whose vectors the model of the new one made, too.

    Attributes:
        version: its manifest, with the files that it may share with others.
        rows: its products; None if they cannot be compared with those of the new one, or were already.
        index: its index; None if that cannot be kept up.
        probes: its probes, if it has any.
        problem: why there is no `rows` or no `index`.
    """

    version: StoreVersion
    rows: EarlierRows | None = None
    index: VectorIndex | None = None
    probes: Probes | None = None
    problem: str | None = None

    @classmethod
    @contextmanager
    def opened(cls, store: EmbeddingStore, base: StoreVersion) -> Iterator[EarlierVersion]:
        """A version of the store, open as long as the block lasts.

        A damaged file is only the reason why something is made anew: its damage must not be handed on.
        """
        version = base if base.shares_files_of is None else read_version(store, base.files_version)
        with ExitStack() as opened:
            try:
                folder = opened.enter_context(store.storage.open_folder(version_folder(version.version)))
            except FileNotFoundError:
                yield cls(version, problem=f"the files of version {version.version} are missing")
                return
            yield cls._read(store, version, folder)

    @classmethod
    def _read(cls, store: EmbeddingStore, version: StoreVersion, folder: Path) -> EarlierVersion:
        try:
            require_digests(version, folder)
            rows = EarlierRows.open(store.table, version, folder)
            if rows is None:
                return cls(version, problem=f"version {version.version} was written by older software")
            probes = Probes.read(folder / PROBES_FILE) if PROBES_FILE in version.files else None
            if version.index_spec.kind not in KEPT_KINDS:
                return cls(version, rows, None, probes, f"an index of the kind {version.kind!r} is not kept up")
            return cls(version, rows, VectorIndex.load(folder / INDEX_FILE, version.index_spec), probes)
        except (InvalidData, NotFound):
            return cls(version, problem=f"files of version {version.version} are missing or damaged")
