"""Which version of a store answers: one small file, and replacing it is what publishes.

live.json    {"version": 3, "history": [2, 1], "last": 3}: the version that answers, those that did before, the last one
first, and the highest number that ever did
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from indexer.storage.json_record import as_bytes, parse_record
from indexer.store.embedding_store import LIVE_FILE, VERSIONS, EmbeddingStore
from ubm_embed.errors import Conflict, InvalidData

# Versions are pruned long before there are as many.
_HISTORY = 100


@dataclass(frozen=True)
class Live:
    """What live.json says.

    Attributes:
        version: the version that answers.
        history: versions that answered before and were not withdrawn, the last one first; where `version` came by
            rolling back, those before it.
        last: the highest number that ever was live: none is used twice.
        data: the file as it was read, so that a change of it meanwhile is noticed.
    """

    version: int
    history: tuple[int, ...]
    last: int
    data: bytes | None = None

    def after(self, number: int) -> Live:
        """What is live once `number` is: an older one takes those after it from the history, a newer one adds to it."""
        if number == self.version:
            return self
        if number < self.version:
            return Live(number, tuple(one for one in self.history if one < number), self.last, self.data)
        return Live(number, (self.version, *self.history)[:_HISTORY], max(self.last, number), self.data)

    def to_bytes(self) -> bytes:
        """As the file has it."""
        return as_bytes({"version": self.version, "history": list(self.history), "last": self.last})


def version_numbers(store: EmbeddingStore) -> list[int]:
    """Numbers of the versions that are there, published or not, in order."""
    return sorted(int(name) for name in store.storage.list(VERSIONS) if name.isdecimal())


def read_live(store: EmbeddingStore) -> Live:
    """What live.json says.

    Raises:
        InvalidData: it is missing, or not what it should be.
    """
    file = f"{store.uri}/{LIVE_FILE}"
    try:
        data = store.storage.read(LIVE_FILE)
    except FileNotFoundError:
        raise InvalidData("missing; the store is damaged", file=file) from None
    document = parse_record(data, file=file)
    number: Any = document.get("version")
    if not _is_number(number):
        raise InvalidData(f"expected a version number, got {number!r}", file=file, field="version")
    # Older software wrote no history: what came before was live before.
    history = document.get("history", list(range(number - 1, 0, -1)))
    if not isinstance(history, list) or not all(map(_is_number, history)):
        raise InvalidData(f"expected a list of version numbers, got {history!r}", file=file, field="history")
    last = document.get("last", max([number, *history]))
    if not _is_number(last):
        raise InvalidData(f"expected a version number, got {last!r}", file=file, field="last")
    return Live(number, tuple(history), last, data)


def live_number(store: EmbeddingStore) -> int:
    """Number of the version that answers.

    Raises:
        InvalidData: live.json is not what it should be.
    """
    return read_live(store).version


def make_live(store: EmbeddingStore, number: int, *, known: Live | None) -> None:
    """Publish a version that is whole, in one step: a reader who opens the store sees the one before or this.

    Args:
        known: what was live when the work for this began, or None where nothing was.

    Raises:
        Conflict: something else was made live since.
    """
    live = known.after(number) if known else Live(number, (), number)
    try:
        store.storage.compare_and_swap(LIVE_FILE, live.to_bytes(), expected=known.data if known else None)
    except Conflict as conflict:
        raise Conflict(f"{conflict}; nothing was published") from None


def repair_live(store: EmbeddingStore, number: int) -> None:
    """As `make_live`, where live.json is missing or damaged.

    Raises:
        Conflict: somebody else wrote it in the same moment.
    """
    data = store.storage.read(LIVE_FILE) if store.storage.exists(LIVE_FILE) else None
    last = max([number, *version_numbers(store)])
    store.storage.compare_and_swap(LIVE_FILE, Live(number, (), last).to_bytes(), expected=data)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
