"""A store in an object store: S3 and compatible services, Google Cloud Storage, Azure.

An object is replaced in one step, a folder is not: it is complete once the file that is written last is there.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from indexer.storage.lease import Lease, LeaseTimes, hold_lease
from indexer.storage.object_client import CHUNK_BYTES, MAX_CONCURRENCY, ObjectClient
from ubm_embed.errors import Conflict, InvalidData

if TYPE_CHECKING:
    from obstore import ObjectMeta

SCHEMES = ("s3", "gs", "az")
LOCK_FILE = "lock.json"
_LEFTOVER = ".*.partial"
# Written last into a version's and a model's folder, so removed first.
_LAST_FILES = ("manifest.json", "config.json")
_TEMPORARY = "ubm-embed-"


class ObjectStorage:
    """A `Storage` in an object store. A folder that is read or written passes through a local folder in TMPDIR.

    All methods raise NotFound if there is no such bucket, and OSError if the store cannot be reached or refuses. Those
    that write raise Conflict once another process is known to have taken over the lock that this one held.
    """

    def __init__(self, uri: str, *, lease: LeaseTimes | None = None) -> None:
        self.uri = uri
        self._objects = ObjectClient(uri)
        self._lease_times = lease or LeaseTimes()
        self._lease: Lease | None = None

    def read(self, name: str) -> bytes:
        return self._objects.get(name).data

    def write(self, name: str, data: bytes) -> None:
        self.require_lock()
        self._objects.put(name, data)

    def compare_and_swap(self, name: str, data: bytes, *, expected: bytes | None) -> None:
        self.require_lock()
        current = self._objects.find(name)
        if (current.data if current else None) != expected:
            raise Conflict(f"{self.uri}/{name} was changed by another process meanwhile")
        self._objects.put_if(name, data, current.tag if current else None)

    def exists(self, name: str) -> bool:
        return self._objects.exists(name)

    def list(self, folder: str = "") -> Sequence[str]:
        return sorted(name for name in self._objects.list(folder) if not fnmatchcase(name, _LEFTOVER))

    @contextlib.contextmanager
    def open_folder(self, folder: str, needed: Collection[str] | None = None) -> Iterator[Path]:
        objects = self._objects.list_recursive(folder)
        if not objects:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self.uri}/{folder}")
        with TemporaryDirectory(prefix=_TEMPORARY) as temporary:
            if needed is not None:
                objects = [meta for meta in objects if meta["path"].removeprefix(f"{folder}/") in needed]
            self._download(objects, folder, Path(temporary))
            try:
                yield Path(temporary)
            except InvalidData as error:
                raise self._with_uri(error, folder, Path(temporary)) from error

    def _download(self, objects: Sequence[ObjectMeta], folder: str, target: Path) -> None:
        chunks = []
        for meta in objects:
            file = target / meta["path"].removeprefix(f"{folder}/")
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as opened:
                opened.truncate(meta["size"])
            chunks += [(meta, start, file) for start in range(0, meta["size"], CHUNK_BYTES)]
        with ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
            # Exhausting the iterator raises the first failure and cancels the chunks that have not begun.
            list(pool.map(lambda chunk: self._objects.download_chunk(*chunk), chunks))

    def _with_uri(self, error: InvalidData, folder: str, temporary: Path) -> InvalidData:
        """The same error with the file's URI: its path in the temporary folder will be gone."""
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
        """Replace a folder. Wherever this stops, the file `last` is there only beside all files of one folder."""
        files = {
            f"{folder}/{file.relative_to(source).as_posix()}": file for file in source.rglob("*") if file.is_file()
        }
        last_name = f"{folder}/{last}"
        assert last_name in files, f"{last} was not written"
        old = {meta["path"] for meta in self._objects.list_recursive(folder)}
        self.require_lock()
        self._objects.delete([last_name])
        self._objects.delete(old - files.keys())
        for name in sorted(files, key=lambda name: (name == last_name, name)):
            self.require_lock()
            self._objects.put_file(name, files[name])

    def remove(self, name: str) -> None:
        self.require_lock()
        names = [meta["path"] for meta in self._objects.list_recursive(name)] or [name]
        # In this order, so that half a folder is never taken for a whole one.
        first = {path for path in names if path.endswith(_LAST_FILES)}
        self._objects.delete(first)
        self._objects.delete(path for path in names if path not in first)

    def size(self, name: str = "") -> int:
        return self._objects.size(name) or sum(meta["size"] for meta in self._objects.list_recursive(name))

    def modified(self, name: str) -> float:
        return self._objects.modified(name)

    def fsync(self, name: str) -> None:
        pass  # an object store acknowledges only what is durable

    def remove_leftovers(self) -> None:
        pass  # uploads have no temporary objects

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        with hold_lease(self._objects, LOCK_FILE, self._lease_times) as lease:
            self._lease = lease
            try:
                yield
            finally:
                self._lease = None

    def require_lock(self) -> None:
        if self._lease:
            self._lease.require_held()
