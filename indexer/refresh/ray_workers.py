"""How many workers encode on a Ray cluster, and what each is given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RayWorkers:
    """What encodes on which cluster.

    Attributes:
        address: of the cluster's head, as HOST:PORT; None is that of RAY_ADDRESS, else one that runs on this machine,
            else one that is started on this machine for as long as the work takes. "local" starts one in any case.
        workers: how many at the most; None is as many as the cluster has room for.
        cpus: of each worker, which runs as many threads.
        gpus: of each worker, which runs on a GPU if it is given some of one; a half lets two share one. None is 1, but
            0 where the job's device is the CPU, or is "auto" and the cluster has no GPU.

    Raises:
        ValueError: fewer than one worker, or than one CPU each, or a negative number of GPUs.
    """

    address: str | None = None
    workers: int | None = None
    cpus: int = 1
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
        if self.cpus < 1:
            raise ValueError(f"cpus must be at least 1, got {self.cpus}")
        if self.gpus is not None and self.gpus < 0:
            raise ValueError(f"gpus must not be negative, got {self.gpus}")
