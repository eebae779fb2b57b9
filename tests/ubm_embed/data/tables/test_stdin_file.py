"""Standard input as a file."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from ubm_embed.data.tables.stdin_file import spooled_stdin, without_copy
from ubm_embed.data.tables.table_files import scan_table
from ubm_embed.errors import InvalidData


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b'{"a": 1}\n', b'[{"a": "1"}]'])
def test_it_is_read_as_what_it_holds(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    pipe(monkeypatch, content)
    with spooled_stdin(["other.csv", "-"]) as (other, copy):
        assert other == Path("other.csv")
        assert scan_table(copy).collect()["a"].to_list() == ["1"]
    assert not copy.exists()


def test_other_sources_leave_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with spooled_stdin(["a.csv"]) as files:
        assert files == [Path("a.csv")]


def test_errors_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"a,b\n1,2\n3\n")
    with pytest.raises(InvalidData) as caught, spooled_stdin(["-"]) as (copy,):
        scan_table(copy).collect()
    assert (caught.value.file, caught.value.row) == ("stdin", 2)
    assert not copy.exists()


def test_it_is_read_once() -> None:
    with pytest.raises(InvalidData, match="only once"), spooled_stdin(["-", "-"]):
        pass


def test_it_may_not_be_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"")
    with pytest.raises(InvalidData, match="stdin: empty"), spooled_stdin(["-"]):
        pass


def test_an_error_in_another_file_names_it_in_its_words_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"a,b\n1,2\n")
    with pytest.raises(InvalidData) as caught, spooled_stdin(["-"]) as (copy,):
        raise InvalidData(f"expected text as in {copy}", file="other.csv", row=3, field="a")
    assert str(caught.value) == "other.csv, row 3, field 'a': expected text as in stdin"


def test_a_report_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"a,b\n1,2\n")
    sources = ["a.csv", "-"]
    with spooled_stdin(sources) as files:
        assert without_copy(f"{files[0]}: 1, {files[1]}: 2", sources, files) == "a.csv: 1, stdin: 2"
