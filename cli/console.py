"""Output of the commands: data to stdout in one of three formats, messages and progress to stderr."""

from __future__ import annotations

import contextlib
import enum
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ubm_embed.progress import Progress

# What a terminal obeys or cannot show: control characters, overrides of the direction of writing, separators of lines,
# and halves of characters.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# How often a long run writes a line if stderr is no terminal: a log must show life and stay short.
_SECONDS_BETWEEN_LINES = 15.0


class Format(enum.StrEnum):
    """Format of an answer."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


def choose_format(requested: Format | None) -> Format:
    """The requested format, else a table on a terminal and JSON in a pipe."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()  # it is None where the shell closed it
    return requested or (Format.TABLE if is_terminal else Format.JSON)


def _console(*, stderr: bool = True) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """The text as a terminal can show it in one line: an escape character is `\\x1b`, a line feed `\\n`."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def say(text: str) -> None:
    """Write a message to stderr, of one or more lines."""
    typer.echo("\n".join(map(printable, text.split("\n"))), err=True)


def complain(text: str) -> None:
    """Write an error to stderr, in one line."""
    _console().print(f"[bold red]error:[/] {_escape(text)}")


def warn(text: str) -> None:
    """Write a warning to stderr: something requested was not done."""
    _console().print(f"[yellow]warning:[/] {_escape(text)}")


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(printable(text))


@contextlib.contextmanager
def cut_off_by_reader() -> Iterator[None]:
    """A context whose output ends where its reader closes the pipe, as `| head` does; the command goes on after it."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
    except SystemExit as end:  # rich ends so
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        discard_output()


def discard_output() -> None:
    """From here on stdout goes nowhere, also what is still in its buffer: nobody reads it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def write_json(document: Any) -> None:
    """Write a document to stdout, indented."""
    typer.echo(json_text(document, indent=2))


def write_json_line(document: Any) -> None:
    """Write a document to stdout, as one line."""
    typer.echo(json_text(document))


def json_text(document: Any, *, indent: int | None = None) -> str:
    """JSON that shows text as it is, but for what `printable` escapes; line feeds stand between values only."""
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    return _UNPRINTABLE.sub(lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text)


def write_document(document: Any, output_format: Format) -> None:
    """Write a document to stdout as JSON, indented or as one line."""
    (write_json if output_format is Format.JSON else write_json_line)(document)


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None, whole: str | None = None
) -> None:
    """Write a table to stdout; cells of the column `whole` stay on one line, long words of others are folded."""
    from rich.table import Column, Table

    title = None if title is None else _escape(title)
    headed = [Column(_escape(column), overflow="fold", no_wrap=column == whole) for column in columns]
    table = Table(*headed, title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_escape(_cell(value)) for value in row))
    _console(stderr=False).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, Mapping | list | tuple):
        return json_text(value)
    return str(value)


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """A `Progress` that shows bars with rate and time left on a terminal, and writes a line now and then to a log."""
    if sys.stderr.isatty():
        with _bars() as report:
            yield report
    else:
        yield _Lines()


class _Lines:
    """A `Progress` that writes lines."""

    def __init__(self) -> None:
        self._what, self._started, self._last = "", 0.0, 0.0

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._started, self._last = what, now, now
        if done < total and now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        elapsed = now - self._started
        left = f", {elapsed / done * (total - done):.0f} s left" if 0 < done < total else ""
        say(f"{what}: {done:,} of {total:,}{' ' + note if note else ''} ({elapsed:.0f} s{left})")


@contextlib.contextmanager
def _bars() -> Iterator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bars(*columns, console=_console()) as bars:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int, note: str = "") -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, note=note, rate="")
            speed = bars.tasks[bars.task_ids.index(tasks[what])].speed
            bars.update(tasks[what], completed=done, total=total, note=note, rate=f"{speed:,.1f}/s" if speed else "")

        yield report
