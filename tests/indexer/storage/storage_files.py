"""A folder of a store as files and bytes, and waiting for what another thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

from indexer.storage.storage import Storage

VERSION = {"manifest.json": b"{}", "index.bin": b"vectors", "ids/part-0": b"", "ids/part-1": b"p1 p2"}


def fill(storage: Storage, folder: str, files: dict[str, bytes]) -> None:
    """Write a folder of these files; `manifest.json` marks it as complete."""
    with storage.write_folder(folder, last="manifest.json") as target:
        for name, data in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(data)


def files_in(storage: Storage, folder: str) -> dict[str, bytes]:
    """The bytes of each file of a folder, by its name."""
    with storage.open_folder(folder) as path:
        return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait for another thread; fail only after a time that no busy machine needs."""
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in 120 s"
        time.sleep(0.02)
