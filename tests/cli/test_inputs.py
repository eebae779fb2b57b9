"""What a command reads: a file, a pipe or stdin, in any Unicode encoding that says which it is."""

from __future__ import annotations

import codecs
import io
import os
import sys
import threading
from pathlib import Path

import pytest

from cli import inputs
from cli.inputs import open_chunks, read_text
from ubm_embed.errors import InvalidData, NotFound

TEXT = '{"title": "Größe 👟"}\n'


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_says_the_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: bytes, encoding: str
) -> None:
    data = mark + TEXT.encode(encoding)
    (tmp_path / "x.json").write_bytes(data)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert read_text(str(tmp_path / "x.json")) == TEXT
    assert read_text("-") == TEXT


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("Größe".encode("latin-1"), "not UTF-8 text: invalid start byte at byte 2"),
        (codecs.BOM_UTF8 + b"a\xff", "not UTF-8 text"),
        (codecs.BOM_UTF16_LE + b"{\0}", "not UTF-16 text: truncated data"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, data: bytes, problem: str) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(data)
    with pytest.raises(InvalidData, match=problem) as caught:
        read_text(str(file))
    assert caught.value.file == str(file)


def test_a_stdin_that_is_closed_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(NotFound, match="stdin is closed"):
        read_text("-")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_text_may_come_byte_by_byte(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(ByteByByte(TEXT.encode(encoding))))
    assert read_text("-") == TEXT


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_what_stands_before_a_wrong_byte_is_read(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = TEXT.encode(encoding)
    for stream in (io.BytesIO(data + b"abc\xff"), ByteByByte(data + b"abc\xff")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        read: list[str] = []
        problem = f"stdin: not UTF-8 text: invalid start byte at byte {len(data) + 3}$"
        with open_chunks("-") as chunks, pytest.raises(InvalidData, match=problem):
            read.extend(chunks)
        assert "".join(read) == f"{TEXT}abc"


class ByteByByte(io.BytesIO):
    """A pipe whose writer is slow."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(min(1, size or 0))


def test_no_more_is_read_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_TEXT", 2**20)
    (tmp_path / "x.json").write_bytes(b" " * 2**20)
    assert len(read_text(str(tmp_path / "x.json"))) == 2**20
    stdin = io.BytesIO(b" " * 2**24)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stdin))
    with pytest.raises(InvalidData, match="stdin: larger than 1 MB"):
        read_text("-")
    assert stdin.tell() < 2**21


def test_a_pipe_is_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("{}",))
    writer.start()
    assert read_text(str(tmp_path / "pipe")) == "{}"
    writer.join()


@pytest.mark.parametrize("name", ["nowhere.json", "."])
def test_a_missing_file_is_not_found(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        read_text(str(tmp_path / name))
