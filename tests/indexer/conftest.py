"""A toy shop's files, and a store built from them."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from torch import nn

from indexer.refresh import settled_files
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index, refresh
from indexer.refresh.settings import RefreshSettings
from indexer.versions.pruning import KeepPolicy
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.folder import model_id_of
from ubm_embed.model.user_behavior_model import UserBehaviorModel


@pytest.fixture(autouse=True)
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were just written are read without waiting whether they still grow."""
    monkeypatch.setattr(settled_files, "sleep", lambda _: None)


@pytest.fixture
def model_folder(
    tmp_path: Path, model: UserBehaviorModel, tokenizer: InteractionTokenizer, with_graphs: Callable[[Path], Path]
) -> Path:
    """A folder with the tiny model."""
    (tmp_path / "model").mkdir()
    save_checkpoint(tmp_path / "model", model, tokenizer, {"note": "toy"})
    return with_graphs(tmp_path / "model")


@pytest.fixture
def other_model_folder(
    tmp_path: Path,
    model_folder: Path,  # saved first: stirring changes the weights in place
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    stir: Callable[[nn.Module], None],
    with_graphs: Callable[[Path], Path],
) -> Path:
    """A folder with a model of the same shape and other weights."""
    (tmp_path / "other_model").mkdir()
    stir(model)
    save_checkpoint(tmp_path / "other_model", model, tokenizer, {})
    return with_graphs(tmp_path / "other_model")


@pytest.fixture
def session_model_folder(
    tmp_path: Path,
    model_folder: Path,
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    stir: Callable[[nn.Module], None],
    with_graphs: Callable[[Path], Path],
) -> Path:
    """A folder with a model that reads sessions only; the tiny model is its product tower."""
    tower = Checkpoint.from_pretrained(model_folder)
    tuned = model.fine_tuned(task=Task.NIP, product_tower=tower.model_id)
    stir(tuned)
    (tmp_path / "session_model").mkdir()
    save_checkpoint(tmp_path / "session_model", tuned, tokenizer, {}, tower)
    return with_graphs(tmp_path / "session_model")


@pytest.fixture
def task_folders(
    tmp_path: Path, model: UserBehaviorModel, tokenizer: InteractionTokenizer, stir: Callable[[nn.Module], None]
) -> dict[Task, Path]:
    """A folder with a model for purchase intention, and one for remaining length."""
    folders = {}
    for task in (Task.PIP, Task.RLP):
        tuned = model.fine_tuned(task=task)
        stir(tuned)
        folders[task] = tmp_path / f"{task}_model"
        folders[task].mkdir()
        save_checkpoint(folders[task], tuned, tokenizer, {})
    return folders


@pytest.fixture
def products_file(tmp_path: Path, products: pl.DataFrame) -> Path:
    """The toy shop's eight products, with a price."""
    file = tmp_path / "products.parquet"
    products.with_columns(price=pl.Series([float(row) for row in range(products.height)])).write_parquet(file)
    return file


@pytest.fixture
def interactions_file(tmp_path: Path) -> Path:
    """A log in which p3 occurs three times, p5 and p2 once each, and a product that the catalogue lacks twice."""
    product_ids = ["p3", "p5", "p3", "gone", "p2", "p3", "gone"]
    frame = pl.DataFrame(
        {"session_id": ["s"] * 7, "position": range(7), "action": ["view"] * 7, "product_id": product_ids}
    )
    frame.write_parquet(tmp_path / "interactions.parquet")
    return tmp_path / "interactions.parquet"


@pytest.fixture
def store(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    model_folder: Path,
    products_file: Path,
    interactions_file: Path,
) -> Path:
    """A store with one version. Made once of the same model and files, and copied."""
    files = hashlib.sha256(products_file.read_bytes() + interactions_file.read_bytes()).hexdigest()
    made = tmp_path_factory.getbasetemp() / f"store-{model_id_of(model_folder)}-{files}"
    if not made.exists():
        build_index(model=model_folder, products=products_file, interactions=interactions_file, store=made)
    return Path(shutil.copytree(made, tmp_path / "store"))


@pytest.fixture
def catalogue(tmp_path: Path, products: pl.DataFrame) -> Callable[[int], Path]:
    """The file of a night's catalogue: every price is the night's number, and one product is named after it."""

    def write(night: int) -> Path:
        named = pl.when(pl.col("product_id") == "p3").then(pl.lit(f"red shirt {night}")).otherwise("title")
        file = tmp_path / f"night{night}.parquet"
        products.with_columns(title=named, price=pl.lit(float(night))).write_parquet(file)
        return file

    return write


@pytest.fixture
def nights(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, model_folder: Path, catalogue: Callable[[int], Path]
) -> Path:
    """A store of three nights: version 3 is live, 2 and 1 were live before. Made once and copied."""
    made = tmp_path_factory.getbasetemp() / "nights"
    if not made.exists():
        build_index(model=model_folder, products=catalogue(1), store=made)
        for night in (2, 3):
            settings = RefreshSettings(keep=KeepPolicy(versions=3))
            refresh(products=catalogue(night), store=made, settings=settings, allow=[Gate.NEIGHBOURS, Gate.CENTROID])
    return Path(shutil.copytree(made, tmp_path / "nights"))


# On its own, moto compares and swaps in two steps, and another thread's request may come between them.
_SERVER = """
import threading
from moto import server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication as Application

answer, one_at_a_time = Application.__call__, threading.Lock()

def answer_alone(application, environ, start_response):
    with one_at_a_time:
        return answer(application, environ, start_response)

Application.__call__ = answer_alone
server.main()
"""


@pytest.fixture(scope="session")
def object_server() -> Iterator[str]:
    """The address of a real S3 API on this machine: `127.0.0.1:PORT`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", _SERVER, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _await_port(server, port)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


def _await_port(server: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert server.poll() is None, "the S3 server ended; is moto[server] installed?"
        time.sleep(0.1)
    pytest.fail("the S3 server does not answer")


@pytest.fixture
def object_store(object_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which `s3://` is only the server on this machine."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "toy")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "toy")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT", f"http://{object_server}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")


@pytest.fixture
def bucket_uri(object_server: str, object_store: None) -> str:
    """The URI of an empty prefix in a new bucket."""
    bucket = f"shop-{uuid.uuid4().hex[:12]}"
    with contextlib.closing(http.client.HTTPConnection(object_server)) as connection:
        connection.request("PUT", f"/{bucket}")
        assert connection.getresponse().status == 200
    return f"s3://{bucket}/stores/main"
