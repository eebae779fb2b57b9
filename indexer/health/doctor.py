"""What is wrong with a store, and what to type about it. Everything is read, nothing is changed."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from indexer.health.index_trial import require_searchable
from indexer.index.kinds import DISK
from indexer.index.vector_index import INDEX_FILE, VectorIndex
from indexer.refresh.catalogue_scan import with_hashes
from indexer.refresh.shards import not_unit_length
from indexer.search.catalogue import IDS_FILE, read_ids
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
from indexer.store.table_schema import TEXT_HASH, VECTOR
from indexer.versions.index_of import index_of
from indexer.versions.live import Live, read_live, version_numbers
from indexer.versions.rollback import lost_its_rows
from indexer.versions.tags import read_tags
from indexer.versions.version import MANIFEST_FILE, StoreVersion, read_version, require_files
from ubm_embed.data.corpus import PRODUCT_SCHEMA
from ubm_embed.errors import Conflict, InvalidData, NotFound, UbmError
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.progress import Progress, silent


class Severity(enum.StrEnum):
    """How bad it is."""

    ERROR = "error"  # a version cannot answer
    WARNING = "warning"  # everything answers, but something should be done
    NOTE = "note"  # nothing need be done


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        version: the store's version that it concerns, None for the store as a whole.
        problem: names the file and what is wrong.
        remedy: what to type.
        repairable: whether `indexer.health.repair` mends it, from the table.
    """

    severity: Severity
    version: int | None
    problem: str
    remedy: str
    repairable: bool = False


def examine(where: str | Path, *, progress: Progress = silent) -> list[Finding]:
    """Everything that is wrong with a store, the worst first.

    Raises:
        NotFound: there is no store at all.
    """
    store = EmbeddingStore.from_uri(where)
    if not {LIVE_FILE, VERSIONS, f"{TABLE}.lance"} & set(store.storage.list()):
        raise NotFound(f"no store at {where}")
    doctor = _Doctor(store)
    numbers = version_numbers(store)
    versions = {number: doctor.version(number) for number in numbers}
    for done, number in enumerate(numbers, start=1):
        doctor.examine(number, versions[number])
        progress("reading versions", done, len(numbers))
    doctor.live(numbers)
    doctor.tags(numbers)
    doctor.leftovers(numbers)
    order = list(Severity)
    return sorted(doctor.findings(), key=lambda found: order.index(found.severity))


# What to type, for a version; said at the end, when it is known which versions are whole.
_Remedy = Callable[[int | None], str]


class _Doctor:
    """Collects what is wrong, step by step."""

    def __init__(self, store: EmbeddingStore) -> None:
        self.store = store
        self.noted: list[tuple[Severity, int | None, str, _Remedy]] = []
        self.bad: set[int] = set()
        self.now: Live | None = None

    def findings(self) -> list[Finding]:
        """What was noted, each with its remedy."""
        return [
            Finding(severity, number, problem, remedy(number), remedy == self._repair)
            for severity, number, problem, remedy in self.noted
        ]

    def version(self, number: int) -> StoreVersion | None:
        with self._noted(number, self._repair):
            return read_version(self.store, number)
        return None

    def examine(self, number: int, version: StoreVersion | None) -> None:
        """Read a version's table, index, ids and model."""
        if version is None:
            return
        with self._noted(number, self._repair):
            self._pin(version)
        if number not in self.bad:
            with self._noted(number, self._instead):
                self._table(version)
        if number in self.bad:
            return  # an index can be no better than its table
        with self._noted(number, self._repair):
            self._files(version)
        with self._noted(number, self._copy_model(version)):
            self._model(version)

    def live(self, numbers: list[int]) -> None:
        """Look at what live.json names."""
        with self._noted(None, self._instead):
            self.now = read_live(self.store)
        if self.now is not None and self.now.version not in numbers:
            number, problem = self.now.version, f"{self._name(LIVE_FILE)}: names a version that is not there"
            self.bad.add(number)
            self._add(Severity.ERROR, number, problem, self._repair if number in self._pins() else self._instead)

    def tags(self, numbers: list[int]) -> None:
        """Look for names of versions that are gone."""
        with self._noted(None, _always(f"remove {self._name(TAGS_FILE)} and tag the versions again")):
            for name, number in read_tags(self.store).items():
                if number not in numbers:
                    remedy = _always(f"ubm-embed versions tag {name} --delete --store {self.store.uri}")
                    self._add(Severity.WARNING, number, f"tag {name!r} names a version that is not there", remedy)

    def leftovers(self, numbers: list[int]) -> None:
        """Look for what a crash left."""
        ours = self._live_model()
        for model_id in self.store.storage.list(STAGING):
            problem = f"{self._name(STAGING)}/{model_id}: a refresh was stopped, or runs now, or failed at a gate"
            again = self._refresh() if model_id == ours else f"{self._refresh()} --model DIR, of that model,"
            drop = f"ubm-embed versions prune --staging --store {self.store.uri}"
            self._add(Severity.NOTE, None, problem, _always(f"{again} goes on from there; or, to drop it: {drop}"))
        stray = sorted(self._pins().keys() - {*numbers, *([self.now.version] if self.now else [])})
        if stray:
            problem = f"the table keeps rows of versions that are not there: {', '.join(map(str, stray))}"
            self._add(Severity.NOTE, None, problem, _always(f"ubm-embed versions prune --store {self.store.uri}"))

    def _live_model(self) -> str | None:
        try:
            return read_version(self.store).model_id
        except UbmError:
            return None  # why not is found elsewhere

    def _pin(self, version: StoreVersion) -> None:
        kept = self._pins().get(version.version, version.table_version)
        if kept != version.table_version:
            problem = f"expected {kept}, which the table keeps for it, got {version.table_version}"
            file = self._name(f"{version_folder(version.version)}/{MANIFEST_FILE}")
            raise InvalidData(problem, file=file, field="table_version")

    def _table(self, version: StoreVersion) -> None:
        rows, bad = 0, 0
        for batch in self.store.table.batches(version.table_version):
            rows += len(batch.vectors)
            bad += not_unit_length(batch.vectors).size
        mixed = self._mixed_texts(version)
        if lost_its_rows(self.store, version):
            raise InvalidData(f"does not keep the rows of version {version.version}", file=self.store.table.uri)
        if mixed:
            problem = f"{mixed} of {rows} products have another text than was encoded"
            raise InvalidData(problem, file=self.store.table.uri)
        if bad:
            raise InvalidData(f"{bad} of {rows} vectors are not of length 1", file=self.store.table.uri)

    def _mixed_texts(self, version: StoreVersion) -> int:
        """Read every other column; rows whose text is not the one that their hash is of."""
        names = [name for name in self.store.table.schema(version.table_version).names if name != VECTOR]
        rows = self.store.table.read(version.table_version, names)
        if TEXT_HASH not in names:  # of older software
            return 0
        return int((with_hashes(rows.select(*PRODUCT_SCHEMA))[TEXT_HASH] != rows[TEXT_HASH]).sum())

    def _files(self, version: StoreVersion) -> None:
        with self.store.storage.open_folder(version_folder(version.version)) as folder:
            require_files(version, folder)
            index, ids = self._index(version, folder), read_ids(folder / IDS_FILE)
            table = self.store.table.read(version.table_version, ["product_id"])["product_id"]
            if not len(index) == ids.len() == version.products or index.dimension != version.dimension:
                found = f"{len(index)} vectors of width {index.dimension} and {ids.len()} ids"
                expected = f"the manifest says {version.products} of width {version.dimension}"
                raise InvalidData(f"{found}, but {expected}", file=folder / INDEX_FILE)
            if not ids.sort().equals(table.sort()):
                raise InvalidData("its ids are not those of the table", file=folder / IDS_FILE)
            if version.index_spec.kind is DISK:
                require_searchable(self.store.table, version, index)

    def _index(self, version: StoreVersion, folder: Path) -> VectorIndex:
        return index_of(self.store.table, version.table_version, version.index_spec, folder)

    def _model(self, version: StoreVersion) -> None:
        name = model_folder(version.model_id)
        try:
            with self.store.storage.open_folder(name) as folder:
                found = Checkpoint.from_pretrained(folder).model_id
        except FileNotFoundError:
            raise InvalidData("missing", file=self._name(name)) from None
        if found != version.model_id:
            raise Conflict(f"{self._name(name)} holds model {found}")

    @contextmanager
    def _noted(self, number: int | None, remedy: _Remedy) -> Iterator[None]:
        """Note an error that the block meets, and go on."""
        try:
            yield
        except (UbmError, OSError) as error:
            if number is not None:
                self.bad.add(number)
            self._add(Severity.ERROR, number, str(error), remedy)

    def _add(self, severity: Severity, number: int | None, problem: str, remedy: _Remedy) -> None:
        self.noted.append((severity, number, problem, remedy))

    def _pins(self) -> dict[int, int]:
        try:
            return self.store.table.pins()
        except (UbmError, OSError):
            return {}  # that the table cannot be read is found elsewhere

    def _name(self, name: str) -> str:
        return f"{self.store.uri}/{name}"

    def _refresh(self, options: str = "") -> str:
        return f"ubm-embed refresh {options}--products FILE --store {self.store.uri}"

    def _repair(self, number: int | None) -> str:
        return f"ubm-embed doctor --repair --store {self.store.uri}"

    def _instead(self, number: int | None) -> str:
        """Another version that is whole, or all anew; one that is not live may go, if the live one is whole."""
        live = self.now.version if self.now else None
        if number is not None and live is not None and live != number and live not in self.bad:
            return f"ubm-embed versions prune --keep 1 --store {self.store.uri}{self._untagged(number)}"
        before = self.now.history if self.now else ()
        whole = [one for one in (*before, *reversed(version_numbers(self.store))) if one not in self.bad]
        rollback = f"ubm-embed versions rollback {whole[0]} --store {self.store.uri}" if whole else ""
        return rollback or self._anew()

    def _untagged(self, number: int) -> str:
        with contextlib.suppress(UbmError, OSError):
            names = sorted(name for name, tagged in read_tags(self.store).items() if tagged == number)
            untag = (f"`ubm-embed versions tag {name} --delete --store {self.store.uri}`" for name in names)
            return "".join(f", once {command} took its name away" for command in untag)
        return ""

    def _anew(self) -> str:
        broken = [LIVE_FILE] if self.now is None and LIVE_FILE in self.store.storage.list() else []
        try:
            self.store.table.latest()
        except (UbmError, OSError):
            broken += sorted({self.store.table.folder} & set(self.store.storage.list()))
        first = f"remove {' and '.join(map(self._name, broken))}, then type " if broken else ""
        return f"{first}ubm-embed build-index --model DIR --products FILE --store {self.store.uri}"

    def _copy_model(self, version: StoreVersion) -> _Remedy:
        def remedy(number: int | None) -> str:
            if self.now is not None and self.now.version == number:
                return f"{self._refresh('--model DIR ')}, where DIR has model {version.model_id}"
            name = self._name(model_folder(version.model_id))
            return f"put the folder of model {version.model_id} back at {name}, or {self._instead(number)}"

        return remedy


def _always(remedy: str) -> _Remedy:
    return lambda _: remedy
