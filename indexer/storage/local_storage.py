"""A store in a local folder."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from ubm_embed.errors import Conflict
from ubm_embed.outputs import output_file, output_folder

# Held while something is written to the store, and while one file is swapped.
LOCK_FILE, SWAP_LOCK_FILE = ".lock", ".exchange.lock"
_LEFTOVER = ".*.partial"
_SWAP_TIMEOUT_SECONDS = 30


class LocalStorage:
    """A `Storage` on a file system."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.uri = str(path)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        with output_file(self.path / name) as temporary:
            temporary.write_bytes(data)

    def compare_and_swap(self, name: str, data: bytes, *, expected: bytes | None) -> None:
        file = self.path / name
        # A lock of its own, held briefly: a rollback must not wait for a refresh that takes hours.
        with self._swap_lock():
            if (file.read_bytes() if file.exists() else None) != expected:
                raise Conflict(f"{file} was changed by another process meanwhile")
            self.write(name, data)

    def exists(self, name: str) -> bool:
        return (self.path / name).is_file()

    def list(self, folder: str = "") -> Sequence[str]:
        path = self.path / folder
        return sorted(entry.name for entry in path.iterdir() if not entry.match(_LEFTOVER)) if path.is_dir() else []

    @contextlib.contextmanager
    def open_folder(self, folder: str, needed: Collection[str] | None = None) -> Iterator[Path]:
        del needed  # nothing is copied
        if not (self.path / folder).is_dir():
            raise FileNotFoundError(self.path / folder)
        yield self.path / folder

    @contextlib.contextmanager
    def write_folder(self, folder: str, *, last: str) -> Iterator[Path]:
        del last  # a local folder is renamed, in one step
        with output_folder(self.path / folder, overwrite=True) as temporary:
            yield temporary

    def remove(self, name: str) -> None:
        path = self.path / name
        if path.is_dir():
            # Renamed first, so that half a folder is never taken for a whole one.
            doomed = path.with_name(f".{path.name}.partial")
            shutil.rmtree(doomed, ignore_errors=True)
            os.replace(path, doomed)
            shutil.rmtree(doomed)
        else:
            path.unlink(missing_ok=True)

    def size(self, name: str = "") -> int:
        path = self.path / name
        if path.is_file():
            return path.stat().st_size
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

    def modified(self, name: str) -> float:
        return (self.path / name).stat().st_mtime

    def fsync(self, name: str) -> None:
        path = self.path / name
        # A new file survives a power cut only if its folder's entry does, and a new folder if that of the one above.
        above = [parent for parent in path.parents if parent.is_relative_to(self.path)]
        for entry in (path, *above) if path.is_file() else (path, *path.rglob("*")):
            descriptor = os.open(entry, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove_leftovers(self) -> None:
        with self._swap_lock():  # the temporary file of a swap under way is no leftover
            for leftover in list(self.path.rglob(_LEFTOVER)):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)

    def require_lock(self) -> None:
        pass  # the operating system takes a file lock only from a process that died

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / LOCK_FILE
        busy = f"another process is writing to {self.path} (it holds {file}); wait until it is done"
        with _file_lock(file, timeout=0, busy=busy):
            yield

    @contextlib.contextmanager
    def _swap_lock(self) -> Iterator[None]:
        file = self.path / SWAP_LOCK_FILE
        with _file_lock(file, timeout=_SWAP_TIMEOUT_SECONDS, busy=f"another process holds {file}; try again"):
            yield


@contextlib.contextmanager
def _file_lock(file: Path, *, timeout: float, busy: str) -> Iterator[None]:
    """Hold a lock that the operating system releases when its holder dies, however it dies.

    Raises:
        Conflict: with the message `busy`, if another holder has it for longer than `timeout` seconds.
    """
    lock = FileLock(file, timeout=timeout)
    try:
        lock.acquire()
    except Timeout:
        raise Conflict(busy) from None
    try:
        yield
    finally:
        lock.release()
