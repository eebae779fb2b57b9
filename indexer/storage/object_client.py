"""Objects below a URI, and what their store says when it refuses, in one line.

Keys, region and endpoint come from the environment, by the names that LanceDB reads too: AWS_ACCESS_KEY_ID, AWS_REGION,
AWS_ENDPOINT and so on, GOOGLE_... and AZURE_... for the other two.
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

# What is under way at once has to fit into memory, and a piece through the line within the client's 30 s.
CHUNK_BYTES, MAX_CONCURRENCY = 8 << 20, 4
_MAX_PARTS = 9_000  # S3 takes 10,000 parts an object

_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound")
_DENIED = re.compile(r"status code: 40[13]\b")
# Where clients look for keys, on a machine in the cloud, when the environment has none.
_NO_KEYS = re.compile("latest/api/token|computeMetadata|metadata/identity")


@dataclass(frozen=True)
class Tagged:
    """An object's bytes, and what names this state of it in a conditional write."""

    data: bytes
    tag: UpdateVersion


class ObjectClient:
    """Objects by their names below a URI such as `s3://shop/stores/main`. Nothing is opened before it is used.

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
        """An object.

        Raises:
            FileNotFoundError: there is none.
        """
        with self._clear_errors(name):
            result = self._store.get(name)
            return Tagged(tag=_tag(result.meta), data=bytes(result.bytes()))

    def find(self, name: str) -> Tagged | None:
        """An object, if it is there."""
        try:
            return self.get(name)
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes) -> None:
        """Write an object, whatever was there."""
        with self._clear_errors(name):
            self._store.put(name, data)

    def put_if(self, name: str, data: bytes, tag: UpdateVersion | None) -> UpdateVersion:
        """Write an object if it is still in the state `tag` (None: not there), and return the tag of the new one.

        Raises:
            Conflict: it is in another state.
        """
        try:
            with self._clear_errors(name):
                return _tag(self._store.put(name, data, mode="create" if tag is None else tag))
        except Conflict:
            found = self.find(name)
            # An answer that is lost on its way makes the client ask again, and meet what it wrote itself.
            if found and found.data == data:
                return found.tag
            raise

    def put_file(self, name: str, file: Path) -> None:
        """Write an object from a file, in pieces; it is there when the last one is."""
        piece = max(CHUNK_BYTES, file.stat().st_size // _MAX_PARTS + 1)
        with self._clear_errors(name):
            self._store.put(name, file, chunk_size=piece, max_concurrency=MAX_CONCURRENCY)

    def fetch(self, found: ObjectMeta, start: int, file: Path) -> None:
        """Copy the piece that begins at byte `start` to the same place in a file.

        Raises:
            FileNotFoundError: the object was removed since it was listed.
            Conflict: it was replaced since.
        """
        end = min(start + CHUNK_BYTES, found["size"])
        with self._clear_errors(found["path"]):
            got = self._store.get(found["path"], options={"range": (start, end), "if_match": found["e_tag"]})
            data = got.bytes()
        with file.open("r+b") as opened:
            opened.seek(start)
            opened.write(data)

    def is_there(self, name: str) -> bool:
        """Whether there is an object of this name."""
        try:
            with self._clear_errors(name):
                self._store.head(name)
        except FileNotFoundError:
            self.list("")  # this answer has no text: only a listing tells that the bucket is missing
            return False
        return True

    def size(self, name: str) -> int:
        """Bytes of an object, 0 if there is none."""
        if not name:
            return 0
        try:
            with self._clear_errors(name):
                return int(self._store.head(name)["size"])
        except FileNotFoundError:
            return 0

    def list(self, folder: str) -> set[str]:
        """Names of what is directly in a folder."""
        with self._clear_errors(folder):
            listed = self._store.list_with_delimiter(folder or None)
        paths = [*listed["common_prefixes"], *(found["path"] for found in listed["objects"])]
        # Consoles make an empty object for each folder, of the folder's name.
        return {PurePosixPath(path).name for path in paths if path != folder}

    def list_recursive(self, folder: str) -> Sequence[ObjectMeta]:
        """All objects in a folder and in those inside it; a `path` is relative to the URI."""
        with self._clear_errors(folder):
            listed: Sequence[ObjectMeta] = self._store.list(folder or None).collect()
        found = [one for one in listed if one["path"] != folder]
        folders = {str(above) for one in found for above in PurePosixPath(one["path"]).parents}
        return [one for one in found if one["path"] not in folders]

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; those that are not there already are no error."""
        if doomed := list(names):
            with contextlib.suppress(FileNotFoundError), self._clear_errors(""):
                self._store.delete(doomed)

    @contextlib.contextmanager
    def _clear_errors(self, name: str) -> Iterator[None]:
        """Make ours of the client's errors, which bring pages of detail."""
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            raise self._clear(error, f"{self.uri}/{name}".rstrip("/")) from None

    def _clear(self, error: Exception, file: str) -> Exception:
        said = str(error)
        if _NO_BUCKET.search(said):
            return NotFound(f"there is no bucket for {self.uri}; make it, or check the name")
        if isinstance(error, FileNotFoundError):
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), file)
        if isinstance(error, AlreadyExistsError | PreconditionError):
            return Conflict(f"{file} was changed by another process meanwhile")
        if _NO_KEYS.search(said):
            return PermissionError(errno.EACCES, "no keys for the object store in the environment", file)
        if isinstance(error, PermissionDeniedError | UnauthenticatedError) or _DENIED.search(said):
            return PermissionError(errno.EACCES, f"the object store refuses these keys ({_reason(said)})", file)
        return OSError(errno.EIO, _first_line(error), file)


def _client_options() -> ClientConfig | None:
    """Plain HTTP only where it is asked for."""
    endpoint = os.environ.get("AWS_ENDPOINT") or os.environ.get("AWS_ENDPOINT_URL") or ""
    asked = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("true", "1") or endpoint.startswith("http:")
    return {"allow_http": True} if asked else None


def _tag(found: ObjectMeta | PutResult) -> UpdateVersion:
    # S3 and Azure go by the one, Google by the other; the client takes no None.
    tag: UpdateVersion = {"e_tag": found["e_tag"]}
    if found["version"] is not None:
        tag["version"] = found["version"]
    return tag


def _first_line(error: Exception) -> str:
    line = str(error).partition("\n")[0].partition("<?xml")[0].rstrip(" :")
    reason = _reason(str(error))
    return f"{line}: {reason}" if reason not in line else line


def _reason(said: str) -> str:
    """What the store itself says."""
    found = re.search(r"<Message>(.*?)</Message>", said) or re.search(r"status code: ([^:\n]*)", said)
    return found[1].strip() if found else ""
