"""A disk of 64 KB, for what happens when one is full."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def on_small_disk(folder: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """Run a command while `folder` is a disk of 64 KB; stdout ends with the names of what it leaves there."""
    script = 'mount -t tmpfs -o size=64k tmpfs "$0" && "$@"; code=$?; echo "left: $(ls -A "$0")"; exit $code'
    mounted = ["unshare", "-rm", "sh", "-c", script, folder, *map(str, command)]
    return subprocess.run(mounted, cwd=ROOT, capture_output=True, text=True)


def new_small_disk(folder: Path) -> Path:
    """A new folder in `folder` for `on_small_disk`; skips the test where that is not allowed."""
    disk = folder / "small"
    disk.mkdir()
    try:
        allowed = on_small_disk(disk, "true").returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("mounting a file system is not allowed here")
    return disk
