"""A shop's text does not command the terminal that shows it; output that nobody reads is no error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.answers import AnswerWriter
from cli.console import Format, choose_format, complain, printable, say, warn, write_json, write_json_line, write_table
from indexer.search.answer import Answer

HOSTILE = "\x1b[31mred\x1b]0;title\x07 \x9b2J\x7f\x08\r\u202etxt\u2028\u2066 \ud83d\x00"
FORBIDDEN = set(HOSTILE) - set("[31mred]0;title 2Jtxt")
ANY_TEXT = st.text(st.characters() | st.sampled_from(sorted(FORBIDDEN)))


@given(ANY_TEXT)
def test_printable_text_is_one_line_without_commands(text: str) -> None:
    shown = printable(text)
    assert not FORBIDDEN & set(shown)
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")


@pytest.mark.parametrize("text", ["Größe 42", "红色的鞋子", "👟", "it's [bold]50%[/bold] \\n", "שלום", "a\u00a0b"])
def test_other_text_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_escapes_are_written_as_in_python() -> None:
    assert printable("a\x1b\x9b\n\u202e\ud83d") == r"a\x1b\x9b\n\u202e\ud83d"


@pytest.mark.parametrize(
    "write", [complain, warn, say, lambda text: write_table([text], [[text], [[text]]], title=text)]
)
def test_no_writer_lets_a_command_through(write: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    write(HOSTILE)
    written = "".join(capsys.readouterr())
    assert r"\x1b" in written
    assert not FORBIDDEN & set(written)


def test_a_message_may_have_lines_and_an_error_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    say("first\nsecond\rthird")
    complain("no file at a\nerror: b")
    warn("a\nwarning: b")
    assert capsys.readouterr().err.splitlines() == [
        "first",
        r"second\rthird",
        r"error: no file at a\nerror: b",
        r"warning: a\nwarning: b",
    ]


@given(ANY_TEXT, st.sampled_from([write_json, write_json_line]))
def test_json_comes_back_as_it_was(text: str, write: Callable[[object], None]) -> None:
    document, capture = {text: [text, 1.5, None]}, pytest.MonkeyPatch()
    written: list[str] = []
    with capture.context() as patch:
        patch.setattr("typer.echo", written.append)
        write(document)
    assert json.loads(written[0]) == document
    assert not (FORBIDDEN - {"\n"}) & set(written[0])
    if write is write_json_line:
        assert len(written[0].splitlines()) == 1


def test_an_id_that_is_not_known_is_named_in_short(capsys: pytest.CaptureFixture[str]) -> None:
    with AnswerWriter(Format.JSONL) as writer:
        writer.write([Answer(None, 1, "m", None, ("x" * 100_000,), 0.0, ())])
    assert len(capsys.readouterr().err) < 200


def test_without_stdout_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert choose_format(None) is Format.JSON


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_a_reader_that_closes_the_pipe_is_no_error(option: str) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run([sys.executable, "-m", "cli", option], stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
