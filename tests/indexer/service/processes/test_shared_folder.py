"""The folder of what workers share."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from indexer.service.processes.shared_folder import shared_folder

# A service that is killed, and whose worker then lives as long as its standard input.
PROGRAM = """
import os, signal, sys
from indexer.service.processes.shared_folder import shared_folder
with shared_folder() as folder:
    (folder / "metrics").mkdir()
    (folder / "metrics" / "file").touch()
    if not os.fork():
        print(flush=True)
        sys.stdin.read()
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_there_until_the_end(temporary: Path) -> None:
    with shared_folder() as folder:
        (folder / "file").touch()
        assert list(temporary.iterdir()) == [folder]
    assert not list(temporary.iterdir())


def test_that_of_a_killed_service_is_removed_once_its_workers_have_ended(temporary: Path) -> None:
    mine = temporary / "mine"
    mine.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    killed = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert killed.stdin is not None
    assert killed.stdout is not None
    with killed.stdin, killed.stdout:
        assert killed.stdout.readline()
        killed.wait()
        (left,) = set(temporary.iterdir()) - {mine}
        with shared_folder() as folder:
            assert set(temporary.iterdir()) == {mine, left, folder}
        killed.stdin.close()
        assert not killed.stdout.read()  # its end is that of the worker
    with shared_folder() as folder:
        assert set(temporary.iterdir()) == {mine, folder}
