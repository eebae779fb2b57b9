"""The lock of an object store: one holder at a time, and none forever."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from indexer.storage import lease
from indexer.storage.lease import LeaseTimes
from indexer.storage.object_client import ObjectClient
from indexer.storage.object_storage import LOCK_FILE, ObjectStorage
from tests.indexer.storage.storage_files import VERSION, files_in, fill, wait_until
from ubm_embed.errors import Conflict

# Renewed often, so that a test notices soon; it expires late, so that a busy machine does not lose it.
OFTEN = LeaseTimes(lasts=600, renewed_every=0.02)


def lock_of(holder: str, *, seconds: float) -> bytes:
    """The lock of another process, which expires in `seconds`."""
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    return json.dumps({"holder": holder, "until": until.isoformat()}).encode()


HOLD = """
import sys, time
from indexer.storage.object_storage import ObjectStorage
with ObjectStorage(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def bucket(bucket_uri: str) -> ObjectStorage:
    return ObjectStorage(bucket_uri, lease=OFTEN)


def test_it_names_its_holder_and_when_it_expires(bucket: ObjectStorage) -> None:
    with bucket.lock():
        document = json.loads(bucket.read(LOCK_FILE))
        left = datetime.fromisoformat(document["until"]) - datetime.now(UTC)
        assert document["holder"].endswith(f":{os.getpid()}")
        assert timedelta() < left <= timedelta(seconds=OFTEN.lasts)
    assert not bucket.exists(LOCK_FILE)


def test_the_refusal_names_the_holder_and_its_time(bucket: ObjectStorage) -> None:
    bucket.write(LOCK_FILE, lock_of("night:17", seconds=100))
    until = datetime.fromisoformat(json.loads(bucket.read(LOCK_FILE))["until"])
    named = rf"night:17 holds {bucket.uri}/{LOCK_FILE} until {until:%Y-%m-%d %H:%M:%S} UTC"
    with pytest.raises(Conflict, match=named), bucket.lock():
        pytest.fail("two writers")
    assert b"night:17" in bucket.read(LOCK_FILE)


def test_an_expired_lock_is_taken_over(bucket: ObjectStorage) -> None:
    bucket.write(LOCK_FILE, lock_of("night:17", seconds=-1))
    with bucket.lock():
        assert b"night:17" not in bucket.read(LOCK_FILE)
        with pytest.raises(Conflict), ObjectStorage(bucket.uri).lock():
            pytest.fail("two writers")
    assert not bucket.exists(LOCK_FILE)


def test_of_many_processes_one_takes_over_an_expired_lock(bucket: ObjectStorage) -> None:
    bucket.write(LOCK_FILE, lock_of("night:17", seconds=-1))
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


def test_a_killed_holder_keeps_it_only_until_it_expires(bucket: ObjectStorage) -> None:
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
def test_an_unreadable_lock_is_not_taken_over(bucket: ObjectStorage, data: bytes) -> None:
    bucket.write(LOCK_FILE, data)
    with pytest.raises(Conflict, match="remove it if no process is writing"), bucket.lock():
        pytest.fail("it may be held")


def test_it_is_renewed_for_as_long_as_the_block_lasts(bucket: ObjectStorage) -> None:
    with bucket.lock():
        seen = set()

        def renewed_often() -> bool:
            seen.add(bucket.read(LOCK_FILE))
            return len(seen) > 4

        wait_until(renewed_often)
        bucket.write("live.json", b"{}")


def test_a_lost_lock_stops_every_write(bucket: ObjectStorage) -> None:
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
    bucket.write("live.json", b"two")  # without the lock nothing was lost


def test_a_lock_lost_during_an_upload_stops_it(bucket: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    put_file = ObjectClient.put_file

    def slowly(objects: ObjectClient, name: str, file: Path) -> None:
        put_file(objects, name, file)
        ObjectClient.put(objects, LOCK_FILE, lock_of("day:18", seconds=100))
        wait_until(lambda: refused(lambda: bucket.write("live.json", b"two")))

    monkeypatch.setattr(ObjectClient, "put_file", slowly)
    with pytest.raises(Conflict, match="took over"), bucket.lock():
        fill(bucket, "versions/3", VERSION)
    assert bucket.list("versions/3") == ["ids"]


def test_the_end_of_the_block_reports_a_lost_lock(bucket: ObjectStorage) -> None:
    with pytest.raises(Conflict, match="took over"):
        lose(bucket, lambda: None)
    assert b"day:18" in bucket.read(LOCK_FILE)


def test_a_removed_lock_is_lost(bucket: ObjectStorage) -> None:
    with pytest.raises(Conflict, match="took over"), bucket.lock():
        ObjectStorage(bucket.uri).remove(LOCK_FILE)
    assert not bucket.exists(LOCK_FILE)


def test_a_lock_that_was_not_renewed_in_time_stops_every_write(bucket_uri: str) -> None:
    stalled = ObjectStorage(bucket_uri, lease=LeaseTimes(lasts=0, renewed_every=600))
    with pytest.raises(Conflict, match="nothing more was written"), stalled.lock():
        stalled.write("live.json", b"one")
    assert not ObjectStorage(bucket_uri).exists("live.json")


def test_a_lost_lock_does_not_hide_why_the_block_failed(bucket: ObjectStorage) -> None:
    def fail() -> None:
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        lose(bucket, fail)


def test_a_renewal_that_fails_is_tried_again(bucket: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> None:
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
        ObjectStorage(bucket.uri).write(LOCK_FILE, lock_of("day:18", seconds=100))
        then()


def refused(action: Callable[[], object]) -> bool:
    try:
        action()
    except Conflict as conflict:
        return "took over" in str(conflict)
    return False
