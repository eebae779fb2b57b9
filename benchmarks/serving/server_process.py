"""A server under load: a process on one core, with its CPU time and memory as Linux counts them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

HOST = "127.0.0.1"
# One core, one thread; and no thread that spins while it waits for others.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false"}
_TICKS = os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 30


class Memory(NamedTuple):
    """Megabytes of all its processes: of its own, and with the pages of files that it has mapped."""

    own_mb: float
    resident_mb: float


class ServerProcess(AbstractContextManager["ServerProcess"]):
    """A server until it is closed, with its children.

    Args:
        command: starts it; `{port}` stands for a free port.
        cores: on which it may run.
        log: file for what it prints.

    Attributes:
        port: of 127.0.0.1.
    """

    def __init__(self, command: Sequence[str], cores: Sequence[int], log: Path, cwd: Path | None = None) -> None:
        self.port, self._log = free_port(), log
        with log.open("w") as stream:
            self._process = subprocess.Popen(
                ["taskset", "-c", ",".join(map(str, cores)), *(part.format(port=self.port) for part in command)],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ENVIRONMENT},
                cwd=cwd,
            )

    def wait_until_ready(self, path: str, seconds: float = 300.0) -> None:
        """Wait until GET `path` is answered with 200.

        Raises:
            RuntimeError: it ended, or took longer; the message has the end of its log.
        """
        end = time.monotonic() + seconds
        while not self._answers(path):
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not start:\n{self.log_end()}")
            time.sleep(0.05)

    def get(self, path: str) -> bytes:
        """The body of the answer to GET `path`."""
        with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=10) as answer:
            return bytes(answer.read())

    def cpu_seconds(self) -> float:
        """CPU seconds of its processes so far, those that have ended included."""
        fields = [_stat(process) for process in self._processes()]
        return sum(sum(map(int, one[11:15])) for one in fields) / _TICKS

    def memory(self) -> Memory:
        """Its memory now."""
        status = [_status(process) for process in self._processes()]
        own, resident = (sum(one.get(name, 0) for one in status) / 1024 for name in ("RssAnon", "VmRSS"))
        return Memory(round(own, 1), round(resident, 1))

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def log_end(self, lines: int = 15) -> str:
        """The last lines that it printed."""
        return "\n".join(self._log.read_text("utf-8", "replace").splitlines()[-lines:])

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answers(self, path: str) -> bool:
        try:
            return bool(self.get(path)) or True
        except (OSError, urllib.error.URLError):
            return False

    def _processes(self) -> Iterator[int]:
        waiting = [self._process.pid]
        while waiting:
            process = waiting.pop()
            yield process
            waiting.extend(_children(process))


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _children(process: int) -> list[int]:
    """Child processes, of whichever thread."""
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text("ascii").split()]
    except OSError:
        return []


def _stat(process: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold blanks: 11 to 14 are times in ticks."""
    try:
        return Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def _status(process: int) -> Mapping[str, int]:
    """Kilobytes in /proc/PID/status."""
    try:
        lines = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) for name, value in pairs}
