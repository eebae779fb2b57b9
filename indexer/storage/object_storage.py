"""A store in an object store: S3 and what speaks its language, Google Cloud Storage, Azure.

An object is replaced in one step, a folder is not: it is whole once the file is there that is written last.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from indexer.storage.lease import Lease, holding
from indexer.storage.object_client import CHUNK_BYTES, MAX_CONCURRENCY, ObjectClient
from ubm_embed.errors import Conflict, InvalidData

if TYPE_CHECKING:
    from obstore import ObjectMeta

SCHEMES = ("s3", "gs", "az")
LOCK_FILE = "lock.json"
_LEFTOVER = ".*.partial"
_TELLS_WHOLE = ("manifest.json", "config.json")
_TEMPORARY = "ubm-embed-"


class ObjectStorage:
    """A `Storage` in an object store. What is read from it or put into it as a folder lies in TMPDIR meanwhile.

    All methods raise NotFound if there is no such bucket, and OSError if the store cannot be reached or refuses. Those
    that write raise Conflict once another process is known to have taken over the lock that this one held.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._objects = ObjectClient(uri)
        self._lease: Lease | None = None

    def read(self, name: str) -> bytes:
        return self._objects.get(name).data

    def write(self, name: str, data: bytes) -> None:
        self.require_lock()
        self._objects.put(name, data)

    def compare_and_swap(self, name: str, data: bytes, *, expected: bytes | None) -> None:
        self.require_lock()
        found = self._objects.find(name)
        try:
            if (found.data if found else None) != expected:
                raise Conflict(f"{self.uri}/{name} was changed by another process meanwhile")
            self._objects.put_if(name, data, found.tag if found else None)
        except Conflict as conflict:
            raise Conflict(f"{conflict}; nothing was published") from None

    def exists(self, name: str) -> bool:
        return self._objects.is_there(name)

    def list(self, folder: str = "") -> Sequence[str]:
        return sorted(name for name in self._objects.list(folder) if not fnmatchcase(name, _LEFTOVER))

    @contextlib.contextmanager
    def open_folder(self, folder: str) -> Iterator[Path]:
        found = self._objects.list_recursive(folder)
        if not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self.uri}/{folder}")
        with TemporaryDirectory(prefix=_TEMPORARY) as temporary:
            self._download(found, folder, Path(temporary))
            try:
                yield Path(temporary)
            except InvalidData as error:
                raise self._named_here(error, folder, Path(temporary)) from error

    def _download(self, found: Sequence[ObjectMeta], folder: str, target: Path) -> None:
        pieces = []
        for one in found:
            file = target / one["path"].removeprefix(f"{folder}/")
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as opened:
                opened.truncate(one["size"])
            pieces += [(one, start, file) for start in range(0, one["size"], CHUNK_BYTES)]
        with ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
            # Exhausted to raise the first failure, which cancels what has not begun.
            list(pool.map(lambda piece: self._objects.fetch(*piece), pieces))

    def _named_here(self, error: InvalidData, folder: str, temporary: Path) -> InvalidData:
        """The same error, whose file does not lie in a temporary folder that is gone when somebody looks for it."""
        if error.file is None or not Path(error.file).is_relative_to(temporary):
            return error
        inside = Path(error.file).relative_to(temporary).as_posix()
        file = "/".join(part for part in (self.uri, folder, inside) if part not in ("", "."))
        return InvalidData(error.problem, file=file, row=error.row, field=error.field)

    @contextlib.contextmanager
    def write_folder(self, folder: str, *, last: str) -> Iterator[Path]:
        with TemporaryDirectory(prefix=_TEMPORARY) as temporary:
            yield Path(temporary)
            self._upload(Path(temporary), folder, last)

    def _upload(self, source: Path, folder: str, last: str) -> None:
        """Wherever this stops: if `last` is there, so is all of one folder and nothing of the other."""
        found = (file for file in source.rglob("*") if file.is_file())
        files = {f"{folder}/{file.relative_to(source).as_posix()}": file for file in found}
        tells_whole = f"{folder}/{last}"
        assert tells_whole in files, f"{last} was not written"
        old = {one["path"] for one in self._objects.list_recursive(folder)}
        self.require_lock()
        self._objects.delete([tells_whole])
        self._objects.delete(old - files.keys())
        for name in sorted(files, key=lambda name: (name == tells_whole, name)):
            self.require_lock()
            self._objects.put_file(name, files[name])

    def remove(self, name: str) -> None:
        self.require_lock()
        names = [one["path"] for one in self._objects.list_recursive(name)] or [name]
        # Half a folder must not look like one.
        first = {path for path in names if path.endswith(_TELLS_WHOLE)}
        self._objects.delete(first)
        self._objects.delete(path for path in names if path not in first)

    def size(self, name: str = "") -> int:
        return self._objects.size(name) or sum(one["size"] for one in self._objects.list_recursive(name))

    def fsync(self, name: str) -> None:
        pass  # what an object store has taken, it has on disk

    def remove_leftovers(self) -> None:
        pass  # nothing is put aside there

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        with holding(self._objects, LOCK_FILE) as lease:
            self._lease = lease
            try:
                yield
            finally:
                self._lease = None

    def require_lock(self) -> None:
        if self._lease:
            self._lease.require_held()
