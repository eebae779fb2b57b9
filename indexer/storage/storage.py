"""Where a store's files are: a local folder or an object store, behind one small interface.

Names are relative to the storage's URI and use slashes: `versions/3/manifest.json`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ubm_embed.errors import InvalidData


class Storage(Protocol):
    """Files and folders by name.

    Attributes:
        uri: what a person types and LanceDB opens.
    """

    uri: str

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            FileNotFoundError: there is no such file.
        """

    def write(self, name: str, data: bytes) -> None:
        """Write a file in one step: a reader sees the old bytes or the new ones."""

    def compare_and_swap(self, name: str, data: bytes, *, expected: bytes | None) -> None:
        """Write a file in one step if it still has the bytes `expected`; None expects no file.

        Raises:
            Conflict: another process changed the file, and nothing was written.
        """

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""

    def list(self, folder: str = "") -> Sequence[str]:
        """Names of the files and folders directly in a folder, sorted, without leftovers; empty if it is missing."""

    def open_folder(self, folder: str, needed: Collection[str] | None = None) -> AbstractContextManager[Path]:
        """A local folder with the files of `folder`, for as long as the block lasts.

        Args:
            needed: names of files in it, of which those that there are must be there; None for all. An object store
                copies no others.

        Raises:
            FileNotFoundError: there is no such folder.
        """

    def write_folder(self, folder: str, *, last: str) -> AbstractContextManager[Path]:
        """An empty local folder to fill; it replaces `folder` when the block succeeds.

        Args:
            last: name of the file that marks the folder as complete. It is written last where a folder cannot be
                replaced in one step.
        """

    def remove(self, name: str) -> None:
        """Remove a file, or a folder and everything in it; a missing one is no error."""

    def size(self, name: str = "") -> int:
        """Bytes of a file, or of all files in a folder; 0 if it is missing."""

    def modified(self, name: str) -> float:
        """When a file was written last, in seconds since 1970.

        Raises:
            FileNotFoundError: there is no such file.
        """

    def fsync(self, name: str) -> None:
        """Flush to disk a file or folder that another library wrote, so that it survives a power cut."""

    def remove_leftovers(self) -> None:
        """Remove the temporary files of writers that were killed. Call it while holding `lock`."""

    def require_lock(self) -> None:
        """Raise `Conflict` if this process held the lock and is known to have lost it."""

    def lock(self) -> AbstractContextManager[None]:
        """Be the only writer inside the block. A holder that dies does not keep the lock forever.

        Raises:
            Conflict: another process is writing; names it where it is known.
        """


def open_storage(uri: str | Path) -> Storage:
    """The storage that a path or a URI names. Nothing is read or created yet.

    Raises:
        InvalidData: the URI's scheme is not supported.
    """
    from indexer.storage.local_storage import LocalStorage
    from indexer.storage.object_storage import SCHEMES, ObjectStorage

    scheme, separator, rest = str(uri).partition("://")
    if not separator:
        return LocalStorage(Path(uri))
    if scheme == "file":
        return LocalStorage(Path(rest))
    if scheme not in SCHEMES:
        raise InvalidData(f"expected a folder or a URI of {', '.join(SCHEMES)}, got {str(uri)!r}")
    return ObjectStorage(str(uri).rstrip("/"))
