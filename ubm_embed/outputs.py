"""Outputs are written aside and renamed: a reader sees the old one or the whole new one, never a part.

A filled folder cannot be replaced in one step: for a moment nothing is at its path, and a process killed at that moment
leaves the old folder beside it as `.NAME.XXXXXXXX.partial`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from ubm_embed.errors import Conflict

# What the system refuses to a writer: a full disk, a full quota, a limit on the size of files.
_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def require_free(path: str | Path, *, overwrite: bool = False) -> None:
    """Raise `Conflict` when `path` holds something already or cannot: called before long work, not after it."""
    path = Path(path)
    _require_folders_above(path)
    taken = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    if taken and not overwrite:
        raise Conflict(f"{path} exists already; choose another path or pass --overwrite")


def require_writable(path: str | Path) -> None:
    """Raise as `output_file` would if a file cannot be written to `path`: called before long work, not after it.

    Raises:
        Conflict: it exists and is not a file, such as a folder or a device, or it is below a file.
        OSError: the system refuses it.
    """
    path = Path(path).resolve()
    _require_file(path)
    _touch_beside(path)


def require_writable_folder(path: str | Path) -> None:
    """Raise `OSError` if the system refuses a new folder at `path`: called before long work, not after it."""
    _touch_beside(Path(path).resolve())


def _touch_beside(path: Path) -> None:
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        partial.unlink()
    except OSError as error:
        error.filename = str(path)  # the name of a temporary file tells nobody anything
        raise


def _require_file(path: Path) -> None:
    _require_folders_above(path)
    if path.exists() and not path.is_file():
        raise Conflict(f"{path} exists already and is not a file; choose another path")


def _require_folders_above(path: Path) -> None:
    above = next((parent for parent in path.parents if parent.exists()), None)
    if above is not None and not above.is_dir():
        raise Conflict(f"{above} is a file, so that nothing can be written to {path}; choose another path")


@contextlib.contextmanager
def output_file(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; rename it to `path` when the block succeeds, delete it when the block fails.

    An existing file is replaced in one step. Through a symbolic link, its target is replaced.

    Raises:
        Conflict: `path` exists and is not a file, such as a folder or a device, or is below a file. Checked before
            anything is written.
    """
    path = Path(path).resolve()
    _require_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        yield partial
        _sync(partial)
        os.replace(partial, path)
        _sync_folder(path.parent)
    except Exception as error:
        raise _named(error, path, unwritten=True) from error.__cause__
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def output_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill; rename it to `path` when the block succeeds, delete it when the block fails.

    With `overwrite`, whatever was at `path` is replaced as a whole. Through a symbolic link, its target is replaced.

    Raises:
        Conflict: `path` exists, is not an empty folder, and `overwrite` is false; or it is below a file. Checked before
            anything is written.
    """
    path = Path(path).resolve()
    require_free(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, existed = _partial(path), path.exists()
    partial.mkdir()
    try:
        yield partial
        for entry in partial.rglob("*"):
            _sync_folder(entry) if entry.is_dir() else _sync(entry)
        _sync_folder(partial)
        _replace_folder(partial, path)
    except Exception as error:
        # It may also fail once the new folder is in place.
        raise _named(error, path, unwritten=partial.exists() and path.exists() == existed) from error.__cause__
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace_folder(new: Path, path: Path) -> None:
    """Move folder `new` to `path`. The system cannot rename onto a filled folder, so the old one moves away first."""
    old = _partial(path)
    try:
        if path.exists():
            os.replace(path, old)
        os.replace(new, path)
    except BaseException:  # an interrupt between the two renames must not lose the old one either
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise
    _sync_folder(path.parent)
    if old.exists():
        shutil.rmtree(old) if old.is_dir() else old.unlink()


def refused_write(error: BaseException) -> OSError | None:
    """The OSError behind an error, if the system refused to write; None for any other error.

    Libraries in other languages report it in the text of an error of their own, and PyTorch reports something else
    while it handles it.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error if error.errno in _REFUSED else None
    number = next((one for one in _REFUSED if os.strerror(one) in str(error)), None)
    if match := re.search(r"\(os error (\d+)\)", str(error)):
        number = int(match[1])
    if number in _REFUSED:
        return OSError(number, os.strerror(number))
    return refused_write(error.__context__) if error.__context__ else None


def _named(error: Exception, path: Path, *, unwritten: bool) -> Exception:
    """The error to raise for one that ended the writing of `path`, with a note that the command line shows."""
    refused = refused_write(error)
    # An error of copying names the file that is read first. The name of a temporary file tells nobody anything.
    if refused is not None and (refused.filename is None or refused.filename2 or ".partial" in str(refused.filename)):
        refused.filename, refused.filename2 = str(path), None
    raised = refused or error
    if unwritten and isinstance(raised, OSError):
        raised.add_note(f"nothing was written to {path}")
    return raised


def _partial(path: Path) -> Path:
    """A hidden sibling of `path`: the rename stays within one file system."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    # Makes a rename survive a power cut. Some network mounts cannot do it, which is no reason to refuse an output.
    with contextlib.suppress(OSError):
        _sync(path)
