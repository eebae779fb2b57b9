"""Values of metrics that several workers share, as files in one folder."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def share_values(folder: Path, worker: int) -> None:
    """Keep the values of all metrics that this process makes from now on in files.

    The files carry the number of the worker and not of its process: one that takes the place of a dead one goes on with
    its counts, and the folder does not grow.
    """
    os.environ[_VARIABLE] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]


def collected(folder: Path) -> CollectorRegistry:
    """The metrics of all workers together."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return registry


def worker_ended(folder: Path, worker: int) -> None:
    """Forget what a worker that is dead said of its present state. Its counts stay."""
    mark_process_dead(worker, str(folder))  # type: ignore[no-untyped-call]
