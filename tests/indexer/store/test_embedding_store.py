"""Where a store may be, and that it has one writer at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from indexer.store.embedding_store import EmbeddingStore
from ubm_embed.errors import Conflict, InvalidData, NotFound


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def empty(folder: Path) -> EmbeddingStore:
    return EmbeddingStore.create(folder)


def test_a_store_is_not_created_in_a_file_or_among_other_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Conflict, match="is a file"):
        EmbeddingStore.create(tmp_path / "file")
    with pytest.raises(Conflict, match="holds 'file' and is no store"):
        EmbeddingStore.create(tmp_path)


def test_an_unsupported_uri_is_refused() -> None:
    for constructor in (EmbeddingStore.from_uri, EmbeddingStore.create, EmbeddingStore.open):
        with pytest.raises(InvalidData, match="expected a folder or a URI of"):
            constructor("ftp://shop/store")


def test_a_file_uri_is_a_folder(folder: Path) -> None:
    with EmbeddingStore.create(f"file://{folder}").write_lock():
        assert folder.is_dir()


@pytest.mark.parametrize("name", ["products.lance", "models", "versions", "staging", "tags.json", ".lock"])
def test_a_store_without_a_published_version_can_be_created_again(folder: Path, name: str) -> None:
    (folder / name).mkdir(parents=True)
    assert EmbeddingStore.create(folder).uri == str(folder)


def test_other_files_in_a_published_store_are_accepted(folder: Path, empty: EmbeddingStore) -> None:
    empty.storage.write("live.json", b"{}")
    (folder / "notes.txt").touch()
    assert EmbeddingStore.create(folder).uri == str(folder)


def test_creating_and_opening_write_nothing(folder: Path) -> None:
    EmbeddingStore.create(folder)
    with pytest.raises(NotFound):
        EmbeddingStore.open(folder)
    assert not folder.exists()


def test_opening_a_missing_store_names_the_command_to_build_one(folder: Path) -> None:
    with pytest.raises(NotFound, match=f"build-index --model DIR --products FILE --store {folder}"):
        EmbeddingStore.open(folder)


def test_versions_without_a_live_one_are_referred_to_the_doctor(folder: Path) -> None:
    (folder / "versions" / "3").mkdir(parents=True)
    with pytest.raises(NotFound, match=rf"no live\.json in .*ubm-embed doctor --store {folder}"):
        EmbeddingStore.open(folder)


def test_there_is_one_writer(folder: Path, empty: EmbeddingStore) -> None:
    with empty.write_lock(), pytest.raises(Conflict, match=f"it holds {folder / '.lock'}"), empty.write_lock():
        pass
    with empty.write_lock():
        pass


def test_the_lock_is_released_after_an_error(empty: EmbeddingStore) -> None:
    with pytest.raises(ZeroDivisionError), empty.write_lock():
        raise ZeroDivisionError
    with empty.write_lock():
        pass


def test_a_writer_removes_the_leftovers_of_a_killed_one(folder: Path, empty: EmbeddingStore) -> None:
    leftovers = [".live.json.1.partial", "versions/.3.1.partial/index", "models/.m.1.partial/x", "staging/.k.1.partial"]
    for name in leftovers:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "versions" / "2").mkdir()
    with empty.write_lock():
        pass
    left = {os.path.relpath(entry, folder) for entry in folder.rglob("*")} - {".lock", ".exchange.lock"}
    assert left == {"versions", "versions/2", "models", "staging"}


IMPORT = """
import os
import lance, polars  # polars sets a variable of its own
before = dict(os.environ)
from indexer.store.embedding_store import EmbeddingStore
from ubm_embed.errors import InvalidData
try:
    EmbeddingStore.from_uri("nowhere").table.latest()
except InvalidData:
    pass
print({name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)})
"""


def test_importing_and_using_a_store_leaves_the_environment_alone() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", IMPORT], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
