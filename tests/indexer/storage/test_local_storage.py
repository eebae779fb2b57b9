"""What a local folder promises beyond any storage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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


def test_a_new_file_is_flushed_with_the_folders_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the store's own: the entry of a new folder can be lost in a power cut, too."""
    storage, flushed = LocalStorage(tmp_path / "store"), list[str]()
    storage.write("revisions/3/file", b"")
    opened, flush = os.open, os.fsync
    names = dict[int, str]()

    def noted(path: Path, flags: int) -> int:
        descriptor = opened(path, flags)
        names[descriptor] = str(Path(path).relative_to(tmp_path))
        return descriptor

    monkeypatch.setattr(os, "open", noted)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (flushed.append(names[descriptor]), flush(descriptor)))
    storage.fsync("revisions/3/file")
    assert flushed == ["store/revisions/3/file", "store/revisions/3", "store/revisions", "store"]
