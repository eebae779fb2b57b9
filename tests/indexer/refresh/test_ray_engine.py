"""A real cluster of two nodes builds the store that one process builds; its errors arrive here in the same words."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from benchmarks.refresh.ray_overhead import ray_cluster
from cli.store_options import quiet_ray
from indexer.refresh import ray_engine
from indexer.refresh.gates import Gate
from indexer.refresh.ray_engine import ShardWorker, encode_with_ray
from indexer.refresh.refresh import build_index
from indexer.refresh.settings import RayWorkers, RefreshSettings
from indexer.refresh.shards import EncodingJob, ExecutionEngine, Shard
from indexer.store.embedding_store import LIVE_FILE, EmbeddingStore
from indexer.versions.version import StoreVersion
from tests.indexer.refresh.shop import VECTOR_ATOL
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import NotFound, QualityGateFailed
from ubm_embed.model.checkpoint import save_checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.progress import silent

pytestmark = [
    # Ray Data reads its own deprecated settings when it copies them.
    pytest.mark.filterwarnings("ignore:`use_[a-z0-9_]+` is deprecated:DeprecationWarning"),
]

# Two products a shard: eight make four.
SMALL = RefreshSettings(shard_rows=2)
ALONE = Shard("not_there", 1, 1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two nodes with one CPU each; the environment has what it takes to reach it."""
    pytest.importorskip("ray.data", reason="needs ubm-embed[distributed]")
    from ray import cloudpickle

    here = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(here)  # workers have no tests to import this from
    with ray_cluster(2) as address:
        yield address
    cloudpickle.unregister_pickle_by_value(here)


@pytest.fixture
def build(model_folder: Path, products_file: Path) -> Callable[..., StoreVersion]:
    """Builds a store from the toy shop."""
    return partial(build_index, model=model_folder, products=products_file, settings=SMALL, allow=list(Gate))


def engine(cluster: str | None, startup: Any = nullcontext, **options: Any) -> ExecutionEngine:
    """Ray on this cluster."""
    return partial(encode_with_ray, workers=RayWorkers(**options), address=cluster, startup=startup)


def rows(store: Path | str, version: StoreVersion) -> pl.DataFrame:
    """A version's ids and vectors."""
    return EmbeddingStore.open(store).table.read(version.table_version, ["product_id", "vector"])


def recording(folder: Path, then: Callable[[Path, ShardWorker, str], None]) -> type[ShardWorker]:
    """A worker that leaves a file `node-key` in a folder, then does something, then encodes."""
    folder.mkdir()

    class Recording(ShardWorker):
        def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
            import ray

            (folder / f"{ray.get_runtime_context().get_node_id()}-{row['key']}").touch()
            then(folder, self, row["key"])
            return super().__call__(row)

    return Recording


def nodes_in(folder: Path) -> set[str]:
    """Which nodes recorded something."""
    return {file.name.split("-")[0] for file in folder.iterdir()}


def keys_in(folder: Path) -> list[str]:
    """Which shards were begun."""
    return sorted(file.name.split("-")[1] for file in folder.iterdir())


def test_two_nodes_build_the_store_that_one_process_builds(
    cluster: str,
    build: Callable[..., StoreVersion],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    here = build(store=tmp_path / "here")
    monkeypatch.chdir(tmp_path)  # the nodes are elsewhere, so that a relative path means nothing to them
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    monkeypatch.setattr(ray_engine, "ShardWorker", recording(tmp_path / "seen", _until_both_work))
    reports: list[tuple[str, int, int, str]] = []
    there = build(
        store="there", engine=engine(None, startup=quiet_ray), progress=lambda *report: reports.append(report)
    )
    expected, built = rows(tmp_path / "here", here), rows(tmp_path / "there", there)
    assert built["product_id"].equals(expected["product_id"])
    np.testing.assert_allclose(built["vector"].to_numpy(), expected["vector"].to_numpy(), atol=VECTOR_ATOL)
    assert len(keys_in(tmp_path / "seen")) == 4
    assert len(nodes_in(tmp_path / "seen")) == 2
    assert reports == [("encoding products", done, 8, "with Ray, 2 at once") for done in (0, 2, 4, 6, 8)]
    assert printed(capfd) == [], "Ray writes to its log files only"


def printed(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Lines on stdout and stderr; those of Lance, which only commands silence, do not count."""
    lines = "".join(capfd.readouterr()).splitlines()
    return [line for line in lines if "lance::" not in line]


def _until_both_work(folder: Path, worker: ShardWorker, key: str) -> None:
    """Waits: else the worker that is ready first may have done all before the other one is."""
    deadline = time.monotonic() + 240  # below the test's own time limit, so that a worker does not outlive it
    while len(nodes_in(folder)) < 2:
        assert time.monotonic() < deadline, "only one node works"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_shard_whose_worker_is_killed_is_encoded_again(
    cluster: str, build: Callable[..., StoreVersion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.data import DataContext

    here = build(store=tmp_path / "here")
    monkeypatch.setattr(ray_engine, "ShardWorker", recording(tmp_path / "seen", _killed_the_first_time))
    # Less than it takes to start a worker: however long a shard takes, Ray must not give up on it.
    monkeypatch.setattr(DataContext.get_current(), "execution_no_progress_timeout_s", 1)
    there = build(store=tmp_path / "there", engine=engine(cluster))
    assert rows(tmp_path / "there", there).equals(rows(tmp_path / "here", here))
    assert (tmp_path / "killed").exists()


def _killed_the_first_time(folder: Path, worker: ShardWorker, key: str) -> None:
    """Kills the first worker that has written a shard's rows, before it writes that it did."""
    mark, storage = folder.with_name("killed"), worker.encoder.store.storage
    write = storage.write

    def write_or_die(name: str, data: bytes) -> None:
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        write(name, data)

    storage.write = write_or_die  # type: ignore[method-assign]


def test_a_shard_that_kills_every_worker_is_given_up(tmp_path: Path) -> None:
    store = EmbeddingStore.create(tmp_path)
    store.storage.write("staging/model/heavy.parquet", b"")
    row, job = {"key": "heavy", "to_encode": 2}, EncodingJob(str(tmp_path), "model", None, True)
    for _ in range(4):
        worker = ShardWorker(job, 1, "run")
        worker.encoder.encode = _die  # type: ignore[method-assign]
        with pytest.raises(SystemExit):
            worker(row)
    answer = ShardWorker(job, 1, "run")(row)
    assert "4 workers died over one shard" in str(pickle.loads(answer["error"]))
    another = ShardWorker(job, 1, "another run")
    another.encoder.encode = lambda *_: None  # type: ignore[method-assign]
    assert another(row) == {"encoded": 2, "error": b""}


def _die(*_: Any) -> None:
    raise SystemExit


@pytest.mark.slow
def test_shards_encoded_before_a_failure_are_not_encoded_again(
    cluster: str, build: Callable[..., StoreVersion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "ShardWorker", recording(tmp_path / "first", _fails_at_the_third))
    with pytest.raises(OSError, match="No space left"):
        build(store=tmp_path / "store", engine=engine(cluster, workers=1))
    monkeypatch.setattr(ray_engine, "ShardWorker", recording(tmp_path / "second", _nothing_more))
    version = build(store=tmp_path / "store", engine=engine(cluster, workers=1))
    assert version.products == 8
    assert len(keys_in(tmp_path / "second")) == 2
    assert len({*keys_in(tmp_path / "first"), *keys_in(tmp_path / "second")}) == 4


def _nothing_more(folder: Path, worker: ShardWorker, key: str) -> None:
    pass


def _fails_at_the_third(folder: Path, worker: ShardWorker, key: str) -> None:
    if len(keys_in(folder)) == 3:
        import errno

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device", "products.lance")

        worker.encoder.store.storage.write = full  # type: ignore[method-assign]


@pytest.mark.slow
def test_a_gate_that_fails_on_a_node_fails_here_in_its_own_words(
    cluster: str,
    build: Callable[..., StoreVersion],
    tmp_path: Path,
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    (tmp_path / "damaged").mkdir()
    save_checkpoint(tmp_path / "damaged", model, tokenizer, {})
    with pytest.raises(QualityGateFailed, match=r"^gate 'vectors': 2 of 2 vectors are not of length 1") as failure:
        build(model=tmp_path / "damaged", store=tmp_path / "store", engine=engine(cluster, startup=quiet_ray))
    assert type(failure.value) is QualityGateFailed
    assert not (tmp_path / "store" / LIVE_FILE).exists()
    assert printed(capfd) == []


@pytest.mark.slow
def test_a_store_that_a_node_does_not_see_is_named(cluster: str, tmp_path: Path) -> None:
    job = EncodingJob(str(tmp_path / "elsewhere"), "model", None, True)
    with pytest.raises(NotFound, match=r"does not see the store at .*elsewhere; expected a folder that every node"):
        encode_with_ray(job, [ALONE], silent, address=cluster)


@pytest.mark.slow
# Ray forks to start its own programs, and nothing of Lance runs in between.
@pytest.mark.filterwarnings("ignore:lance is not fork-safe:UserWarning")
def test_a_cluster_of_its_own_is_started_for_an_object_store_and_ended(
    cluster: str, build: Callable[..., StoreVersion], bucket_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    del cluster  # its environment is what is wanted; its nodes do not know the object store's
    here = build(store=tmp_path / "here")
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as short:  # sockets have no long paths
        monkeypatch.setenv("RAY_TMPDIR", short)
        there = build(store=bucket_uri, engine=engine("local", workers=1))
    assert rows(bucket_uri, there).equals(rows(tmp_path / "here", here))
    assert not ray.is_initialized()


def test_workers_that_no_node_has_room_for_are_refused(cluster: str, tmp_path: Path) -> None:
    job = EncodingJob(str(tmp_path), "model", None, True)
    with pytest.raises(NotFound, match=r"the 2 CPUs and 1 GPUs of a worker; they have 1 and 0, 1 and 0"):
        encode_with_ray(job, [ALONE], silent, RayWorkers(cpus=2, gpus=1), address=cluster)


def test_an_address_where_nobody_listens_is_named(tmp_path: Path) -> None:
    pytest.importorskip("ray.data", reason="needs ubm-embed[distributed]")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(NotFound, match=rf"no Ray cluster answers at {address} .*refused.*ray start --head"):
        encode_with_ray(EncodingJob(str(tmp_path), "model", None, True), [ALONE], silent, address=address)


def test_without_ray_the_error_has_the_line_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(NotFound, match=r"pip install 'ubm-embed\[distributed\]'"):
        encode_with_ray(EncodingJob(str(tmp_path), "model", None, True), [ALONE], silent)


class FakeRay:
    """A ray module without a cluster, which records how this process looks while it connects."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        self.stderr: os.stat_result | None = None

    def is_initialized(self) -> bool:
        return False

    def init(self, *_: Any, **__: Any) -> None:
        self.environment, self.stderr = dict(os.environ), os.fstat(2)

    def nodes(self) -> list[dict[str, Any]]:
        return []

    def shutdown(self) -> None:
        pass


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setattr(ray_engine, "load_ray", lambda: fake)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return fake


def test_the_library_leaves_the_environment_and_stderr_alone(fake_ray: FakeRay, tmp_path: Path) -> None:
    before, stderr = dict(os.environ), os.fstat(2)
    with pytest.raises(NotFound, match="no node"):
        encode_with_ray(EncodingJob(str(tmp_path), "model", None, True), [ALONE], silent)
    assert (fake_ray.environment, fake_ray.stderr) == (before, stderr)


def test_a_command_connects_inside_its_own_context(fake_ray: FakeRay, tmp_path: Path) -> None:
    @contextmanager
    def startup() -> Iterator[None]:
        os.environ["STARTING_RAY"] = "1"
        yield
        del os.environ["STARTING_RAY"]

    with pytest.raises(NotFound, match="no node"):
        encode_with_ray(EncodingJob(str(tmp_path), "model", None, True), [ALONE], silent, startup=startup)
    assert fake_ray.environment["STARTING_RAY"] == "1"
    assert "STARTING_RAY" not in os.environ


def node(cpus: float, gpus: float = 0.0, *, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus}}


@pytest.mark.parametrize(
    ("workers", "device", "nodes", "expected"),
    [
        ({}, "auto", [node(4), node(2)], (6, 0.0)),
        ({}, "auto", [node(4), node(2, 1)], (1, 1.0)),
        ({}, "cpu", [node(4, 1)], (4, 0.0)),
        ({}, "cuda:1", [node(4, 2)], (2, 1.0)),
        ({"gpus": 0.5}, "auto", [node(4, 1)], (2, 0.5)),
        ({"cpus": 3}, "auto", [node(4), node(2)], (1, 0.0)),
        ({"workers": 2}, "auto", [node(4)], (2, 0.0)),
        ({}, "auto", [node(4), node(4, alive=False)], (4, 0.0)),
        ({}, "auto", [node(64)], (8, 0.0)),
    ],
)
def test_workers_fill_the_cluster_up_to_their_number_and_the_shards(
    workers: dict[str, Any], device: str, nodes: list[dict[str, Any]], expected: tuple[int, float]
) -> None:
    assert ray_engine.allocate(RayWorkers(**workers), device, nodes, shards=8) == expected
