"""What a local folder promises beyond any storage."""

from __future__ import annotations

from pathlib import Path

from indexer.storage.local_storage import LocalStorage
from tests.indexer.storage.storage_files import VERSION, fill


def test_leftovers_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    fill(LocalStorage(tmp_path), "versions/3", VERSION)
    (tmp_path / ".live.json.ab12.partial").write_bytes(b"half")
    (tmp_path / "versions" / ".4.ab12.partial").mkdir()
    (tmp_path / "versions" / ".4.ab12.partial" / "index.bin").write_bytes(b"half")
    (tmp_path / "models" / "ab" / ".graphs.ab12.partial").mkdir(parents=True)
    LocalStorage(tmp_path).remove_leftovers()
    assert {file.name for file in tmp_path.iterdir()} == {"models", "versions", ".exchange.lock"}
    assert not list((tmp_path / "models" / "ab").iterdir())
    assert [file.name for file in (tmp_path / "versions").iterdir()] == ["3"]


def test_a_folder_is_opened_without_a_copy(tmp_path: Path) -> None:
    fill(LocalStorage(tmp_path), "versions/3", VERSION)
    with LocalStorage(tmp_path).open_folder("versions/3") as folder:
        assert folder == tmp_path / "versions" / "3"


def test_a_lock_creates_the_folder(tmp_path: Path) -> None:
    with LocalStorage(tmp_path / "new" / "store").lock():
        assert (tmp_path / "new" / "store").is_dir()
