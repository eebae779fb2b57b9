"""Which version of a store answers: one small file, and replacing it is what publishes.

live.json    {"version": 3, "history": [2, 1]}: the version that answers, and those that did before, the last one first
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from indexer.places.record import as_bytes, parse_record
from indexer.store import LIVE_FILE, EmbeddingStore
from ubm_embed.errors import InvalidData

# Versions are pruned long before there are as many.
_HISTORY = 100


@dataclass(frozen=True)
class Live:
    """What live.json says.

    Attributes:
        version: the version that answers.
        history: versions that answered before and were not withdrawn, the last one first; where `version` came by
            rolling back, those before it.
        data: the file as it was read, so that a change of it meanwhile is noticed.
    """

    version: int
    history: tuple[int, ...]
    data: bytes | None = None

    def after(self, number: int) -> Live:
        """What is live once `number` is: one of the history takes those after it away, a new one joins it."""
        if number == self.version:
            return self
        if number in self.history:
            return Live(number, self.history[self.history.index(number) + 1 :], self.data)
        return Live(number, (self.version, *self.history)[:_HISTORY], self.data)


def read_live(store: EmbeddingStore) -> Live:
    """What live.json says.

    Raises:
        InvalidData: it is missing, or not what it should be.
    """
    file = f"{store.uri}/{LIVE_FILE}"
    try:
        data = store.place.read(LIVE_FILE)
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
    return Live(number, tuple(history), data)


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
    live = known.after(number) if known else Live(number, ())
    document = {"version": live.version, "history": list(live.history)}
    store.place.exchange(LIVE_FILE, as_bytes(document), expected=known.data if known else None)


def repair_live(store: EmbeddingStore, number: int) -> None:
    """As `make_live`, where live.json is missing or damaged.

    Raises:
        Conflict: somebody else wrote it in the same moment.
    """
    data = store.place.read(LIVE_FILE) if store.place.exists(LIVE_FILE) else None
    store.place.exchange(LIVE_FILE, as_bytes({"version": number, "history": []}), expected=data)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
