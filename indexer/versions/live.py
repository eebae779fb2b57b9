"""Which version of a store answers: one small file, and replacing it is what publishes.

live.json    {"version": 3, "history": [2, 1], "last": 3, "revisions": {"3": {"number": 17, ...}}}: the version that
answers, those that did before, newest first, the highest number that ever did, and the last revision of each
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from indexer.store.embedding_store import LIVE_FILE, VERSIONS, EmbeddingStore, revision_folder
from indexer.versions.revision import Revision, revision_of_segment
from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.validation import FrozenModel

# Versions are pruned long before there are this many.
_MAX_HISTORY = 100
# A swap takes milliseconds, in an object store tenths of a second.
_MAX_TRIES = 50

VersionNumber = Annotated[int, Field(ge=1)]


def _all_before(fields: dict[str, Any]) -> tuple[int, ...]:
    return tuple(range(fields["version"] - 1, 0, -1))


def _highest(fields: dict[str, Any]) -> int:
    highest: int = max([fields["version"], *fields["history"]])
    return highest


class Live(FrozenModel):
    """The content of live.json. Older software wrote the version alone, and every version before it had been live.

    Attributes:
        version: the version that answers.
        history: versions that answered before and were not withdrawn, newest first; after a rollback, those before
            `version`.
        last: the highest number that ever was live, as no number is used twice.
        revisions: the last revision of each version that was changed since it was published, by its number.
    """

    version: VersionNumber
    history: tuple[VersionNumber, ...] = Field(default_factory=_all_before)
    last: VersionNumber = Field(default_factory=_highest)
    revisions: Mapping[VersionNumber, Revision] = Field(default_factory=dict)

    @property
    def revision(self) -> Revision | None:
        """The revision that answers; None if the version does as it was published."""
        return self.revisions.get(self.version)

    def with_revision(self, revision: Revision) -> Live:
        """What is live once the version that answers has this revision."""
        known = self.revision
        if known is not None and known.since > revision.since:
            revision = revision.replace(since=known.since)
        return self.model_copy(update={"revisions": {**self.revisions, self.version: revision}})

    def with_revisions_of(self, versions: Collection[int]) -> Live:
        """The same without the revisions of other versions than these."""
        kept = {number: revision for number, revision in self.revisions.items() if number in versions}
        return self.model_copy(update={"revisions": kept})

    def after(self, number: int) -> Live:
        """What is live once `number` is: a newer version adds to the history, an older one withdraws those after it."""
        if number == self.version:
            return self
        if number < self.version:
            earlier = tuple(before for before in self.history if before < number)
            return Live(version=number, history=earlier, last=self.last, revisions=self.revisions)
        history = (self.version, *self.history)[:_MAX_HISTORY]
        return Live(version=number, history=history, last=max(self.last, number), revisions=self.revisions)

    def to_bytes(self) -> bytes:
        """The content of the file."""
        return (json.dumps(self.model_dump(mode="json")) + "\n").encode("utf-8")


def version_numbers(store: EmbeddingStore) -> list[int]:
    """Numbers of all versions in a store, published or not, in order."""
    return sorted(int(name) for name in store.storage.list(VERSIONS) if name.isdecimal())


def read_live(store: EmbeddingStore) -> Live:
    """The content of live.json.

    Raises:
        InvalidData: it is missing or damaged.
    """
    file = f"{store.uri}/{LIVE_FILE}"
    try:
        return Live.from_json(store.storage.read(LIVE_FILE), file=file)
    except FileNotFoundError:
        raise InvalidData("missing; the store is damaged", file=file) from None


def live_number(store: EmbeddingStore) -> int:
    """Number of the version that answers.

    Raises:
        InvalidData: live.json is missing or damaged.
    """
    return read_live(store).version


def make_live(store: EmbeddingStore, number: int, *, known: Live | None, revision: Revision | None = None) -> None:
    """Publish a complete version in one step: a reader that opens the store sees the one before or this one.

    Args:
        known: what was live when the work on this version began; None if nothing was.
        revision: of the version; None for the one that it had, if it had any.

    Raises:
        Conflict: something else was made live since, and nothing was published.
    """
    live = known.after(number) if known else Live(version=number, history=(), last=number)
    _swap(store, live if revision is None else live.with_revision(revision), known)


def publish_revision(store: EmbeddingStore, revision: Revision, *, known: Live) -> Live:
    """Publish a revision of the live version in one step, and return what is live then.

    Args:
        known: what was live when the work on the revision began.

    Raises:
        Conflict: something else was made live since, and nothing was published.
    """
    live = known.with_revision(revision)
    _swap(store, live, known)
    return live


def update_live(store: EmbeddingStore, change: Callable[[Live], Live]) -> Live:
    """Replace what is live by what `change` makes of it, and return that.

    Where another process changes it at the same moment, `change` is asked again: revisions may come every second.

    Raises:
        Conflict: of `change`; or others were faster many times.
        InvalidData: live.json is missing or damaged.
    """
    for _ in range(_MAX_TRIES):
        known = read_live(store)
        live = change(known)
        if live == known:
            return known
        with contextlib.suppress(Conflict):
            _swap(store, live, known)
            return live
    raise Conflict(f"{store.uri}/{LIVE_FILE} keeps being changed by other processes; nothing was published")


def _swap(store: EmbeddingStore, live: Live, known: Live | None) -> None:
    file, current = f"{store.uri}/{LIVE_FILE}", _read_bytes(store)
    try:
        if (None if current is None else Live.from_json(current, file=file)) != known:
            raise Conflict(f"{file} was changed by another process meanwhile")
        store.storage.compare_and_swap(LIVE_FILE, live.to_bytes(), expected=current)
    except Conflict as conflict:
        raise Conflict(f"{conflict}; nothing was published") from None


def repair_live(store: EmbeddingStore, number: int) -> Live:
    """Publish a version as `make_live` does, where live.json is missing or damaged, and return what is live then.

    Only live.json tells a revision's segments from those that never became one, so the revisions are dropped.

    Raises:
        Conflict: another process wrote it at the same moment.
    """
    numbers, now = version_numbers(store), datetime.now(UTC).isoformat(timespec="seconds")
    highest = {version: _highest_revision(store, version) for version in numbers}
    dropped = {version: Revision.without_changes(last + 1, now) for version, last in highest.items() if last}
    live = Live(version=number, history=(), last=max([number, *numbers]), revisions=dropped)
    store.storage.compare_and_swap(LIVE_FILE, live.to_bytes(), expected=_read_bytes(store))
    return live


def _highest_revision(store: EmbeddingStore, number: int) -> int:
    """The highest revision of a version of which a file is left; 0 if there is none."""
    return max(map(revision_of_segment, store.storage.list(revision_folder(number))), default=0)


def _read_bytes(store: EmbeddingStore) -> bytes | None:
    try:
        return store.storage.read(LIVE_FILE)
    except FileNotFoundError:
        return None
