"""Runs that are cut off, and what they logged, for the tests of both kinds of training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


class Cut(Exception):  # noqa: N818 - it stands for a kill
    """The process is killed."""


def cut_at(what: str, step: int) -> Callable[..., None]:
    """A progress under which the run dies once this step is taken; `what` begins the name of what is in progress."""

    def progress(name: str, done: int, total: int, note: str = "") -> None:
        if name.startswith(what) and done == step:
            raise Cut

    return progress


def die(*_: object, **__: object) -> NoReturn:
    """Die whatever the call."""
    raise Cut


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    """The lines that a run has logged."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_times(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same lines, without what depends on how fast the machine is."""
    return [{name: value for name, value in step.items() if not name.endswith("_per_second")} for step in metrics]
