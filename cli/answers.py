"""Answers of a store, written for a person or a program as they come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

from cli.console import Format, json_text, warn, write_table
from ubm_embed.wording import counted, visible

if TYPE_CHECKING:
    from indexer.search.answer import Answer
    from indexer.search.ranking import Rules
    from indexer.search.retriever import Retriever

_COLUMNS = ("rank", "score", "product id", "title", "category", "price")
_MAX_IDS_NAMED = 10


class AnswerWriter:
    """Writes answers to stdout in a format, and at the end warns about what was not as requested.

    A JSON list is closed even after an error, so that what was answered can be read.

    Args:
        several: whether several answers may come: JSON is then a list, and each table has a title.
    """

    def __init__(self, output_format: Format, *, several: bool = False) -> None:
        self._format, self._several = output_format, several
        self._count = self._incomplete = self._fallbacks = 0
        self._first: Answer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._format is Format.JSON and self._several and self._count:
            typer.echo("\n]")
        if kind is None:
            self._warn()

    def write(self, answers: Sequence[Answer]) -> None:
        """Write answers and flush them."""
        if self._format is Format.TABLE:
            self._write_tables(answers)
        elif self._format is Format.JSONL:
            typer.echo("\n".join(json_text(answer.to_dict()) for answer in answers))
        elif self._several:
            for number, answer in enumerate(answers, start=self._count):
                entry = json_text(answer.to_dict(), indent=2).replace("\n", "\n  ")
                typer.echo(f"{',' if number else '['}\n  {entry}", nl=False)
        else:
            for answer in answers:
                typer.echo(json_text(answer.to_dict(), indent=2))
        self._first = self._first or next(iter(answers), None)
        self._count += len(answers)
        self._incomplete += sum(bool(answer.unknown) for answer in answers)
        self._fallbacks += sum(answer.fallback is not None for answer in answers)

    def _write_tables(self, answers: Sequence[Answer]) -> None:
        for number, answer in enumerate(answers, start=self._count + 1):
            title = f"session {answer.session_id or number}" if self._several else None
            write_table(_COLUMNS, _rows(answer), title=title)
            _write_predictions(answer)

    def _warn(self) -> None:
        """Warn of skipped products and of answers without the model; for several answers, only count them."""
        if self._count == 1 and self._first is not None:
            _warn_about(self._first)
            return
        of = f"of {self._count:,} sessions"
        if self._incomplete:
            warn(f"{self._incomplete:,} {of} name products that the store does not know: see `unknown`")
        if self._fallbacks:
            warn(f"{self._fallbacks:,} {of} are not answered by the model: see `fallback`")


def _rows(answer: Answer) -> Iterable[Sequence[Any]]:
    for match in answer.matches:
        document = match.to_dict()
        yield [document.get(name.replace(" ", "_")) for name in _COLUMNS]


def _write_predictions(answer: Answer) -> None:
    """Write the predictions, if there are any, on a line below the table."""
    predictions = []
    if answer.purchase_intention is not None:
        predictions.append(f"purchase intention {answer.purchase_intention:.3f}")
    if answer.remaining_length is not None:
        predictions.append(f"remaining length {answer.remaining_length:.1f}")
    if predictions:
        typer.echo(", ".join(predictions))


def _warn_about(answer: Answer) -> None:
    if answer.unknown:
        more = f" and {len(answer.unknown) - _MAX_IDS_NAMED:,} more" if len(answer.unknown) > _MAX_IDS_NAMED else ""
        named = ", ".join(map(visible, answer.unknown[:_MAX_IDS_NAMED]))
        warn(f"version {answer.label} does not know {named}{more}")
    if answer.fallback is not None:
        by = "shared words" if any(match.score is not None for match in answer.matches) else "popularity"
        warn(f"answered by {by}: {answer.fallback}")


def warn_about_rules(rules: Rules, retriever: Retriever) -> None:
    """Warn of excluded and boosted products that the version does not know: their rules do nothing."""
    for option, ids in (("--exclude", rules.exclude), ("--boost", rules.boost)):
        known = retriever.catalogue.find(ids) if ids else {}
        if unknown := sorted(set(ids).difference(known)):
            count = f"{len(unknown):,} of {counted(len(ids), 'id')} in {option}"
            warn(f"version {retriever.label} does not know {count}, such as {visible(unknown[0])!r}")
