"""Answers of a store, written for a person or a program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from cli.console import Format, warn, write_json, write_json_line, write_table
from ubm_embed.wording import counted

if TYPE_CHECKING:
    from indexer.search.answer import Answer
    from indexer.search.ranking import Rules
    from indexer.search.retriever import Retriever

_COLUMNS = ("rank", "score", "product id", "title", "category", "price")
_MAX_IDS_NAMED = 10


def write_answers(answers: Sequence[Answer], output_format: Format, *, as_list: bool = False) -> None:
    """Write answers to stdout in a format.

    Args:
        as_list: whether JSON is a list even for a single answer.
    """
    if output_format is Format.JSONL:
        for answer in answers:
            write_json_line(answer.to_dict())
    elif output_format is Format.JSON:
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
    """Write the predictions, if there are any, on a line below the table."""
    predictions = []
    if answer.purchase_intention is not None:
        predictions.append(f"purchase intention {answer.purchase_intention:.3f}")
    if answer.remaining_length is not None:
        predictions.append(f"remaining length {answer.remaining_length:.1f}")
    if predictions:
        typer.echo(", ".join(predictions))


def warn_about(answers: Sequence[Answer]) -> None:
    """Warn of products that were skipped and of answers by popularity; for many sessions, only count them."""
    if len(answers) == 1:
        _warn_about_one(answers[0])
        return
    incomplete = sum(bool(answer.unknown) for answer in answers)
    fallbacks = sum(answer.fallback is not None for answer in answers)
    if incomplete:
        warn(f"{incomplete:,} of {len(answers):,} sessions name products that the store does not know: see `unknown`")
    if fallbacks:
        warn(f"{fallbacks:,} of {len(answers):,} sessions are answered by popularity: see `fallback`")


def warn_about_rules(rules: Rules, retriever: Retriever) -> None:
    """Warn of excluded and boosted products that the version does not know: their rules do nothing."""
    for option, ids in (("--exclude", rules.exclude), ("--boost", rules.boost)):
        known = retriever.catalogue.find(ids) if ids else {}
        if unknown := sorted(set(ids).difference(known)):
            count = f"{len(unknown):,} of {counted(len(ids), 'id')} in {option}"
            warn(f"version {retriever.version.version} does not know {count}, such as {unknown[0]!r}")


def _warn_about_one(answer: Answer) -> None:
    if answer.unknown:
        more = f" and {len(answer.unknown) - _MAX_IDS_NAMED:,} more" if len(answer.unknown) > _MAX_IDS_NAMED else ""
        warn(f"version {answer.version} does not know {', '.join(answer.unknown[:_MAX_IDS_NAMED])}{more}")
    if answer.fallback is not None:
        warn(f"answered by popularity: {answer.fallback}")
