"""The versions of a store that an engine answers from: the live one, and pinned ones beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Self, TypeAlias

from indexer.search.limits import Limits
from indexer.search.live_retriever import LiveRetriever
from indexer.search.retriever import Retriever
from indexer.service.engine.readiness import require_ready
from indexer.service.settings import ServiceSettings
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.inference.predictor import Predictor

# Is given a version before it answers, and its number if it is pinned; raises InvalidData if it must not answer.
Verify: TypeAlias = Callable[[Retriever, int | None], None]


class Versions:
    """Opened versions, each verified before it answers. Several threads may use them.

    Attributes:
        live: the live version, whichever it is.
    """

    def __init__(self, live: LiveRetriever, pinned: dict[int, Retriever]) -> None:
        self.live, self._pinned = live, pinned

    @classmethod
    def open(
        cls,
        settings: ServiceSettings,
        pinned: Sequence[int],
        refused: Callable[[Exception], None],
        limits: Limits,
        verify: Verify | None = None,
    ) -> Self:
        """The live version of a store and some by their numbers.

        Args:
            refused: is told when a new version does not become live, and why.
            verify: is asked besides `require_ready`.

        Raises:
            NotFound, InvalidData, Conflict, ValueError: a version or a predictor does not open, or is not ready.
        """
        predictors = _load_predictors(settings)
        with ExitStack() as stack:
            live = LiveRetriever(
                settings.store,
                device=settings.device,
                predictors=predictors,
                limits=limits,
                counts=settings.counts,
                words=settings.words,
                interval="auto" if settings.reload_seconds is None else settings.reload_seconds,
                verify=partial(_require_fit, verify, pinned=None),
                on_error=refused,
            )
            stack.callback(live.close)
            with live.borrow() as retriever:
                embedder = retriever.embedder
            opened = {}
            for number in dict.fromkeys(pinned):
                retriever = Retriever.open(
                    settings.store,
                    version=number,
                    device=settings.device,
                    predictors=predictors,
                    embedder=embedder,
                    limits=limits,
                    counts=settings.counts,
                    words=settings.words,
                )
                opened[number] = stack.enter_context(retriever)
                _require_fit(verify, retriever, pinned=number)
            stack.pop_all()
        return cls(live, opened)

    @contextmanager
    def borrow(self, pinned: int | None = None) -> Iterator[Retriever]:
        """A version that stays open inside the block: the live one, or a pinned one by its number.

        Raises:
            NotFound: no such version was opened.
            ValueError: they are closed.
        """
        if pinned is None:
            with self.live.borrow() as retriever:
                yield retriever
        elif pinned in self._pinned:
            yield self._pinned[pinned]
        else:
            known = ", ".join(map(str, self._pinned)) or "no version"
            raise NotFound(f"version {pinned} is not open beside the live one; {known} is")

    def problems(self) -> list[str]:
        """What keeps them from answering now; empty if nothing does. Some microseconds."""
        found = []
        for number in (None, *self._pinned):
            try:
                with self.borrow(number) as retriever:
                    retriever.catalogue.require_unchanged()
            except (InvalidData, ValueError) as error:
                found.append(str(error))
        return found

    def close(self) -> None:
        """Wait for requests that have begun, and let the versions go."""
        self.live.close()
        for retriever in self._pinned.values():
            retriever.close()


def _load_predictors(settings: ServiceSettings) -> list[Predictor]:
    folders = ((Task.PIP, settings.purchase_intention), (Task.RLP, settings.remaining_length))
    return [
        Predictor.from_pretrained(folder, task=task, device=settings.device)
        for task, folder in folders
        if folder is not None
    ]


def _require_fit(verify: Verify | None, retriever: Retriever, *, pinned: int | None) -> None:
    require_ready(retriever)
    if verify is not None:
        verify(retriever, pinned)
