"""The retriever that answers, and those before it that have requests left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from indexer.search.retriever import Retriever


class Serving:
    """Lends the retriever that answers. One that was replaced is closed with its last request.

    Several threads may use it.
    """

    def __init__(self, retriever: Retriever) -> None:
        self._current = _Lent(retriever)
        self._requests, self._closed = 0, False
        self._changed = threading.Condition()  # guards all of the above

    @property
    def retriever(self) -> Retriever:
        """The one that answers now, which may be closed while it is looked at."""
        return self._current.retriever

    @contextmanager
    def borrow(self) -> Iterator[Retriever]:
        """The retriever that answers now; it stays open inside the block.

        Raises:
            ValueError: this is closed.
        """
        with self._changed:
            if self._closed:
                raise ValueError("the retriever is closed")
            lent = self._current
            lent.requests += 1
            self._requests += 1
        try:
            yield lent.retriever
        finally:
            self._give_back(lent)

    def replace(self, retriever: Retriever) -> bool:
        """Let another one answer from now on, and return whether it does: not if this was closed meanwhile."""
        with self._changed:
            is_open, over = not self._closed, _Lent(retriever)
            if is_open:
                over, self._current = self._current, over
            idle = not over.requests
        if idle:
            over.retriever.close()
        return is_open

    def refuse(self) -> None:
        """Refuse later requests."""
        with self._changed:
            self._closed = True

    def close(self) -> None:
        """Wait for the requests that have begun, and close the retriever; after `refuse`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._requests)
            self._current.retriever.close()

    def _give_back(self, lent: _Lent) -> None:
        with self._changed:
            lent.requests -= 1
            is_last = not lent.requests and lent is not self._current
        try:
            if is_last:
                lent.retriever.close()
        finally:
            with self._changed:
                self._requests -= 1
                if not self._requests:
                    self._changed.notify_all()


@dataclass
class _Lent:
    """A retriever that answers, or did, and how many requests it is answering."""

    retriever: Retriever
    requests: int = 0
