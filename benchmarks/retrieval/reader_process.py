"""A process that reads a store with one of two states of the code, and does the tasks it is given."""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_HERE = Path(__file__).parent
DRIVER, COST = _HERE / "reader_driver.py", _HERE / "command_cost.py"
# One thread for every library that computes; those of OpenMP sleep while they wait.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "TOKENIZERS_PARALLELISM": "false",
    "POLARS_MAX_THREADS": "1",
}


class TimeLimitError(Exception):
    """A task took longer than it may; its process was ended."""


@dataclass(frozen=True)
class Side:
    """One of the two states of the code that are compared.

    Attributes:
        name: as the report calls it.
        checkout: the folder that Python imports the code from.
        store: the store that this code wrote.
        small_store: another one, of a small shop.
    """

    name: str
    checkout: Path
    store: Path
    small_store: Path

    def environment(self, more: Mapping[str, str] = {}) -> dict[str, str]:
        """What its processes see; settings of the command line stay outside."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith("UBM_EMBED_")}
        return {**outside, "PYTHONPATH": str(self.checkout), **more}


class ReaderProcess:
    """A driver in a process of its own; see `benchmarks.retrieval.reader_driver`."""

    def __init__(self, side: Side, sessions: Path) -> None:
        command = [sys.executable, "-P", str(DRIVER), str(side.store), str(sessions)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=side.environment(ONE_THREAD), text=True
        )
        self._side = side

    def do(self, task: str, limit_s: float = 600.0, **options: Any) -> Any:
        """The result of a task.

        Raises:
            TimeLimitError: it took longer.
            RuntimeError: it failed; stderr has why.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps({"task": task, **options}), file=process.stdin, flush=True)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(limit_s):
                self.close()
                raise TimeLimitError(f"{task} took longer than {limit_s:g} s")
        reply = process.stdout.readline()
        if not reply:
            raise RuntimeError(f"the reader of {self._side.name} failed at {task!r}")
        return json.loads(reply)

    def memory_mb(self) -> float:
        """Its proportional set size: pages that several processes share count for each of them in part.

        Raises:
            OSError: this system does not report it.
        """
        text = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text("ascii")
        (kilobytes,) = re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        return int(kilobytes) / 1024

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Readers:
    """A warm reader of each side, started when it is first used and again after a time limit."""

    def __init__(self, sides: Sequence[Side], sessions: Path, warm: int) -> None:
        self.sides = sides
        self._sessions, self._warm = sessions, warm
        self._running: dict[str, ReaderProcess] = {}

    def do(self, side: Side, task: str, limit_s: float = 600.0, **options: Any) -> Any:
        """As `ReaderProcess.do`."""
        if side.name not in self._running:
            self._running[side.name] = ReaderProcess(side, self._sessions)
            self._running[side.name].do("open")
            self._running[side.name].do("warm", count=self._warm)
        try:
            return self._running[side.name].do(task, limit_s, **options)
        except TimeLimitError:
            del self._running[side.name]
            raise

    def close(self) -> None:
        """End the processes."""
        for reader in self._running.values():
            reader.close()
        self._running.clear()


def command_cost(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, float]:
    """Seconds on the clock and of CPU, and the peak memory, of a Python command.

    Raises:
        RuntimeError: it failed; stderr has why.
    """
    python = [sys.executable, "-P"]
    ran = subprocess.run(
        [*python, "-I", str(COST), *python, *command],
        env=dict(environment),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"failed: {' '.join(command)}")
    cost: dict[str, float] = json.loads(ran.stdout)
    return cost
