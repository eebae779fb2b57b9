"""Faults of a store, and the command that mends each. Everything is read, nothing is changed."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from indexer.catalogue.product_file import PRODUCTS_FILE
from indexer.catalogue.version_catalogue import open_catalogue
from indexer.health.disk_index import require_searchable
from indexer.health.model_files import require_sound_model
from indexer.health.stored_rows import require_sound_rows
from indexer.index.kinds import DISK
from indexer.index.vector_index import INDEX_FILE
from indexer.search.canaries import check_canaries
from indexer.search.open_version import open_version
from indexer.store.embedding_store import (
    LIVE_FILE,
    STAGING,
    TAGS_FILE,
    VERSIONS,
    EmbeddingStore,
    model_folder,
    version_folder,
)
from indexer.store.product_table import TABLE
from indexer.versions.live import Live, read_live, version_numbers
from indexer.versions.tags import read_tags
from indexer.versions.version import CANARIES_FILE, StoreVersion, manifest_name, read_version, require_digests
from indexer.versions.version_index import open_index
from ubm_embed.errors import InvalidData, NotFound, UbmError
from ubm_embed.inference.embedder import Embedder
from ubm_embed.progress import Progress, silent
from ubm_embed.validation import NEWER


class Severity(enum.StrEnum):
    """How bad a finding is, the worst first."""

    ERROR = "error"  # a version cannot answer
    WARNING = "warning"  # everything answers, but something should be done
    NOTE = "note"  # nothing needs to be done


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        version: the store's version that it affects; None for the store as a whole.
        problem: names the file and what is wrong with it.
        remedy: the command to type.
        repairable: whether `indexer.health.repair` mends it from the table.
    """

    severity: Severity
    version: int | None
    problem: str
    remedy: str
    repairable: bool = False


def examine(uri: str | Path, *, progress: Progress = silent) -> list[Finding]:
    """All faults of a store, the worst first.

    Raises:
        NotFound: there is no store.
    """
    store = EmbeddingStore.from_uri(uri)
    if not {LIVE_FILE, VERSIONS, f"{TABLE}.lance"} & set(store.storage.list()):
        raise NotFound(f"no store at {uri}")
    examination = _Examination(store)
    numbers = version_numbers(store)
    versions = {number: examination.read_version(number) for number in numbers}
    for done, number in enumerate(numbers, start=1):
        examination.check_version(number, versions[number])
        progress("reading versions", done, len(numbers))
    examination.check_live(numbers)
    examination.check_tags(numbers)
    examination.check_leftovers(numbers)
    return sorted(examination.findings(), key=lambda finding: list(Severity).index(finding.severity))


_UPGRADE = "pip install --upgrade ubm-embed"
# The command for a version. It is made at the end, when it is known which versions are whole.
_Remedy = Callable[[int | None], str]


class _Examination:
    """Collects the faults of a store, check by check."""

    def __init__(self, store: EmbeddingStore) -> None:
        self.store = store
        self.faults: list[tuple[Severity, int | None, str, _Remedy]] = []
        self.damaged: set[int] = set()
        self.live: Live | None = None
        self.embedder: Embedder | None = None  # of the last version: most versions have one model

    def findings(self) -> list[Finding]:
        """The collected faults, each with its remedy."""
        return [
            Finding(severity, number, problem, remedy(number), remedy == self._repair)
            for severity, number, problem, remedy in self.faults
        ]

    def read_version(self, number: int) -> StoreVersion | None:
        """A version's manifest; None if it is damaged."""
        with self._collecting(number, self._repair):
            return read_version(self.store, number)
        return None

    def check_version(self, number: int, version: StoreVersion | None) -> None:
        """Read a version's rows, index, products and model."""
        if version is None:
            return
        with self._collecting(number, self._repair):
            self._check_pin(version)
        if number not in self.damaged:
            with self._collecting(number, self._replace_version):
                require_sound_rows(self.store, version)
        if number in self.damaged:
            return  # an index can be no better than its table
        with self._collecting(number, self._repair):
            self._check_files(version)
        with self._collecting(number, self._copy_model(version)):
            require_sound_model(self.store, version.model_id)
        if number not in self.damaged and CANARIES_FILE in version.files:
            with self._collecting(number, self._repair):
                self._check_canaries(version)

    def check_live(self, numbers: list[int]) -> None:
        """Check that live.json names a version that exists."""
        with self._collecting(None, self._replace_version):
            self.live = read_live(self.store)
        if self.live is not None and self.live.version not in numbers:
            number, problem = self.live.version, f"{self._path(LIVE_FILE)}: names a version that does not exist"
            self.damaged.add(number)
            self._add(
                Severity.ERROR, number, problem, self._repair if number in self._pins() else self._replace_version
            )

    def check_tags(self, numbers: list[int]) -> None:
        """Check that tags.json names versions that exist."""
        with self._collecting(None, _always(f"remove {self._path(TAGS_FILE)} and tag the versions again")):
            for tag, number in read_tags(self.store).items():
                if number not in numbers:
                    remedy = _always(f"ubm-embed versions tag {tag} --delete --store {self.store.uri}")
                    self._add(Severity.WARNING, number, f"tag {tag!r} names a version that does not exist", remedy)

    def check_leftovers(self, numbers: list[int]) -> None:
        """Look for what a crash left behind."""
        live_model = self._live_model()
        for model_id in self.store.storage.list(STAGING):
            problem = f"{self._path(STAGING)}/{model_id}: a refresh was stopped, failed at a gate, or is running"
            resume = self._refresh() if model_id == live_model else f"{self._refresh()} --model DIR, of that model,"
            drop = f"ubm-embed versions prune --staging --store {self.store.uri}"
            self._add(Severity.NOTE, None, problem, _always(f"{resume} resumes it; or, to drop it: {drop}"))
        stray = sorted(self._pins().keys() - {*numbers, *([self.live.version] if self.live else [])})
        if stray:
            problem = f"the table keeps rows of versions that do not exist: {', '.join(map(str, stray))}"
            self._add(Severity.NOTE, None, problem, _always(f"ubm-embed versions prune --store {self.store.uri}"))

    def _live_model(self) -> str | None:
        try:
            return read_version(self.store).model_id
        except UbmError:
            return None  # another check reports why

    def _check_pin(self, version: StoreVersion) -> None:
        pinned = self._pins().get(version.version, version.table_version)
        if pinned != version.table_version:
            problem = f"must be {pinned}, which the table keeps for it, got {version.table_version}"
            raise InvalidData(problem, file=self._path(manifest_name(version.version)), field="table_version")

    def _check_files(self, version: StoreVersion) -> None:
        table = self.store.table
        with self.store.storage.open_folder(version_folder(version.version)) as folder:
            require_digests(version, folder)
            index = open_index(table, version.table_version, version.index_spec, folder)
            if len(index) != version.products or index.dimension != version.dimension:
                actual = f"{len(index)} vectors of width {index.dimension}"
                expected = f"the manifest says {version.products} of width {version.dimension}"
                raise InvalidData(f"{actual}, but {expected}", file=folder / INDEX_FILE)
            with contextlib.closing(open_catalogue(self.store, version, folder)) as catalogue:
                ids = pl.Series("product_id", catalogue.table(["product_id"])["product_id"])
            if not ids.sort().equals(table.read(version.table_version, ["product_id"])["product_id"].sort()):
                raise InvalidData("its ids are not those of the table", file=folder / PRODUCTS_FILE)
            if version.index_spec.kind is DISK:
                require_searchable(table, version, index)

    def _check_canaries(self, version: StoreVersion) -> None:
        """Let the model read the texts again that the version was published with."""
        with contextlib.suppress(NotFound):  # without the library that reads the model, nobody can say
            opened = open_version(self.store, version.version, "cpu", self.embedder, revised=False)
            self.embedder = opened.embedder
            with contextlib.closing(opened.catalogue):
                check = check_canaries(opened)
            if check is not None and check.has_changed:
                severity = Severity.ERROR if check.is_unfit else Severity.WARNING
                self._add(severity, version.version, check.problem, _always(self._encode_again()))

    def _encode_again(self) -> str:
        return f"install what was there then, or encode all products again: {self._build()}"

    @contextlib.contextmanager
    def _collecting(self, number: int | None, remedy: _Remedy) -> Iterator[None]:
        """Add an error of the block to the faults, and go on."""
        try:
            yield
        except (UbmError, OSError) as error:
            if number is not None:
                self.damaged.add(number)
            newer = isinstance(error, InvalidData) and NEWER in error.problem
            self._add(Severity.ERROR, number, str(error), _always(_UPGRADE) if newer else remedy)

    def _add(self, severity: Severity, number: int | None, problem: str, remedy: _Remedy) -> None:
        self.faults.append((severity, number, problem, remedy))

    def _pins(self) -> dict[int, int]:
        try:
            return self.store.table.pins()
        except (UbmError, OSError):
            return {}  # another check reports that the table cannot be read

    def _path(self, name: str) -> str:
        return f"{self.store.uri}/{name}"

    def _refresh(self, options: str = "") -> str:
        return f"ubm-embed refresh {options}--products FILE --store {self.store.uri}"

    def _repair(self, number: int | None) -> str:
        return f"ubm-embed doctor --repair --store {self.store.uri}"

    def _replace_version(self, number: int | None) -> str:
        """Prune the version if the live one is whole; else roll back to a whole version; else build the store again."""
        live = self.live.version if self.live else None
        if number is not None and live is not None and live != number and live not in self.damaged:
            return f"ubm-embed versions prune --keep 1 --store {self.store.uri}{self._after_untagging(number)}"
        before = self.live.history if self.live else ()
        candidates = (*before, *reversed(version_numbers(self.store)))
        whole = next((candidate for candidate in candidates if candidate not in self.damaged), None)
        if whole is not None:
            return f"ubm-embed versions rollback {whole} --store {self.store.uri}"
        return self._build()

    def _after_untagging(self, number: int) -> str:
        """A tagged version is never pruned: what to type first."""
        with contextlib.suppress(UbmError, OSError):
            tags = sorted(tag for tag, tagged in read_tags(self.store).items() if tagged == number)
            commands = (f"`ubm-embed versions tag {tag} --delete --store {self.store.uri}`" for tag in tags)
            return "".join(f", after {command}" for command in commands)
        return ""

    def _build(self) -> str:
        entries = self.store.storage.list()
        broken = [LIVE_FILE] if self.live is None and LIVE_FILE in entries else []
        try:
            self.store.table.latest()
        except (UbmError, OSError):
            broken += sorted({self.store.table.folder} & set(entries))
        first = f"remove {' and '.join(map(self._path, broken))}, then type " if broken else ""
        return f"{first}ubm-embed build-index --model DIR --products FILE --store {self.store.uri}"

    def _copy_model(self, version: StoreVersion) -> _Remedy:
        def remedy(number: int | None) -> str:
            if self.live is not None and self.live.version == number:
                return f"{self._refresh('--model DIR ')}, where DIR has model {version.model_id}"
            folder = self._path(model_folder(version.model_id))
            return f"put the folder of model {version.model_id} back at {folder}, or {self._replace_version(number)}"

        return remedy


def _always(remedy: str) -> _Remedy:
    return lambda _: remedy
