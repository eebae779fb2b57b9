"""What a local folder and an object store both promise."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from indexer.storage.local_storage import LocalStorage
from indexer.storage.object_storage import ObjectStorage
from indexer.storage.storage import Storage, open_storage
from tests.indexer.storage.storage_files import VERSION, files_in, fill
from ubm_embed.errors import Conflict, InvalidData


@pytest.fixture(params=["local folder", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local folder":
        (tmp_path / "store").mkdir()
        return open_storage(tmp_path / "store")
    return open_storage(request.getfixturevalue("bucket_uri"))


def test_a_written_file_is_read_back(storage: Storage) -> None:
    storage.write("live.json", b"one")
    storage.write("live.json", b"two")
    storage.write("deep/in/there", b"three")
    assert (storage.read("live.json"), storage.read("deep/in/there")) == (b"two", b"three")


def test_reading_a_missing_file_is_an_error(storage: Storage) -> None:
    storage.write("versions/3/manifest.json", b"{}")
    with pytest.raises(FileNotFoundError) as caught:
        storage.read("versions/3/index.bin")
    assert caught.value.filename == f"{storage.uri}/versions/3/index.bin" or isinstance(storage, LocalStorage)


def test_a_file_has_the_time_of_its_last_write(storage: Storage) -> None:
    before = time.time()
    storage.write("revisions/3/1-00.arrow", b"{}")
    assert before - 5 < storage.modified("revisions/3/1-00.arrow") < time.time() + 5
    with pytest.raises(FileNotFoundError):
        storage.modified("revisions/3/2-00.arrow")


def test_a_folder_is_no_file(storage: Storage) -> None:
    storage.write("versions/3/manifest.json", b"{}")
    names = ("versions/3/manifest.json", "versions/3", "versions", "live.json")
    assert [storage.exists(name) for name in names] == [True, False, False, False]


def test_a_listing_has_files_and_folders_in_order_without_leftovers(storage: Storage) -> None:
    for name in ("versions/30/a", "versions/3/b", "versions/tags.json", "versions/.3.ab12.partial/c", "live.json"):
        storage.write(name, b"x")
    assert storage.list() == ["live.json", "versions"]
    assert storage.list("versions") == ["3", "30", "tags.json"]
    assert storage.list("versions/3") == ["b"]
    assert storage.list("models") == storage.list("live.json") == []


def test_a_swap_needs_the_expected_bytes(storage: Storage) -> None:
    storage.compare_and_swap("live.json", b"one", expected=None)
    storage.compare_and_swap("live.json", b"two", expected=b"one")
    for stale in (b"one", None):
        with pytest.raises(Conflict, match=r"live\.json was changed by another process meanwhile"):
            storage.compare_and_swap("live.json", b"three", expected=stale)
    with pytest.raises(Conflict):
        storage.compare_and_swap("tags.json", b"three", expected=b"two")
    assert storage.read("live.json") == b"two"
    assert not storage.exists("tags.json")


def test_an_open_folder_has_all_its_files(storage: Storage) -> None:
    for name, data in VERSION.items():
        storage.write(f"versions/3/{name}", data)
    storage.write("versions/30/other", b"x")
    assert files_in(storage, "versions/3") == VERSION
    assert files_in(storage, "")["versions/30/other"] == b"x"


def test_opening_a_missing_folder_is_an_error(storage: Storage) -> None:
    storage.write("versions/30/other", b"x")
    with pytest.raises(FileNotFoundError), storage.open_folder("versions/3"):
        pytest.fail("opened a missing folder")


def test_an_open_folder_has_the_files_that_are_needed(storage: Storage) -> None:
    fill(storage, "versions/3", {"index.bin": b"large", "products.bin": b"rows", "manifest.json": b"{}"})
    with storage.open_folder("versions/3", ["products.bin", "patch.bin"]) as folder:
        assert (folder / "products.bin").read_bytes() == b"rows"
        assert not (folder / "patch.bin").exists()


def test_invalid_data_in_an_open_folder_names_the_uri(storage: Storage) -> None:
    fill(storage, "versions/3", VERSION)
    with pytest.raises(InvalidData) as caught, storage.open_folder("versions/3") as folder:
        raise InvalidData("cut off", file=folder / "ids" / "part-1", row=2, field="id")
    error = caught.value
    assert (error.problem, error.file and str(error.file), error.row, error.field) == (
        "cut off",
        f"{storage.uri}/versions/3/ids/part-1",
        2,
        "id",
    )


def test_any_other_error_in_an_open_folder_is_left_as_it_is(storage: Storage) -> None:
    fill(storage, "versions/3", VERSION)
    for error in (InvalidData("odd", file="session.json"), InvalidData("odd"), ValueError("odd")):
        with pytest.raises(type(error)) as caught, storage.open_folder("versions/3"):
            raise error
        assert str(caught.value) == str(error)


def test_a_written_folder_replaces_the_old_one(storage: Storage) -> None:
    fill(storage, "versions/3", {"manifest.json": b"old", "old/index.bin": b"old"})
    fill(storage, "versions/30", {"manifest.json": b"other"})
    fill(storage, "versions/3", VERSION)
    assert files_in(storage, "versions/3") == VERSION
    assert files_in(storage, "versions/30") == {"manifest.json": b"other"}
    assert storage.list() == ["versions"]


def test_a_folder_that_failed_halfway_changes_nothing(storage: Storage) -> None:
    fill(storage, "versions/3", VERSION)

    def fill_half(folder: str) -> None:
        with storage.write_folder(folder, last="manifest.json") as target:
            (target / "manifest.json").write_bytes(b"new")
            raise RuntimeError("full")

    for folder in ("versions/3", "versions/4"):
        with pytest.raises(RuntimeError, match="full"):
            fill_half(folder)
    assert files_in(storage, "versions/3") == VERSION
    assert storage.list("versions") == ["3"]


def test_files_and_folders_are_removed(storage: Storage) -> None:
    fill(storage, "versions/3", VERSION)
    fill(storage, "versions/30", VERSION)
    storage.write("live.json", b"{}")
    for name in ("versions/3", "live.json", "versions/4", "nothing.json"):
        storage.remove(name)
    assert (storage.list(), storage.list("versions")) == (["versions"], ["30"])
    assert files_in(storage, "versions/30") == VERSION


def test_a_size_is_that_of_all_files_below(storage: Storage) -> None:
    fill(storage, "versions/3", VERSION)
    storage.write("versions/30/other", b"x" * 100)
    assert storage.size("versions/3") == sum(map(len, VERSION.values()))
    assert storage.size() == storage.size("versions/3") + 100
    assert storage.size("models") == 0


def test_fsync_and_removing_leftovers_leave_whole_folders(storage: Storage) -> None:
    fill(storage, "versions/3", VERSION)
    with storage.lock():
        storage.fsync("versions")
        storage.remove_leftovers()
    assert files_in(storage, "versions/3") == VERSION


def test_a_second_writer_is_refused_until_the_first_is_done(storage: Storage) -> None:
    with storage.lock():
        for other in (storage, open_storage(storage.uri)):
            with pytest.raises(Conflict, match=r"another process is writing to .* wait"), other.lock():
                pytest.fail("two writers")
        storage.compare_and_swap("live.json", b"one", expected=None)
    with open_storage(storage.uri).lock():
        pass


def test_a_writer_that_fails_lets_others_write(storage: Storage) -> None:
    with pytest.raises(RuntimeError, match="bug"), storage.lock():
        raise RuntimeError("bug")
    with storage.lock():
        pass


def test_a_path_is_a_folder(tmp_path: Path) -> None:
    for where in (tmp_path, str(tmp_path), f"file://{tmp_path}"):
        storage = open_storage(where)
        assert isinstance(storage, LocalStorage)
        assert storage.uri == str(tmp_path)


def test_a_uri_is_an_object_store() -> None:
    for uri in ("s3://shop/stores/main", "gs://shop", "az://shop/main"):
        storage = open_storage(f"{uri}/")
        assert isinstance(storage, ObjectStorage)
        assert storage.uri == uri


def test_another_scheme_is_refused() -> None:
    with pytest.raises(InvalidData, match="expected a folder or a URI of s3, gs, az, got 'ftp://shop'"):
        open_storage("ftp://shop")
