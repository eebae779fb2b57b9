"""Objects below a URI, with the errors of the object store in one line.

Keys, region and endpoint come from the environment under the names that LanceDB reads too: AWS_ACCESS_KEY_ID,
AWS_REGION, AWS_ENDPOINT and so on; GOOGLE_... and AZURE_... for the other two.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import from_url

from ubm_embed.errors import Conflict, InvalidData, NotFound

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutResult, UpdateVersion
    from obstore.store import ClientConfig, ObjectStore

# All chunks in flight have to fit into memory, and one has to pass within the client's timeout of 30 s.
CHUNK_BYTES, MAX_CONCURRENCY = 8 << 20, 4
_MAX_PARTS = 9_000  # S3 takes at most 10,000 parts an object

_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound")
_DENIED = re.compile(r"status code: 40[13]\b")
# Metadata services of cloud machines, which clients ask when the environment has no keys.
_NO_KEYS = re.compile("latest/api/token|computeMetadata|metadata/identity")


@dataclass(frozen=True)
class Tagged:
    """An object's bytes, and the tag that names this state of it in a conditional write."""

    data: bytes
    tag: UpdateVersion


class ObjectClient:
    """Objects by their names below a URI such as `s3://shop/stores/main`. The connection opens at first use.

    Every method raises NotFound if there is no bucket, and OSError if the store cannot be reached or refuses.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @cached_property
    def _store(self) -> ObjectStore:
        try:
            return from_url(self.uri, client_options=_client_options())
        except (BaseError, ValueError) as error:
            raise InvalidData(f"cannot be used as a store: {_first_line(error)}", file=self.uri) from None

    def get(self, name: str) -> Tagged:
        """An object and its tag.

        Raises:
            FileNotFoundError: there is no such object.
        """
        with self._translated(name):
            result = self._store.get(name)
            return Tagged(tag=_tag(result.meta), data=bytes(result.bytes()))

    def find(self, name: str) -> Tagged | None:
        """An object and its tag, or None if there is no such object."""
        try:
            return self.get(name)
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes) -> None:
        """Write an object, replacing any other."""
        with self._translated(name):
            self._store.put(name, data)

    def put_if(self, name: str, data: bytes, tag: UpdateVersion | None) -> UpdateVersion:
        """Write an object if it still has this tag, and return its new tag; None expects no object.

        Raises:
            Conflict: the object was changed, removed or made since.
        """
        try:
            with self._translated(name):
                return _tag(self._store.put(name, data, mode="create" if tag is None else tag))
        except Conflict:
            current = self.find(name)
            # When the answer to a write is lost, the client repeats it and meets its own first write.
            if current and current.data == data:
                return current.tag
            raise

    def put_file(self, name: str, file: Path) -> None:
        """Upload a file in chunks; the object appears with the last one."""
        chunk = max(CHUNK_BYTES, file.stat().st_size // _MAX_PARTS + 1)
        with self._translated(name):
            self._store.put(name, file, chunk_size=chunk, max_concurrency=MAX_CONCURRENCY)

    def download_chunk(self, meta: ObjectMeta, start: int, file: Path) -> None:
        """Copy the chunk that begins at byte `start` to the same offset in a file.

        Raises:
            FileNotFoundError: the object was removed after it was listed.
            Conflict: it was replaced after that.
        """
        end = min(start + CHUNK_BYTES, meta["size"])
        with self._translated(meta["path"]):
            result = self._store.get(meta["path"], options={"range": (start, end), "if_match": meta["e_tag"]})
            data = result.bytes()
        with file.open("r+b") as opened:
            opened.seek(start)
            opened.write(data)

    def exists(self, name: str) -> bool:
        """Whether there is an object of this name."""
        try:
            with self._translated(name):
                self._store.head(name)
        except FileNotFoundError:
            self.list("")  # the answer to HEAD has no body: only a listing says that the bucket is missing
            return False
        return True

    def size(self, name: str) -> int:
        """Bytes of an object; 0 if there is no such object."""
        if not name:
            return 0
        try:
            with self._translated(name):
                return int(self._store.head(name)["size"])
        except FileNotFoundError:
            return 0

    def modified(self, name: str) -> float:
        """When an object was written last, in seconds since 1970.

        Raises:
            FileNotFoundError: there is no such object.
        """
        with self._translated(name):
            return self._store.head(name)["last_modified"].timestamp()

    def list(self, folder: str) -> set[str]:
        """Names of the objects and folders directly in a folder."""
        with self._translated(folder):
            listed = self._store.list_with_delimiter(folder or None)
        paths = [*listed["common_prefixes"], *(meta["path"] for meta in listed["objects"])]
        # Consoles make an empty object with the name of each folder.
        return {PurePosixPath(path).name for path in paths if path != folder}

    def list_recursive(self, folder: str) -> Sequence[ObjectMeta]:
        """All objects in a folder and its subfolders; each `path` is relative to the URI."""
        with self._translated(folder):
            listed: Sequence[ObjectMeta] = self._store.list(folder or None).collect()
        inside = [meta for meta in listed if meta["path"] != folder]
        folders = {str(parent) for meta in inside for parent in PurePosixPath(meta["path"]).parents}
        return [meta for meta in inside if meta["path"] not in folders]

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; missing ones are no error."""
        if doomed := list(names):
            with contextlib.suppress(FileNotFoundError), self._translated(""):
                self._store.delete(doomed)

    @contextlib.contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        """Translate the client's errors, which bring pages of detail."""
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            raise self._translate(error, f"{self.uri}/{name}".rstrip("/")) from None

    def _translate(self, error: Exception, file: str) -> Exception:
        message = str(error)
        if _NO_BUCKET.search(message):
            return NotFound(f"there is no bucket for {self.uri}; make it, or check the name")
        if isinstance(error, FileNotFoundError):
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), file)
        if isinstance(error, AlreadyExistsError | PreconditionError):
            return Conflict(f"{file} was changed by another process meanwhile")
        if _NO_KEYS.search(message):
            return PermissionError(errno.EACCES, "no keys for the object store in the environment", file)
        if isinstance(error, PermissionDeniedError | UnauthenticatedError) or _DENIED.search(message):
            return PermissionError(errno.EACCES, f"the object store refuses these keys ({_reason(message)})", file)
        return OSError(errno.EIO, _first_line(error), file)


def _client_options() -> ClientConfig | None:
    """Allow plain HTTP only where the environment says so."""
    endpoint = os.environ.get("AWS_ENDPOINT") or os.environ.get("AWS_ENDPOINT_URL") or ""
    allow_http = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("true", "1") or endpoint.startswith("http:")
    return {"allow_http": True} if allow_http else None


def _tag(state: ObjectMeta | PutResult) -> UpdateVersion:
    # S3 and Azure use the ETag, Google the version; the client does not accept None.
    tag: UpdateVersion = {"e_tag": state["e_tag"]}
    if state["version"] is not None:
        tag["version"] = state["version"]
    return tag


def _first_line(error: Exception) -> str:
    line = str(error).partition("\n")[0].partition("<?xml")[0].rstrip(" :")
    reason = _reason(str(error))
    return f"{line}: {reason}" if reason not in line else line


def _reason(message: str) -> str:
    """The part of a client's message that the store itself wrote; empty if it wrote nothing."""
    match = re.search(r"<Message>(.*?)</Message>", message) or re.search(r"status code: ([^:\n]*)", message)
    return match[1].strip() if match else ""
