"""Where a store's files are: a local folder or an object store, behind one small interface.

Names are relative to the place and have slashes: `versions/3/manifest.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        """Put a file there in one step: a reader sees the old bytes or the new ones."""

    def compare_and_swap(self, name: str, data: bytes, *, expected: bytes | None) -> None:
        """As `write`, if what is there now is `expected` (None: nothing).

        Raises:
            Conflict: somebody else wrote it since.
        """

    def exists(self, name: str) -> bool:
        """Whether a file of this name is there."""

    def list(self, folder: str = "") -> Sequence[str]:
        """Names of the files and folders directly in a folder, in order, without what was left aside. None if it is
        not there."""

    def open_folder(self, folder: str) -> AbstractContextManager[Path]:
        """A local folder with a folder's files, whole, as long as the block lasts.

        Raises:
            FileNotFoundError: there is no such folder.
        """

    def write_folder(self, folder: str, *, last: str) -> AbstractContextManager[Path]:
        """An empty local folder to fill, which replaces `folder` when the block succeeds.

        Args:
            last: name of the file that tells that the folder is whole, where it cannot be put in place in one step.
        """

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it; nothing happens if it is not there."""

    def size(self, name: str = "") -> int:
        """Bytes of a file, or of all files in a folder; 0 of what is not there."""

    def fsync(self, name: str) -> None:
        """Bring to disk a file or a folder that another library wrote: a power cut must not take it."""

    def remove_leftovers(self) -> None:
        """Remove what a writer that was killed left aside. Call it while holding `lock`."""

    def require_lock(self) -> None:
        """Raise `Conflict` if this process held the lock and is known to have lost it."""

    def lock(self) -> AbstractContextManager[None]:
        """Be the only writer inside the block. A holder that dies does not keep the lock for ever.

        Raises:
            Conflict: another process writes; names it as far as it is known.
        """


def open_storage(where: str | Path) -> Storage:
    """The place that a path or a URI names; nothing is read or made yet.

    Raises:
        InvalidData: a URI of a kind that is not known.
        NotFound: the library for it is not installed.
    """
    from indexer.storage.local_storage import LocalStorage
    from indexer.storage.object_storage import SCHEMES, ObjectStorage

    scheme, separator, rest = str(where).partition("://")
    if not separator:
        return LocalStorage(Path(where))
    if scheme == "file":
        return LocalStorage(Path(rest))
    if scheme not in SCHEMES:
        raise InvalidData(f"expected a folder or a URI of {', '.join(SCHEMES)}, got {str(where)!r}")
    return ObjectStorage(str(where).rstrip("/"))
