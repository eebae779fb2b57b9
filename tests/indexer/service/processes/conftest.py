"""A store of the toy shop for all tests of a module, and services over it in processes of their own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from torch import nn

from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index, refresh
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.bert import bert_config
from ubm_embed.model.checkpoint import save_checkpoint
from ubm_embed.model.config import UBMConfig
from ubm_embed.model.user_behavior_model import InteractionEncoder, UserBehaviorModel

LIMIT = 60.0


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, for as long as the slowest machine may take."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class ServiceProcess:
    """`ubm-embed serve` on a free port."""

    def __init__(self, store: Path, log: Path, *options: str) -> None:
        command = [sys.executable, "-m", "cli", "serve", "--store", str(store), "--port", "0", *options]
        self.log = log
        self._connections: list[http.client.HTTPConnection] = []
        with log.open("wb") as stderr:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            self.process = subprocess.Popen(command, stderr=stderr, env=environment, start_new_session=True)
        until(lambda: self.process.poll() is not None or self.lines("ready"))
        assert self.process.poll() is None, log.read_text("utf-8")
        self.ready = self.lines("ready")[0]
        self.port = int(self.ready["address"].rpartition(":")[2])

    def lines(self, message: str) -> list[dict[str, Any]]:
        """The lines of the log with this message."""
        whole = self.log.read_text("utf-8").rpartition("\n")[0].splitlines()
        return [line for line in map(json.loads, whole) if line["message"] == message]

    def connect(self) -> http.client.HTTPConnection:
        """A new connection, open until the service is closed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        self._connections.append(connection)
        connection.connect()
        return connection

    def children(self) -> list[int]:
        """Process ids of the workers and of the keeper of sessions."""
        return list(map(int, Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()))

    def owner_of(self, connection: http.client.HTTPConnection) -> int:
        """The process that has taken a connection."""
        ends = f":{self.port:04X}", f":{connection.sock.getsockname()[1]:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
        inode = next(row[9] for row in rows if row[1].endswith(ends[0]) and row[2].endswith(ends[1]))
        return next(child for child in self.children() if f"socket:[{inode}]" in _open_files(child))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT)

    def close(self) -> None:
        """End it, if it has not ended."""
        for connection in self._connections:
            connection.close()
        self.end()


def _open_files(process_id: int) -> set[str]:
    names = set()
    for link in Path(f"/proc/{process_id}/fd").iterdir():
        try:
            names.add(os.readlink(link))
        except FileNotFoundError:
            continue
    return names


def ask(
    connection: http.client.HTTPConnection, path: str, body: object = None
) -> tuple[http.client.HTTPResponse, dict[str, Any]]:
    """The answer to a POST with a body, else to a GET."""
    if body is None:
        connection.request("GET", path)
    else:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response, json.loads(response.read())


class Shop:
    """A store, and a way to publish its next version."""

    def __init__(self, folder: Path, products: pl.DataFrame) -> None:
        self.folder, self.store, self._products = folder, folder / "store", products
        self.version = 1

    def catalogue(self) -> Path:
        """A file in which every price is the number of the version."""
        file = self.folder / f"products{self.version}.parquet"
        self._products.with_columns(price=pl.lit(float(self.version))).write_parquet(file)
        return file

    def publish(self) -> int:
        """The number of a new version."""
        self.version += 1
        refresh(products=self.catalogue(), store=self.store, allow=list(Gate))
        return self.version


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory,
    products: pl.DataFrame,
    tokenizer: InteractionTokenizer,
    with_graphs: Callable[[Path], Path],
    stir: Callable[[nn.Module], None],
) -> Shop:
    """The toy shop with one version."""
    folder = tmp_path_factory.mktemp("shop")
    encoder = bert_config(vocab_size=tokenizer.vocab_size, layers=1, width=16, heads=2)
    config = UBMConfig(
        dimension=16, session_layers=1, session_heads=2, max_interactions=8, interaction_encoder=encoder.to_dict()
    )
    model = UserBehaviorModel(config, InteractionEncoder(encoder, config.dimension))
    stir(model)
    (folder / "model").mkdir()
    save_checkpoint(folder / "model", model.eval(), tokenizer, {})
    shop = Shop(folder, products)
    build_index(model=with_graphs(folder / "model"), products=shop.catalogue(), store=shop.store)
    return shop


Start = Callable[..., ServiceProcess]


@pytest.fixture(scope="module")
def start(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts services over the shop."""
    started: list[ServiceProcess] = []

    def run(*options: str) -> ServiceProcess:
        log = tmp_path_factory.mktemp("log") / "log"
        started.append(ServiceProcess(shop.store, log, "--reload-seconds", "3600", *options))
        return started[-1]

    yield run
    for service in started:
        service.close()


@pytest.fixture
def pair(service: ServiceProcess) -> dict[int, http.client.HTTPConnection]:
    """A connection to each of two workers of a service, by its process id."""
    connections: dict[int, http.client.HTTPConnection] = {}

    def connect() -> bool:
        connection = service.connect()
        assert ask(connection, "/livez")[0].status == 200
        owner = service.owner_of(connection)
        if owner in connections:
            connection.close()
        connections.setdefault(owner, connection)
        return len(connections) == 2

    until(connect)
    return connections
