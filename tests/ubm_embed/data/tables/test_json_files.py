"""The object of a JSON file, or an error that names the file."""

from pathlib import Path

import pytest

from ubm_embed.data.tables.json_files import read_json_object
from ubm_embed.errors import InvalidData


def test_reads_an_object(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"name": "\u00e9", "of": [1]}', "utf-8")
    assert read_json_object(tmp_path / "a.json") == {"name": "\u00e9", "of": [1]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not UTF-8 text$"),
        (b"[" * 100_000, "nested too deeply$"),
        (b"[1]", "expected a JSON object"),
    ],
)
def test_names_the_file_otherwise(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InvalidData, match=problem) as caught:
        read_json_object(tmp_path / "a.json")
    assert caught.value.file == tmp_path / "a.json"
