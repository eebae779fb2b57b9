"""What an object store promises beyond any storage: nothing half uploaded, half removed or mixed is taken for whole."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from indexer.storage.object_client import CHUNK_BYTES, ObjectClient, Tagged
from indexer.storage.object_storage import ObjectStorage
from tests.indexer.storage.storage_files import VERSION, files_in, fill
from ubm_embed.errors import Conflict

if TYPE_CHECKING:
    from obstore import ObjectMeta


@pytest.fixture
def bucket(bucket_uri: str) -> ObjectStorage:
    return ObjectStorage(bucket_uri)


def test_a_file_of_many_chunks_is_read_back(bucket: ObjectStorage) -> None:
    data = random.Random(0).randbytes(2 * CHUNK_BYTES + 12_345)
    fill(bucket, "versions/3", {"manifest.json": b"{}", "index.bin": data})
    assert files_in(bucket, "versions/3")["index.bin"] == data


def test_the_local_copy_of_a_folder_is_deleted_afterwards(bucket: ObjectStorage) -> None:
    fill(bucket, "versions/3", VERSION)
    with bucket.open_folder("versions/3") as first:
        assert first.is_dir()
    with pytest.raises(RuntimeError), bucket.open_folder("versions/3") as second:
        raise RuntimeError("bug")
    assert not first.exists()
    assert not second.exists()


def test_a_folder_that_changes_while_it_is_read_is_refused(
    bucket: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bucket, "versions/3", VERSION)
    download_chunk = ObjectClient.download_chunk

    def late(objects: ObjectClient, meta: ObjectMeta, start: int, file: Path) -> None:
        bucket.write("versions/3/index.bin", b"newer, longer vectors")
        download_chunk(objects, meta, start, file)

    monkeypatch.setattr(ObjectClient, "download_chunk", late)
    with pytest.raises(Conflict, match=r"index\.bin was changed"), bucket.open_folder("versions/3"):
        pytest.fail("a mixture was read")


@pytest.mark.parametrize("done", range(4))
def test_an_upload_that_is_cut_off_leaves_no_folder_that_looks_whole(
    bucket: ObjectStorage, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    fill(bucket, "versions/3", {"manifest.json": b"old", "old.bin": b"old"})
    uploaded: list[str] = []
    put_file = ObjectClient.put_file

    def cut_off(objects: ObjectClient, name: str, file: Path) -> None:
        if len(uploaded) == done:
            raise OSError("cut off")
        uploaded.append(name)
        put_file(objects, name, file)

    with monkeypatch.context() as patched:
        patched.setattr(ObjectClient, "put_file", cut_off)
        with pytest.raises(OSError, match="cut off"):
            fill(bucket, "versions/3", VERSION)
    assert len(uploaded) == done
    assert not bucket.exists("versions/3/manifest.json")
    fill(bucket, "versions/3", VERSION)
    assert files_in(bucket, "versions/3") == VERSION


def test_half_a_removed_folder_does_not_look_whole(bucket: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(bucket, "versions/3", VERSION)
    calls: list[Iterable[str]] = []
    delete = ObjectClient.delete

    def cut_off(objects: ObjectClient, names: Iterable[str]) -> None:
        if calls:
            raise OSError("cut off")
        calls.append(names)
        delete(objects, names)

    monkeypatch.setattr(ObjectClient, "delete", cut_off)
    with pytest.raises(OSError, match="cut off"):
        bucket.remove("versions/3")
    assert bucket.list("versions/3") == ["ids", "index.bin"]


def test_of_many_writers_at_once_one_publishes(bucket: ObjectStorage) -> None:
    bucket.write("live.json", b"0")
    together = threading.Barrier(8)

    def publish(number: int) -> int:
        other = ObjectStorage(bucket.uri)
        other.read("live.json")
        together.wait()
        try:
            other.compare_and_swap("live.json", b"%d" % number, expected=b"0")
        except Conflict:
            return 0
        return number

    with ThreadPoolExecutor(8) as pool:
        published = [number for number in pool.map(publish, range(1, 9)) if number]
    assert len(published) == 1
    assert bucket.read("live.json") == b"%d" % published[0]


@pytest.mark.parametrize("before", [b"one", None])
def test_a_writer_between_the_comparison_and_the_swap_wins(
    bucket: ObjectStorage, monkeypatch: pytest.MonkeyPatch, before: bytes | None
) -> None:
    if before:
        bucket.write("live.json", before)
    find = ObjectClient.find

    def and_then_another_writes(objects: ObjectClient, name: str) -> Tagged | None:
        current = find(objects, name)
        ObjectClient.put(objects, name, b"two")
        return current

    with monkeypatch.context() as patched:
        patched.setattr(ObjectClient, "find", and_then_another_writes)
        with pytest.raises(Conflict, match="was changed by another process meanwhile"):
            bucket.compare_and_swap("live.json", b"three", expected=before)
    assert bucket.read("live.json") == b"two"


def test_empty_objects_of_consoles_are_no_files(bucket: ObjectStorage, object_server: str) -> None:
    fill(bucket, "versions/3", VERSION)
    root = bucket.uri.removeprefix("s3:/")
    for folder in ("", "versions/", "versions/3/", "versions/3/ids/"):
        with contextlib.closing(http.client.HTTPConnection(object_server)) as connection:
            connection.request("PUT", f"{root}/{folder}")
            assert connection.getresponse().status == 200
    assert files_in(bucket, "versions/3") == VERSION
    assert (bucket.list(), bucket.list("versions")) == (["versions"], ["3"])
    assert bucket.list("versions/3") == ["ids", "index.bin", "manifest.json"]
