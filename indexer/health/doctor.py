"""Faults of a store, and the command that mends each. Everything is read, nothing is changed."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from indexer.health.model_files import require_sound_model
from indexer.health.remedies import UPGRADE, Remedies, Remedy, always
from indexer.health.revised_rows import require_sound_patch, require_sound_revision
from indexer.health.stored_rows import require_sound_rows
from indexer.health.version_files import damaged_files, require_shared_counts, require_sound_files
from indexer.search.canaries import check_canaries
from indexer.search.open_version import open_version
from indexer.store.embedding_store import (
    LIVE_FILE,
    STAGING,
    TAGS_FILE,
    VERSIONS,
    EmbeddingStore,
    version_folder,
)
from indexer.store.product_table import TABLE
from indexer.versions.leftover_segments import leftover_segments
from indexer.versions.live import Live, read_live, version_numbers
from indexer.versions.rollback import shared_base
from indexer.versions.tags import read_tags
from indexer.versions.version import CANARIES_FILE, PATCH_FILE, StoreVersion, manifest_name, read_version
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
    examination.check_live(numbers)
    for done, number in enumerate(numbers, start=1):
        examination.check_version(number, versions[number])
        progress("reading versions", done, len(numbers))
    examination.check_tags(numbers)
    examination.check_leftovers(numbers)
    return sorted(examination.findings(), key=lambda finding: list(Severity).index(finding.severity))


class _Examination:
    """Collects the faults of a store, check by check."""

    def __init__(self, store: EmbeddingStore) -> None:
        self.store = store
        self.remedies = Remedies(store)
        self.faults: list[tuple[Severity, int | None, str, Remedy]] = []
        self.shared: set[int] = set()  # versions whose files others share
        self.embedder: Embedder | None = None  # of the last version: most versions have one model

    @property
    def live(self) -> Live | None:
        """What is live; None if that is not known."""
        return self.remedies.live

    def findings(self) -> list[Finding]:
        """The collected faults, each with its remedy."""
        return [
            Finding(severity, number, problem, remedy(number), remedy == self.remedies.repair)
            for severity, number, problem, remedy in self.faults
        ]

    def read_version(self, number: int) -> StoreVersion | None:
        """A version's manifest; None if it is damaged."""
        with self._collecting(number, self._repair_if_pinned(number)):
            return read_version(self.store, number)
        return None

    def check_version(self, number: int, version: StoreVersion | None) -> None:
        """Read a version's rows, index, products, revision and model."""
        if version is None:
            return
        if version.shares_files_of is None:
            self._check_own_files(version)
        else:
            self._check_shared_files(version)
        if number not in self.remedies.damaged:
            self._check_revision(version)
        with self._collecting(number, self.remedies.copy_model(version)):
            require_sound_model(self.store, version.model_id)
        if number not in self.remedies.damaged and CANARIES_FILE in version.files:
            with self._collecting(number, self.remedies.repair):
                self._check_canaries(version)

    def _check_own_files(self, version: StoreVersion) -> None:
        number = version.version
        with self._collecting(number, self.remedies.repair):
            self._check_pin(version)
        if number not in self.remedies.damaged:
            with self._collecting(number, self.remedies.replace_version):
                require_sound_rows(self.store, version)
        if number not in self.remedies.damaged:  # an index can be no better than its table
            with self._collecting(number, self.remedies.repair):
                require_sound_files(self.store, version)

    def _check_shared_files(self, version: StoreVersion) -> None:
        number = version.version
        self.shared.add(version.files_version)
        for name, error in damaged_files(self.store, version).items():
            is_patch = name == PATCH_FILE  # which nothing else has
            self._add_error(number, error, self.remedies.replace_version if is_patch else self.remedies.repair)
        with self._collecting(number, self._base_remedy(version)):
            if version.files_version in self.remedies.damaged:
                problem = f"shares the files of version {version.files_version}, which are damaged"
                raise InvalidData(problem, file=self._path(version_folder(number)))
            require_shared_counts(self.store, version, shared_base(self.store, version))
        if number not in self.remedies.damaged:
            with self._collecting(number, self.remedies.replace_version):
                require_sound_patch(self.store, version)

    def _check_revision(self, version: StoreVersion) -> None:
        if self.live is not None:
            with self._collecting(version.version, self.remedies.drop_revision):
                require_sound_revision(self.store, version)

    def check_live(self, numbers: list[int]) -> None:
        """Check that live.json names a version that exists."""
        with self._collecting(None, self.remedies.replace_version):
            self.remedies.live = read_live(self.store)
        if self.live is not None and self.live.version not in numbers:
            number, problem = self.live.version, f"{self._path(LIVE_FILE)}: names a version that does not exist"
            self.remedies.damaged.add(number)
            self._add(Severity.ERROR, number, problem, self._repair_if_pinned(number))

    def check_tags(self, numbers: list[int]) -> None:
        """Check that tags.json names versions that exist."""
        with self._collecting(None, always(f"remove {self._path(TAGS_FILE)} and tag the versions again")):
            for tag, number in read_tags(self.store).items():
                if number not in numbers:
                    remedy = always(f"ubm-embed versions tag {tag} --delete --store {self.store.uri}")
                    self._add(Severity.WARNING, number, f"tag {tag!r} names a version that does not exist", remedy)

    def check_leftovers(self, numbers: list[int]) -> None:
        """Look for what a crash left behind."""
        live_model = self._live_model()
        for model_id in self.store.storage.list(STAGING):
            problem = f"{self._path(STAGING)}/{model_id}: a refresh was stopped, failed at a gate, or is running"
            resume = self.remedies.refresh()
            resume = resume if model_id == live_model else f"{resume} --model DIR, of that model,"
            drop = f"ubm-embed versions prune --staging --store {self.store.uri}"
            self._add(Severity.NOTE, None, problem, always(f"{resume} resumes it; or, to drop it: {drop}"))
        stray = sorted(self._pins().keys() - {*numbers, *self.shared, *([self.live.version] if self.live else [])})
        if stray:
            problem = f"the table keeps rows of versions that do not exist: {', '.join(map(str, stray))}"
            self._add(Severity.NOTE, None, problem, self.remedies.prune)
        if self.live is not None:
            self._check_segments(self.live, numbers)

    def _check_segments(self, live: Live, numbers: list[int]) -> None:
        if gone := sorted(live.revisions.keys() - {*numbers, live.version}):
            versions = ", ".join(map(str, gone))
            problem = f"{self._path(LIVE_FILE)}: has revisions of versions that do not exist: {versions}"
            self._add(Severity.NOTE, None, problem, self.remedies.prune)
        if names := leftover_segments(self.store, live, numbers):
            problem = f"{self._path(names[0])}: no revision has it any more"
            more = f", nor {len(names) - 1:,} others" if len(names) > 1 else ""
            self._add(Severity.NOTE, None, problem + more, self.remedies.prune)

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

    def _check_canaries(self, version: StoreVersion) -> None:
        """Let the model read the texts again that the version was published with."""
        with contextlib.suppress(NotFound):  # without the library that reads the model, nobody can say
            opened = open_version(self.store, version.version, "cpu", self.embedder, revised=False)
            self.embedder = opened.embedder
            with contextlib.closing(opened.catalogue):
                check = check_canaries(opened)
            if check is not None and check.has_changed:
                severity = Severity.ERROR if check.is_unfit else Severity.WARNING
                self._add(severity, version.version, check.problem, always(self.remedies.encode_again()))

    @contextlib.contextmanager
    def _collecting(self, number: int | None, remedy: Remedy) -> Iterator[None]:
        """Add an error of the block to the faults, and go on."""
        try:
            yield
        except (UbmError, OSError) as error:
            self._add_error(number, error, remedy)

    def _add_error(self, number: int | None, error: UbmError | OSError, remedy: Remedy) -> None:
        if number is not None:
            self.remedies.damaged.add(number)
        newer = isinstance(error, InvalidData) and NEWER in error.problem
        self._add(Severity.ERROR, number, str(error), always(UPGRADE) if newer else remedy)

    def _add(self, severity: Severity, number: int | None, problem: str, remedy: Remedy) -> None:
        self.faults.append((severity, number, problem, remedy))

    def _pins(self) -> dict[int, int]:
        try:
            return self.store.table.pins()
        except (UbmError, OSError):
            return {}  # another check reports that the table cannot be read

    def _path(self, name: str) -> str:
        return f"{self.store.uri}/{name}"

    def _base_remedy(self, version: StoreVersion) -> Remedy:
        """What mends the version whose files this one shares."""
        base = version.files_version
        if base in version_numbers(self.store):
            return next((remedy for _, number, _, remedy in self.faults if number == base), self.remedies.repair)
        return self._repair_if_pinned(base)

    def _repair_if_pinned(self, number: int) -> Remedy:
        return self.remedies.repair if number in self._pins() else self.remedies.replace_version
