"""Outputs are written aside and renamed: a reader sees the old one or the whole new one, never a part.

A folder cannot be exchanged in one step: while it is replaced there is none for a moment, and a process that is killed
just there leaves the old one beside it as `.NAME.XXXXXXXX.partial`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from ubm_embed.errors import Conflict


def _aside(path: Path) -> Path:
    """A hidden sibling of `path`, so that the rename stays on one file system."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    # Makes a rename survive a power cut. Some network mounts cannot do it; that is no reason to refuse an output.
    with contextlib.suppress(OSError):
        _sync(path)


@contextlib.contextmanager
def output_file(path: str | Path) -> Iterator[Path]:
    """Yield a path to write; rename it to `path` when the block succeeds, delete it when it does not.

    An existing file is replaced in one step; of a symbolic link, the file it points to.

    Raises:
        Conflict: `path` is there and no file, such as a folder or a device. Checked before anything is written.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        raise Conflict(f"{path} exists already and is not a file; choose another place")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    try:
        yield aside
        _sync(aside)
        os.replace(aside, path)
        _sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def output_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill; rename it to `path` when the block succeeds, delete it when it does not.

    With `overwrite`, whatever was at `path` goes as a whole; of a symbolic link, what it points to.

    Raises:
        Conflict: `path` exists, is not an empty folder, and `overwrite` is false. Checked before anything is written.
    """
    path = Path(path).resolve()
    require_free(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    aside.mkdir()
    try:
        yield aside
        for entry in aside.rglob("*"):
            _sync_folder(entry) if entry.is_dir() else _sync(entry)
        _sync_folder(aside)
        _replace_folder(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _replace_folder(new: Path, path: Path) -> None:
    """Put folder `new` at `path`. The system refuses to rename one over a filled one, so the old steps out first."""
    old = _aside(path)
    try:
        if path.exists():
            os.replace(path, old)
        os.replace(new, path)
    except BaseException:  # an interrupt between the two must not cost the old one either
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise
    _sync_folder(path.parent)
    if old.exists():
        shutil.rmtree(old) if old.is_dir() else old.unlink()


def require_free(path: str | Path, *, overwrite: bool = False) -> None:
    """Raise `Conflict` when `path` holds something already: asked before long work, not after it."""
    path = Path(path)
    taken = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    if taken and not overwrite:
        raise Conflict(f"{path} exists already; choose another place or pass --overwrite")
