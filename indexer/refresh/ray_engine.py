"""Shards encoded by workers on a Ray cluster, beside the table as `indexer.refresh.encoding` does it here.

A worker is told a shard's key and says that it is done. Rows and vectors go between the worker and the store, never
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from indexer.refresh.encoding import EncodingJob, ShardEncoder
from indexer.refresh.ray_workers import RayWorkers
from indexer.refresh.shards import Shard, rows_file
from indexer.store.embedding_store import staging_folder
from ubm_embed.errors import NotFound, UbmError
from ubm_embed.progress import Progress

# How many workers may die over one shard and be replaced. Ray would go on for ever, and a night job would never end.
_DEATHS = 3

_KNOCK_SECONDS = 10

# Ray's C++ parts write to stderr past all of Python's loggers, and a cluster of our own would report home.
_QUIET = {"RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_USAGE_STATS_ENABLED": "0"}


class ShardWorker:
    """Encodes one shard after the other, in a process of its own somewhere on the cluster."""

    def __init__(self, job: EncodingJob, threads: int, run: str) -> None:
        torch.set_num_threads(threads)
        self.encoder = ShardEncoder(job)
        self.run = run

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Encode the shard of a row {"key", "to_encode"} -> {"encoded", "error"}."""
        try:
            self._begin(row["key"])
            self.encoder.encode(row["key"])
        # As a value: raised, it would end in the driver as Ray's account of it, traceback and all.
        except (UbmError, OSError) as error:
            return {"encoded": 0, "error": pickle.dumps(error)}
        return {"encoded": row["to_encode"], "error": b""}

    def _begin(self, key: str) -> None:
        """Note in the store that a shard is begun, which outlives this worker.

        Raises:
            NotFound: this node does not see the store.
            UbmError: the shard outlived too many workers.
        """
        storage, model_id = self.encoder.store.storage, self.encoder.job.model_id
        tries = f"{staging_folder(model_id)}/{key}.{self.run}.tries"
        if not storage.exists(rows_file(model_id, key)):
            raise NotFound(
                f"{platform.node()} does not see the store at {storage.uri}; expected a folder that every node of the "
                "cluster sees under this path, or a URI of an object store"
            )
        before = int(storage.read(tries)) if storage.exists(tries) else 0
        if before > _DEATHS:
            raise UbmError(
                f"{before} workers died over one shard; if it is for want of memory, set cpus in [ray] higher, so "
                "that there are fewer on a node, or choose a smaller shard_rows; what is encoded is kept"
            )
        storage.write(tries, str(before + 1).encode())


def encode_with_ray(
    job: EncodingJob, shards: Sequence[Shard], progress: Progress, workers: RayWorkers | None = None
) -> None:
    """Encode shards on a Ray cluster, in any order; an `Engine` once `workers` is bound.

    A shard whose worker dies, or whose node does, is encoded by another one.

    Raises:
        NotFound: Ray is not installed, no cluster answers, or none of its nodes has what a worker needs; or a node does
            not see the store.
        QualityGateFailed, OSError: as `ShardEncoder.encode`, by the first worker that fails.
        UbmError: workers died over and over, or do not start.
    """
    workers, total, done = workers or RayWorkers(), sum(shard.to_encode for shard in shards), 0
    with _connected(workers.address) as ray:
        placed = _placed(workers, job, ray.nodes(), len(shards))
        progress("encoding products", 0, total, _note(placed))
        for row in _results(ray, _anywhere(job, placed), shards, placed):
            if row["error"]:
                raise pickle.loads(row["error"])
            done += row["encoded"]
            progress("encoding products", done, total, _note(placed))


def load_ray() -> Any:
    """The ray module, with ray.data.

    Raises:
        NotFound: it is not installed, or does not load; with the line to type.
    """
    try:
        import_module("ray.data")
    except ImportError as error:
        raise NotFound(f"Ray does not load ({error}); type: pip install 'ubm-embed[distributed]'") from error
    return import_module("ray")


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """The ray module, connected as long as the block lasts, or longer where it was before."""
    ray = load_ray()
    if ray.is_initialized():
        yield ray
        return
    try:
        _knock(address or os.environ.get("RAY_ADDRESS", ""))
        with _environment(_QUIET), _no_stderr():
            ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
    except ConnectionError as error:
        where = address or os.environ.get("RAY_ADDRESS") or "this machine"
        start = "start one: ray start --head; for one that asks for a token, set RAY_AUTH_MODE=token"
        raise NotFound(f"no Ray cluster answers at {where} ({error}); {start}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise ConnectionError where nobody listens at HOST:PORT. Ray would wait there for longer than anybody does."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "//" not in host:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()
        except OSError as error:
            raise ConnectionError(error) from error


def _results(ray: Any, job: EncodingJob, shards: Sequence[Shard], workers: RayWorkers) -> Iterator[dict[str, Any]]:
    """What `ShardWorker` says of each shard, as they are done."""
    rows = [{"key": shard.key, "to_encode": shard.to_encode} for shard in shards]
    with _patient_data(ray):
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            ShardWorker,
            fn_constructor_args=(job, workers.cpus, uuid.uuid4().hex[:8]),
            # One shard at a time: a second one would wait behind it while another worker has nothing to do.
            compute=ray.data.ActorPoolStrategy(size=workers.workers, max_tasks_in_flight_per_actor=1),
            num_cpus=workers.cpus,
            num_gpus=workers.gpus,
        )
        try:
            yield from done.iter_rows()
        except ray.exceptions.RayError as error:
            if isinstance(error, ray.exceptions.RayTaskError | ray.exceptions.UserCodeException):
                raise  # a bug of ours: its traceback says where
            said = str(error).strip().splitlines()[-1]
            raise UbmError(
                f"Ray gave up: {said}; every node needs ubm-embed of this release; what is encoded is kept, so run it "
                "again once the cluster is well"
            ) from error


@contextlib.contextmanager
def _patient_data(ray: Any) -> Iterator[None]:
    """Ray Data without bars and messages, which its log file has, and with patience."""
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = -1  # by itself it gives up where no shard is done for half an hour
    with contextlib.ExitStack() as stack:
        stack.enter_context(ray.data.DataContext.current(context))
        for handler in logging.getLogger("ray.data").handlers:
            if handler.name == "console":
                stack.callback(handler.setLevel, handler.level)
                handler.setLevel(logging.CRITICAL + 1)
        yield


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Nothing of this process reaches stderr: Ray's C++ parts announce there that they were told to be quiet."""
    with open(os.devnull, "wb") as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables as long as the block lasts, unless somebody set them otherwise."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _placed(workers: RayWorkers, job: EncodingJob, nodes: Sequence[Mapping[str, Any]], shards: int) -> RayWorkers:
    """The same with every number given.

    Raises:
        NotFound: no node has what a worker needs.
    """
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = workers.gpus
    if gpus is None:
        found_one = any(found.get("GPU") for found in resources)
        gpus = float(found_one if job.device == "auto" else job.device != "cpu")
    room = sum(_room(found, workers.cpus, gpus) for found in resources)
    if not room:
        has = ", ".join(f"{found.get('CPU', 0):g} and {found.get('GPU', 0):g}" for found in resources)
        raise NotFound(
            f"no node of the Ray cluster has the {workers.cpus} CPUs and {gpus:g} GPUs of a worker; they have {has}"
        )
    return replace(workers, workers=min(workers.workers or room, shards), gpus=gpus)


def _room(resources: Mapping[str, float], cpus: int, gpus: float) -> int:
    """How many workers a node holds."""
    by_cpus = int(resources.get("CPU", 0) // cpus)
    return min(by_cpus, int(resources.get("GPU", 0) // gpus)) if gpus else by_cpus


def _anywhere(job: EncodingJob, workers: RayWorkers) -> EncodingJob:
    """The same job, to be done in any folder of any machine, on what a worker is given."""
    store = job.store if "://" in job.store else str(Path(job.store).resolve())
    return replace(job, store=store, device="cuda" if workers.gpus else "cpu")


def _note(workers: RayWorkers) -> str:
    return f"with Ray, {workers.workers} at once"
