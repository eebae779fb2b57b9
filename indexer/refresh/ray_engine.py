"""Shards encoded by workers on a Ray cluster, and written beside the table as `encode_locally` does.

A worker is sent a shard's key and answers that it is done. Rows and vectors go between the worker and the store, never
through Ray, so every node needs the same release of this package and must reach the store: an object store, or a folder
that all of them see under one path.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import platform
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from indexer.refresh.settings import RayWorkers
from indexer.refresh.shards import EncodingJob, Shard, ShardEncoder, rows_file
from indexer.store.embedding_store import staging_folder
from ubm_embed.errors import NotFound, UbmError
from ubm_embed.inference.process import set_threads, set_up_process
from ubm_embed.progress import Progress

# How many workers may die over one shard. Ray replaces them for ever, and a night job would never end.
_MAX_DEATHS = 3

_CONNECT_SECONDS = 10


class ShardWorker:
    """Encodes shards one by one, in a process of its own somewhere on the cluster."""

    def __init__(self, job: EncodingJob, threads: int, run: str) -> None:
        set_up_process()  # the process is this worker's own
        set_threads(threads)
        self.encoder = ShardEncoder(job)
        self.run = run

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Encode the shard of a row {"key", "to_encode"} -> {"encoded", "error"}."""
        try:
            self._begin(row["key"])
            self.encoder.encode(row["key"])
        # Returned, because Ray wraps an exception that is raised in its own report, traceback and all.
        except (UbmError, OSError) as error:
            return {"encoded": 0, "error": pickle.dumps(error)}
        return {"encoded": row["to_encode"], "error": b""}

    def _begin(self, key: str) -> None:
        """Count the attempts at a shard in the store, where the count outlives this worker.

        Raises:
            NotFound: this node does not see the store.
            UbmError: too many workers died over the shard.
        """
        storage, model_id = self.encoder.store.storage, self.encoder.job.model_id
        attempts_file = f"{staging_folder(model_id)}/{key}.{self.run}.tries"
        if not storage.exists(rows_file(model_id, key)):
            raise NotFound(
                f"{platform.node()} does not see the store at {storage.uri}; expected a folder that every node of the "
                "cluster sees under this path, or a URI of an object store"
            )
        attempts = int(storage.read(attempts_file)) if storage.exists(attempts_file) else 0
        if attempts > _MAX_DEATHS:
            raise UbmError(
                f"{attempts} workers died over one shard; if they lack memory, set cpus in [ray] higher, so that a "
                "node has fewer of them, or choose a smaller shard_rows; shards that are encoded are kept"
            )
        storage.write(attempts_file, str(attempts + 1).encode())


def encode_with_ray(
    job: EncodingJob,
    shards: Sequence[Shard],
    progress: Progress,
    workers: RayWorkers | None = None,
    *,
    address: str | None = None,
    startup: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Encode shards on a Ray cluster, in any order; an `ExecutionEngine` once the other arguments are bound.

    A shard whose worker or node dies is encoded by another worker.

    Args:
        address: the cluster's head as HOST:PORT; None is RAY_ADDRESS, else a cluster that runs on this machine, else
            one that is started on this machine for as long as the work takes. "local" always starts one.
        startup: a context in which this process connects to Ray; `cli` silences Ray there.

    Raises:
        NotFound: Ray is not installed, no cluster answers, no node has what a worker needs, or a node does not see the
            store.
        QualityGateFailed, OSError: as `ShardEncoder.encode`, by the first worker that fails.
        UbmError: workers died repeatedly, or do not start.
    """
    workers, total, done = workers or RayWorkers(), sum(shard.to_encode for shard in shards), 0
    with _connection(address, startup) as ray:
        count, gpus = allocate(workers, job.device, ray.nodes(), len(shards))
        note = f"with Ray, {count} at once"
        progress("encoding products", 0, total, note)
        for row in _results(ray, _for_any_node(job, gpus), shards, count, workers.cpus, gpus):
            if row["error"]:
                raise pickle.loads(row["error"])
            done += row["encoded"]
            progress("encoding products", done, total, note)


def load_ray() -> Any:
    """The ray module, with ray.data.

    Raises:
        NotFound: it is not installed or does not load; the message has the line to type.
    """
    try:
        import_module("ray.data")
    except ImportError as error:
        raise NotFound(f"Ray does not load ({error}); type: pip install 'ubm-embed[distributed]'") from error
    return import_module("ray")


@contextlib.contextmanager
def _connection(address: str | None, startup: Callable[[], AbstractContextManager[None]]) -> Iterator[Any]:
    """The ray module, connected inside the block; a connection that existed before stays open."""
    ray = load_ray()
    if ray.is_initialized():
        yield ray
        return
    try:
        _require_listener(address or os.environ.get("RAY_ADDRESS", ""))
        with startup():
            ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
    except ConnectionError as error:
        where = address or os.environ.get("RAY_ADDRESS") or "this machine"
        start = "start one: ray start --head; for one that asks for a token, set RAY_AUTH_MODE=token"
        raise NotFound(f"no Ray cluster answers at {where} ({error}); {start}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Raise ConnectionError if nobody listens at HOST:PORT; Ray itself would wait there far longer."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "//" not in host:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
        except OSError as error:
            raise ConnectionError(error) from error


def _results(
    ray: Any, job: EncodingJob, shards: Sequence[Shard], count: int, cpus: int, gpus: float
) -> Iterator[dict[str, Any]]:
    """The result of `ShardWorker` for each shard, as they are done."""
    rows = [{"key": shard.key, "to_encode": shard.to_encode} for shard in shards]
    with _quiet_and_patient_data(ray):
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            ShardWorker,
            fn_constructor_args=(job, cpus, uuid.uuid4().hex[:8]),
            # One shard at a time: a second one would wait behind it while another worker has nothing to do.
            compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=1),
            num_cpus=cpus,
            num_gpus=gpus,
        )
        try:
            yield from done.iter_rows()
        except ray.exceptions.RayError as error:
            if isinstance(error, ray.exceptions.RayTaskError | ray.exceptions.UserCodeException):
                raise  # a bug of ours: its traceback says where
            reason = str(error).strip().splitlines()[-1]
            raise UbmError(
                f"Ray gave up: {reason}; every node needs ubm-embed of this release; shards that are encoded are kept, "
                "so run it again once the cluster is well"
            ) from error


@contextlib.contextmanager
def _quiet_and_patient_data(ray: Any) -> Iterator[None]:
    """Ray Data without progress bars and messages (its log file has them), and without a limit on waiting."""
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = -1  # the default gives up if no shard is done for half an hour
    with contextlib.ExitStack() as stack:
        stack.enter_context(ray.data.DataContext.current(context))
        for handler in logging.getLogger("ray.data").handlers:
            if handler.name == "console":
                stack.callback(handler.setLevel, handler.level)
                handler.setLevel(logging.CRITICAL + 1)
        yield


def allocate(workers: RayWorkers, device: str, nodes: Sequence[Mapping[str, Any]], shards: int) -> tuple[int, float]:
    """The number of workers to start on a cluster, and the GPUs of each.

    Raises:
        NotFound: no node has what a worker needs.
    """
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = workers.gpus
    if gpus is None:
        has_gpu = any(node.get("GPU") for node in resources)
        gpus = float(has_gpu if device == "auto" else device != "cpu")
    room = sum(_capacity(node, workers.cpus, gpus) for node in resources)
    if not room:
        available = ", ".join(f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in resources)
        raise NotFound(
            f"no node of the Ray cluster has the {workers.cpus} CPUs and {gpus:g} GPUs of a worker; they have "
            f"{available}"
        )
    return min(workers.workers or room, shards), gpus


def _capacity(resources: Mapping[str, float], cpus: int, gpus: float) -> int:
    """Number of workers that fit on a node."""
    by_cpus = int(resources.get("CPU", 0) // cpus)
    return min(by_cpus, int(resources.get("GPU", 0) // gpus)) if gpus else by_cpus


def _for_any_node(job: EncodingJob, gpus: float) -> EncodingJob:
    """The same job for any working folder on any machine, on the device that a worker is given."""
    store = job.store if "://" in job.store else str(Path(job.store).resolve())
    return replace(job, store=store, device="cuda" if gpus else "cpu")
