"""Where files are: what a folder and an object store both promise, and what each has alone."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from indexer.storage import lease
from indexer.storage.local_storage import LocalStorage
from indexer.storage.object_client import CHUNK_BYTES, ObjectClient
from indexer.storage.object_storage import LOCK_FILE, ObjectStorage
from indexer.storage.storage import Storage, open_storage
from ubm_embed.errors import Conflict, InvalidData, NotFound

VERSION = {"manifest.json": b"{}", "index.bin": b"vectors", "ids/part-0": b"", "ids/part-1": b"p1 p2"}


def fill(storage: Storage, folder: str, files: dict[str, bytes]) -> None:
    with storage.write_folder(folder, last="manifest.json") as target:
        for name, data in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(data)


def files_in(storage: Storage, folder: str) -> dict[str, bytes]:
    with storage.open_folder(folder) as found:
        return {file.relative_to(found).as_posix(): file.read_bytes() for file in found.rglob("*") if file.is_file()}


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in 30 s"
        time.sleep(0.02)


class TestAnyPlace:
    @pytest.fixture(params=["folder", "bucket"])
    def storage(self, request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
        if request.param == "folder":
            (tmp_path / "place").mkdir()
            return open_storage(tmp_path / "place")
        return open_storage(request.getfixturevalue("bucket_uri"))

    def test_what_was_written_is_read(self, storage: Storage) -> None:
        storage.write("live.json", b"one")
        storage.write("live.json", b"two")
        storage.write("deep/in/there", b"three")
        assert (storage.read("live.json"), storage.read("deep/in/there")) == (b"two", b"three")

    def test_a_missing_file_is_not_read(self, storage: Storage) -> None:
        storage.write("versions/3/manifest.json", b"{}")
        with pytest.raises(FileNotFoundError) as caught:
            storage.read("versions/3/index.bin")
        assert caught.value.filename == f"{storage.uri}/versions/3/index.bin" or isinstance(storage, LocalStorage)

    def test_only_files_exist(self, storage: Storage) -> None:
        storage.write("versions/3/manifest.json", b"{}")
        names = ("versions/3/manifest.json", "versions/3", "versions", "live.json")
        assert [storage.exists(name) for name in names] == [True, False, False, False]

    def test_children_are_files_and_folders_in_order_without_leftovers(self, storage: Storage) -> None:
        for name in ("versions/30/a", "versions/3/b", "versions/tags.json", "versions/.3.ab12.partial/c", "live.json"):
            storage.write(name, b"x")
        assert storage.list() == ["live.json", "versions"]
        assert storage.list("versions") == ["3", "30", "tags.json"]
        assert storage.list("versions/3") == ["b"]
        assert storage.list("models") == storage.list("live.json") == []

    def test_an_exchange_needs_what_is_expected(self, storage: Storage) -> None:
        storage.compare_and_swap("live.json", b"one", expected=None)
        storage.compare_and_swap("live.json", b"two", expected=b"one")
        for stale in (b"one", None):
            with pytest.raises(Conflict, match=r"live\.json was changed by another process .* nothing was published"):
                storage.compare_and_swap("live.json", b"three", expected=stale)
        with pytest.raises(Conflict):
            storage.compare_and_swap("tags.json", b"three", expected=b"two")
        assert storage.read("live.json") == b"two"
        assert not storage.exists("tags.json")

    def test_a_folder_is_read_whole(self, storage: Storage) -> None:
        for name, data in VERSION.items():
            storage.write(f"versions/3/{name}", data)
        storage.write("versions/30/other", b"x")
        assert files_in(storage, "versions/3") == VERSION
        assert files_in(storage, "")["versions/30/other"] == b"x"

    def test_a_missing_folder_is_not_read(self, storage: Storage) -> None:
        storage.write("versions/30/other", b"x")
        with pytest.raises(FileNotFoundError), storage.open_folder("versions/3"):
            pytest.fail("there is nothing to read")

    def test_a_fault_found_while_reading_names_the_place(self, storage: Storage) -> None:
        fill(storage, "versions/3", VERSION)
        with pytest.raises(InvalidData) as caught, storage.open_folder("versions/3") as found:
            raise InvalidData("cut off", file=found / "ids" / "part-1", row=2, field="id")
        error = caught.value
        assert (error.problem, error.file and str(error.file), error.row, error.field) == (
            "cut off",
            f"{storage.uri}/versions/3/ids/part-1",
            2,
            "id",
        )

    def test_any_other_fault_found_while_reading_is_left_as_it_is(self, storage: Storage) -> None:
        fill(storage, "versions/3", VERSION)
        for fault in (InvalidData("odd", file="session.json"), InvalidData("odd"), ValueError("odd")):
            with pytest.raises(type(fault)) as caught, storage.open_folder("versions/3"):
                raise fault
            assert str(caught.value) == str(fault)

    def test_a_filled_folder_replaces_the_old_one(self, storage: Storage) -> None:
        fill(storage, "versions/3", {"manifest.json": b"old", "old/index.bin": b"old"})
        fill(storage, "versions/30", {"manifest.json": b"other"})
        fill(storage, "versions/3", VERSION)
        assert files_in(storage, "versions/3") == VERSION
        assert files_in(storage, "versions/30") == {"manifest.json": b"other"}
        assert storage.list() == ["versions"]

    def test_a_folder_that_failed_to_fill_changes_nothing(self, storage: Storage) -> None:
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

    def test_files_and_folders_are_removed(self, storage: Storage) -> None:
        fill(storage, "versions/3", VERSION)
        fill(storage, "versions/30", VERSION)
        storage.write("live.json", b"{}")
        for name in ("versions/3", "live.json", "versions/4", "nothing.json"):
            storage.remove(name)
        assert (storage.list(), storage.list("versions")) == (["versions"], ["30"])
        assert files_in(storage, "versions/30") == VERSION

    def test_size_is_that_of_all_files(self, storage: Storage) -> None:
        fill(storage, "versions/3", VERSION)
        storage.write("versions/30/other", b"x" * 100)
        assert storage.size("versions/3") == sum(map(len, VERSION.values()))
        assert storage.size() == storage.size("versions/3") + 100
        assert storage.size("models") == 0

    def test_settling_and_clearing_leave_what_is_whole(self, storage: Storage) -> None:
        fill(storage, "versions/3", VERSION)
        with storage.lock():
            storage.fsync("versions")
            storage.remove_leftovers()
        assert files_in(storage, "versions/3") == VERSION

    def test_a_second_writer_is_refused_until_the_first_is_done(self, storage: Storage) -> None:
        with storage.lock():
            for other in (storage, open_storage(storage.uri)):
                with pytest.raises(Conflict, match=r"another process is writing to .* wait"), other.lock():
                    pytest.fail("two writers")
            storage.compare_and_swap("live.json", b"one", expected=None)
        with open_storage(storage.uri).lock():
            pass

    def test_a_writer_that_fails_lets_others_write(self, storage: Storage) -> None:
        with pytest.raises(RuntimeError, match="bug"), storage.lock():
            raise RuntimeError("bug")
        with storage.lock():
            pass


class TestPlaceOf:
    def test_a_path_is_a_folder(self, tmp_path: Path) -> None:
        for where in (tmp_path, str(tmp_path), f"file://{tmp_path}"):
            storage = open_storage(where)
            assert isinstance(storage, LocalStorage)
            assert storage.uri == str(tmp_path)

    def test_a_uri_is_a_bucket(self) -> None:
        for uri in ("s3://shop/stores/main", "gs://shop", "az://shop/main"):
            storage = open_storage(f"{uri}/")
            assert isinstance(storage, ObjectStorage)
            assert storage.uri == uri

    def test_another_scheme_is_refused(self) -> None:
        with pytest.raises(InvalidData, match="expected a folder or a URI of s3, gs, az, got 'ftp://shop'"):
            open_storage("ftp://shop")


class TestFolder:
    def test_leftovers_of_a_killed_writer_are_removed(self, tmp_path: Path) -> None:
        fill(LocalStorage(tmp_path), "versions/3", VERSION)
        (tmp_path / ".live.json.ab12.partial").write_bytes(b"half")
        (tmp_path / "versions" / ".4.ab12.partial").mkdir()
        (tmp_path / "versions" / ".4.ab12.partial" / "index.bin").write_bytes(b"half")
        LocalStorage(tmp_path).remove_leftovers()
        assert {file.name for file in tmp_path.iterdir()} == {"versions", ".exchange.lock"}
        assert [file.name for file in (tmp_path / "versions").iterdir()] == ["3"]

    def test_a_folder_is_read_where_it_is(self, tmp_path: Path) -> None:
        fill(LocalStorage(tmp_path), "versions/3", VERSION)
        with LocalStorage(tmp_path).open_folder("versions/3") as found:
            assert found == tmp_path / "versions" / "3"

    def test_a_lock_makes_the_folder(self, tmp_path: Path) -> None:
        with LocalStorage(tmp_path / "new" / "store").lock():
            assert (tmp_path / "new" / "store").is_dir()


class TestBucket:
    @pytest.fixture
    def bucket(self, bucket_uri: str) -> ObjectStorage:
        return ObjectStorage(bucket_uri)

    def test_a_file_of_many_pieces_arrives_as_it_is(self, bucket: ObjectStorage) -> None:
        data = random.Random(0).randbytes(2 * CHUNK_BYTES + 12_345)
        fill(bucket, "versions/3", {"manifest.json": b"{}", "index.bin": data})
        assert files_in(bucket, "versions/3")["index.bin"] == data

    def test_what_was_read_is_deleted_afterwards(self, bucket: ObjectStorage) -> None:
        fill(bucket, "versions/3", VERSION)
        with bucket.open_folder("versions/3") as found:
            assert found.is_dir()
        with pytest.raises(RuntimeError), bucket.open_folder("versions/3") as again:
            raise RuntimeError("bug")
        assert not found.exists()
        assert not again.exists()

    def test_a_folder_that_is_replaced_while_it_is_read_is_no_mixture(
        self, bucket: ObjectStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(bucket, "versions/3", VERSION)
        fetch = ObjectClient.fetch

        def late(objects: ObjectClient, found: object, start: int, file: Path) -> None:
            bucket.write("versions/3/index.bin", b"newer, longer vectors")
            fetch(objects, found, start, file)  # type: ignore[arg-type]

        monkeypatch.setattr(ObjectClient, "fetch", late)
        with pytest.raises(Conflict, match=r"index\.bin was changed"), bucket.open_folder("versions/3"):
            pytest.fail("a mixture was read")

    @pytest.mark.parametrize("done", range(4))
    def test_an_upload_that_is_cut_off_leaves_no_folder_that_looks_whole(
        self, bucket: ObjectStorage, monkeypatch: pytest.MonkeyPatch, done: int
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

    def test_half_a_removed_folder_does_not_look_whole(
        self, bucket: ObjectStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(bucket, "versions/3", VERSION)
        calls: list[object] = []
        delete = ObjectClient.delete

        def cut_off(objects: ObjectClient, names: object) -> None:
            if calls:
                raise OSError("cut off")
            calls.append(names)
            delete(objects, names)  # type: ignore[arg-type]

        monkeypatch.setattr(ObjectClient, "delete", cut_off)
        with pytest.raises(OSError, match="cut off"):
            bucket.remove("versions/3")
        assert bucket.list("versions/3") == ["ids", "index.bin"]

    def test_of_many_writers_at_once_one_publishes(self, bucket: ObjectStorage) -> None:
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
        self, bucket: ObjectStorage, monkeypatch: pytest.MonkeyPatch, before: bytes | None
    ) -> None:
        if before:
            bucket.write("live.json", before)
        find = ObjectClient.find

        def and_then_another_writes(objects: ObjectClient, name: str) -> object:
            found = find(objects, name)
            ObjectClient.put(objects, name, b"two")
            return found

        with monkeypatch.context() as patched:
            patched.setattr(ObjectClient, "find", and_then_another_writes)
            with pytest.raises(Conflict, match="nothing was published"):
                bucket.compare_and_swap("live.json", b"three", expected=before)
        assert bucket.read("live.json") == b"two"

    def test_empty_objects_that_consoles_make_for_folders_are_no_files(
        self, bucket: ObjectStorage, object_server: str
    ) -> None:
        fill(bucket, "versions/3", VERSION)
        root = bucket.uri.removeprefix("s3:/")
        for folder in ("", "versions/", "versions/3/", "versions/3/ids/"):
            with contextlib.closing(http.client.HTTPConnection(object_server)) as connection:
                connection.request("PUT", f"{root}/{folder}")
                assert connection.getresponse().status == 200
        assert files_in(bucket, "versions/3") == VERSION
        assert (bucket.list(), bucket.list("versions")) == (["versions"], ["3"])
        assert bucket.list("versions/3") == ["ids", "index.bin", "manifest.json"]

    def test_the_answer_to_a_write_may_be_lost(self, bucket: ObjectStorage) -> None:
        # The client then writes again, on a condition that its first writing broke.
        objects = ObjectClient(bucket.uri)
        first = objects.put_if("live.json", b"one", None)
        assert objects.put_if("live.json", b"one", None) == first
        second = objects.put_if("live.json", b"two", first)
        assert objects.put_if("live.json", b"two", first) == second
        with pytest.raises(Conflict):
            objects.put_if("live.json", b"three", first)


def lock(holder: str, *, seconds: float) -> bytes:
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    return json.dumps({"holder": holder, "until": until.isoformat()}).encode()


HOLD = """
import sys, time
from indexer.storage.object_storage import ObjectStorage
with ObjectStorage(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(600)
"""


class TestLockOfABucket:
    @pytest.fixture
    def bucket(self, bucket_uri: str) -> ObjectStorage:
        return ObjectStorage(bucket_uri)

    def test_it_says_who_writes_and_until_when(self, bucket: ObjectStorage) -> None:
        with bucket.lock():
            document = json.loads(bucket.read(LOCK_FILE))
            left = datetime.fromisoformat(document["until"]) - datetime.now(UTC)
            assert document["holder"].endswith(f":{os.getpid()}")
            assert timedelta() < left <= timedelta(seconds=lease.SECONDS)
        assert not bucket.exists(LOCK_FILE)

    def test_the_refusal_names_the_holder_and_its_time(self, bucket: ObjectStorage) -> None:
        bucket.write(LOCK_FILE, lock("night:17", seconds=100))
        until = datetime.fromisoformat(json.loads(bucket.read(LOCK_FILE))["until"])
        named = rf"night:17 holds {bucket.uri}/{LOCK_FILE} until {until:%Y-%m-%d %H:%M:%S} UTC"
        with pytest.raises(Conflict, match=named), bucket.lock():
            pytest.fail("two writers")
        assert b"night:17" in bucket.read(LOCK_FILE)

    def test_one_that_ran_out_is_taken_over(self, bucket: ObjectStorage) -> None:
        bucket.write(LOCK_FILE, lock("night:17", seconds=-1))
        with bucket.lock():
            assert b"night:17" not in bucket.read(LOCK_FILE)
            with pytest.raises(Conflict), ObjectStorage(bucket.uri).lock():
                pytest.fail("two writers")
        assert not bucket.exists(LOCK_FILE)

    def test_of_many_that_take_it_over_at_once_one_gets_it(self, bucket: ObjectStorage) -> None:
        bucket.write(LOCK_FILE, lock("night:17", seconds=-1))
        together, all_tried = threading.Barrier(6), threading.Barrier(6)

        def take_over(_: int) -> bool:
            together.wait()
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(ObjectStorage(bucket.uri).lock())
                except Conflict:
                    return False
                finally:
                    all_tried.wait()
                return True

        with ThreadPoolExecutor(6) as pool:
            assert sorted(pool.map(take_over, range(6))) == [False] * 5 + [True]

    def test_a_holder_that_was_killed_keeps_it_only_until_it_runs_out(self, bucket: ObjectStorage) -> None:
        root = Path(lease.__file__).parents[2]
        command = [sys.executable, "-c", HOLD, bucket.uri]
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout
            assert holder.stdout.readline() == "held\n"
            holder.send_signal(signal.SIGKILL)
        with pytest.raises(Conflict, match=f":{holder.pid} holds"), bucket.lock():
            pytest.fail("two writers")
        later = json.loads(bucket.read(LOCK_FILE)) | {"until": datetime.now(UTC).isoformat()}
        bucket.write(LOCK_FILE, json.dumps(later).encode())
        with bucket.lock():
            pass

    @pytest.mark.parametrize("data", [b"", b"[]", b'{"holder": "night:17"}', b'{"holder": "night:17", "until": 5}'])
    def test_one_that_cannot_be_read_is_not_taken_over(self, bucket: ObjectStorage, data: bytes) -> None:
        bucket.write(LOCK_FILE, data)
        with pytest.raises(Conflict, match="remove it if no process does"), bucket.lock():
            pytest.fail("it may be held")

    def test_it_is_renewed_as_long_as_the_block_lasts(
        self, bucket: ObjectStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lease, "SECONDS", 0.6)
        with bucket.lock():
            seen = set()

            def renewed_often() -> bool:
                seen.add(bucket.read(LOCK_FILE))
                return len(seen) > 4

            wait_until(renewed_often)
            bucket.write("live.json", b"{}")

    def test_one_that_was_taken_over_stops_every_write(
        self, bucket: ObjectStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lease, "SECONDS", 0.15)
        fill(bucket, "versions/3", VERSION)
        bucket.write("live.json", b"one")

        def write_on() -> None:
            wait_until(lambda: refused(lambda: bucket.compare_and_swap("live.json", b"one", expected=b"one")))
            assert refused(lambda: bucket.write("live.json", b"two"))
            assert refused(lambda: bucket.remove("versions/3"))
            assert refused(lambda: fill(bucket, "versions/3", {"manifest.json": b"two"}))

        with pytest.raises(Conflict, match=f"took over {bucket.uri}/{LOCK_FILE}"):
            lose(bucket, write_on)
        assert bucket.read("live.json") == b"one"
        assert files_in(bucket, "versions/3") == VERSION
        assert b"day:18" in bucket.read(LOCK_FILE)
        bucket.write("live.json", b"two")  # without a lock there is none to lose

    def test_one_that_is_taken_over_during_an_upload_stops_it(
        self, bucket: ObjectStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lease, "SECONDS", 0.15)
        put_file = ObjectClient.put_file

        def slowly(objects: ObjectClient, name: str, file: Path) -> None:
            put_file(objects, name, file)
            ObjectClient.put(objects, LOCK_FILE, lock("day:18", seconds=100))
            wait_until(lambda: refused(lambda: bucket.write("live.json", b"two")))

        monkeypatch.setattr(ObjectClient, "put_file", slowly)
        with pytest.raises(Conflict, match="took over"), bucket.lock():
            fill(bucket, "versions/3", VERSION)
        assert bucket.list("versions/3") == ["ids"]

    def test_the_end_of_the_block_tells_that_it_was_taken_over(self, bucket: ObjectStorage) -> None:
        with pytest.raises(Conflict, match="took over"):
            lose(bucket, lambda: None)
        assert b"day:18" in bucket.read(LOCK_FILE)

    def test_one_that_was_removed_is_lost(self, bucket: ObjectStorage) -> None:
        with pytest.raises(Conflict, match="took over"), bucket.lock():
            ObjectStorage(bucket.uri).remove(LOCK_FILE)
        assert not bucket.exists(LOCK_FILE)

    def test_a_lost_lock_does_not_hide_why_the_block_failed(self, bucket: ObjectStorage) -> None:
        def fail() -> None:
            raise RuntimeError("bug")

        with pytest.raises(RuntimeError, match="bug"):
            lose(bucket, fail)

    def test_a_renewal_that_fails_is_tried_again(self, bucket: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lease, "SECONDS", 0.15)
        failures: list[str] = []
        put_if = ObjectClient.put_if
        with bucket.lock():
            taken = bucket.read(LOCK_FILE)

            def unreachable_twice(objects: ObjectClient, name: str, data: bytes, tag: object) -> object:
                if len(failures) < 2:
                    failures.append(name)
                    raise OSError("unreachable")
                return put_if(objects, name, data, tag)  # type: ignore[arg-type]

            monkeypatch.setattr(ObjectClient, "put_if", unreachable_twice)
            wait_until(lambda: bucket.read(LOCK_FILE) != taken)
        assert failures == [LOCK_FILE] * 2


def lose(bucket: ObjectStorage, then: Callable[[], object]) -> None:
    """Hold the lock of a bucket, let another take it over, and go on."""
    with bucket.lock():
        ObjectStorage(bucket.uri).write(LOCK_FILE, lock("day:18", seconds=100))
        then()


def refused(action: Callable[[], object]) -> bool:
    try:
        action()
    except Conflict as conflict:
        return "took over" in str(conflict)
    return False


class Refusing(http.server.BaseHTTPRequestHandler):
    """An object store that answers every request with the same refusal."""

    status, said = 403, "<Code>AccessDenied</Code><Message>Access Denied</Message>"

    def do_GET(self) -> None:
        body = f'<?xml version="1.0"?>\n<Error>{self.said}</Error>'.encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_PUT = do_POST = do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def refusing_server(status: int, said: str) -> Iterator[str]:
    handler = type("Handler", (Refusing,), {"status": status, "said": said})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


ACTIONS: dict[str, Callable[[Storage], object]] = {
    "read": lambda storage: storage.read("live.json"),
    "exists": lambda storage: storage.exists("live.json"),
    "list": lambda storage: storage.list(),
    "size": lambda storage: storage.size(),
    "write": lambda storage: storage.write("live.json", b""),
    "compare_and_swap": lambda storage: storage.compare_and_swap("live.json", b"", expected=None),
    "remove": lambda storage: storage.remove("live.json"),
    "open_folder": lambda storage: files_in(storage, "versions/3"),
    "write_folder": lambda storage: fill(storage, "versions/3", VERSION),
    "lock": lambda storage: storage.lock().__enter__(),
}


class TestABucketThatCannotBeUsed:
    @pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
    def test_a_missing_bucket_is_named(self, object_store: None, action: Callable[[Storage], object]) -> None:
        with pytest.raises(NotFound, match="there is no bucket for s3://no-such-shop/main") as caught:
            action(ObjectStorage("s3://no-such-shop/main"))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
    def test_keys_that_may_not_are_refused_in_one_line(
        self, object_store: None, monkeypatch: pytest.MonkeyPatch, action: Callable[[Storage], object]
    ) -> None:
        with refusing_server(403, Refusing.said) as endpoint:
            monkeypatch.setenv("AWS_ENDPOINT", endpoint)
            with pytest.raises(PermissionError, match=r"refuses these keys .*s3://shop/main") as caught:
                action(ObjectStorage("s3://shop/main"))
        assert "\n" not in str(caught.value)

    def test_what_the_store_says_of_anything_else_is_one_line(
        self, object_store: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with refusing_server(400, "<Message>Your clock is wrong</Message>") as endpoint:
            monkeypatch.setenv("AWS_ENDPOINT", endpoint)
            with pytest.raises(OSError, match="400 Bad Request: Your clock is wrong") as caught:
                ObjectStorage("s3://shop/main").read("live.json")
        assert caught.value.filename == "s3://shop/main/live.json"
        assert "\n" not in str(caught.value)

    def test_plain_http_is_used_where_the_endpoint_says_so(
        self, bucket_uri: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ALLOW_HTTP")
        assert ObjectStorage(bucket_uri).list() == []

    def test_a_uri_that_names_no_bucket_is_refused(self) -> None:
        with pytest.raises(InvalidData, match="s3:///main: cannot be used as a store") as caught:
            ObjectStorage("s3:///main").list()
        assert "\n" not in str(caught.value)
