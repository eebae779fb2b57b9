"""A store in a local folder."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from ubm_embed.errors import Conflict
from ubm_embed.outputs import output_file, output_folder

LOCK_FILE, EXCHANGE_FILE = ".lock", ".exchange.lock"
_LEFTOVER = ".*.partial"
_EXCHANGE_SECONDS = 30


class LocalStorage:
    """A `Storage` on a file system."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.uri = str(path)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        with output_file(self.path / name) as aside:
            aside.write_bytes(data)

    def compare_and_swap(self, name: str, data: bytes, *, expected: bytes | None) -> None:
        file = self.path / name
        # A lock of its own, held for a moment: a rollback must not wait for a refresh that takes hours.
        with self._exchanging():
            if (file.read_bytes() if file.exists() else None) != expected:
                raise Conflict(f"{file} was changed by another process meanwhile; nothing was published")
            self.write(name, data)

    def exists(self, name: str) -> bool:
        return (self.path / name).is_file()

    def list(self, folder: str = "") -> Sequence[str]:
        found = self.path / folder
        return sorted(one.name for one in found.iterdir() if not one.match(_LEFTOVER)) if found.is_dir() else []

    @contextlib.contextmanager
    def open_folder(self, folder: str) -> Iterator[Path]:
        if not (self.path / folder).is_dir():
            raise FileNotFoundError(self.path / folder)
        yield self.path / folder

    @contextlib.contextmanager
    def write_folder(self, folder: str, *, last: str) -> Iterator[Path]:
        del last  # a folder is renamed, whole
        with output_folder(self.path / folder, overwrite=True) as aside:
            yield aside

    def remove(self, name: str) -> None:
        path = self.path / name
        if path.is_dir():
            # Renamed first: half a folder must not look like one.
            aside = path.with_name(f".{path.name}.partial")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(path, aside)
            shutil.rmtree(aside)
        else:
            path.unlink(missing_ok=True)

    def size(self, name: str = "") -> int:
        path = self.path / name
        if path.is_file():
            return path.stat().st_size
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

    def fsync(self, name: str) -> None:
        path = self.path / name
        # A file is found again by its folder.
        for entry in (path, path.parent) if path.is_file() else (path, *path.rglob("*")):
            descriptor = os.open(entry, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove_leftovers(self) -> None:
        with self._exchanging():  # what is just being exchanged is no leftover
            for folder in (self.path, *(one for one in self.path.iterdir() if one.is_dir())):
                for leftover in folder.glob(_LEFTOVER):
                    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    @contextlib.contextmanager
    def _exchanging(self) -> Iterator[None]:
        lock = FileLock(self.path / EXCHANGE_FILE, timeout=_EXCHANGE_SECONDS)
        try:
            lock.acquire()
        except Timeout:
            raise Conflict(f"another process holds {self.path / EXCHANGE_FILE}; try again") from None
        try:
            yield
        finally:
            lock.release()

    def require_lock(self) -> None:
        pass  # the system takes the lock from a process that died, and from no other

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        # The system releases the lock when its holder dies, however it dies.
        lock = FileLock(self.path / LOCK_FILE, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            held = f"it holds {self.path / LOCK_FILE}"
            raise Conflict(f"another process is writing to {self.path} ({held}); wait until it is done") from None
        try:
            yield
        finally:
            lock.release()
