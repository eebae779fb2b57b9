"""Answers of a store, as a person or a program reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from cli.console import Format, warn, write_json, write_json_line, write_table

if TYPE_CHECKING:
    from indexer.search.answer import Answer

_COLUMNS = ("rank", "score", "product id", "title", "category", "price")
_IDS_NAMED = 10


def write_answers(answers: Sequence[Answer], form: Format, *, as_list: bool = False) -> None:
    """Write to stdout in the form asked for.

    Args:
        as_list: in JSON, a list even of a single answer.
    """
    if form is Format.JSONL:
        for answer in answers:
            write_json_line(answer.to_dict())
    elif form is Format.JSON:
        documents = [answer.to_dict() for answer in answers]
        write_json(documents if as_list or len(documents) != 1 else documents[0])
    else:
        for number, answer in enumerate(answers, start=1):
            title = f"session {answer.session_id or number}" if len(answers) > 1 else None
            write_table(_COLUMNS, _rows(answer), title=title)
            _write_predictions(answer)


def _rows(answer: Answer) -> Iterable[Sequence[Any]]:
    for match in answer.matches:
        document = match.to_dict()
        yield [document.get(name.replace(" ", "_")) for name in _COLUMNS]


def _write_predictions(answer: Answer) -> None:
    """A line below the table, where there is anything to say."""
    said = []
    if answer.purchase_intention is not None:
        said.append(f"purchase intention {answer.purchase_intention:.3f}")
    if answer.remaining_length is not None:
        said.append(f"remaining length {answer.remaining_length:.1f}")
    if said:
        typer.echo(", ".join(said))


def warn_of(answers: Sequence[Answer]) -> None:
    """Say on stderr what was skipped and why others answer; of many sessions, only how many."""
    if len(answers) == 1:
        _warn_of_one(answers[0])
        return
    strangers = sum(bool(answer.unknown) for answer in answers)
    fallbacks = sum(answer.fallback is not None for answer in answers)
    if strangers:
        warn(f"{strangers:,} of {len(answers):,} sessions name products that the store does not know: see `unknown`")
    if fallbacks:
        warn(f"{fallbacks:,} of {len(answers):,} sessions are answered by popularity: see `fallback`")


def _warn_of_one(answer: Answer) -> None:
    if answer.unknown:
        more = f" and {len(answer.unknown) - _IDS_NAMED:,} more" if len(answer.unknown) > _IDS_NAMED else ""
        warn(f"version {answer.version} does not know {', '.join(answer.unknown[:_IDS_NAMED])}{more}")
    if answer.fallback is not None:
        warn(f"answered by popularity: {answer.fallback}")
