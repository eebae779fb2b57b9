"""A service over the toy shop that listens on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
import pytest
import torch

from indexer.refresh.refresh import build_index
from indexer.service.http.access.keys import Keys
from indexer.service.http.app import create_app
from indexer.service.http.connection.load_shedding import LoadShedder
from indexer.service.http.connection.protocol import ConnectionLimits
from indexer.service.http.connection.shedding_protocol import shedding
from indexer.service.http.telemetry.metrics import Metrics
from indexer.service.processes.http_server import HTTPServer
from indexer.service.service import Service
from indexer.service.settings import ServiceSettings
from tests.indexer.service.http.served import ODD_ID, Serve, Served
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.bert import bert_config
from ubm_embed.model.checkpoint import save_checkpoint
from ubm_embed.model.config import UBMConfig
from ubm_embed.model.user_behavior_model import InteractionEncoder, UserBehaviorModel


@pytest.fixture(scope="session")
def toy_models(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: InteractionTokenizer,
    with_graphs: Callable[[Path], Path],
    stir: Callable[[torch.nn.Module], None],
) -> Mapping[str, Path]:
    """Folders of models: `store` reads sessions and products, the others are for purchase intention and length."""
    torch.manual_seed(0)
    encoder = bert_config(vocab_size=tokenizer.vocab_size, layers=1, width=16, heads=2)
    config = UBMConfig(
        dimension=16, session_layers=1, session_heads=2, max_interactions=8, interaction_encoder=encoder.to_dict()
    )
    model = UserBehaviorModel(config, InteractionEncoder(encoder, config.dimension))
    stir(model)
    models = {"store": model.eval()}
    for task in (Task.PIP, Task.RLP):
        models[str(task)] = model.fine_tuned(task=task)
        stir(models[str(task)])
    folders = {}
    for name, one in models.items():
        folders[name] = tmp_path_factory.mktemp(name)
        save_checkpoint(folders[name], one, tokenizer, {})
        with_graphs(folders[name])
    return folders


@pytest.fixture(scope="session")
def shop_store(
    tmp_path_factory: pytest.TempPathFactory, products: pl.DataFrame, toy_models: Mapping[str, Path]
) -> Path:
    """A store of the toy shop, one of whose products has an id with all that an id may hold."""
    folder = tmp_path_factory.mktemp("shop")
    odd = products.head(1).with_columns(product_id=pl.lit(ODD_ID), title=pl.lit("odd red socks"))
    catalogue = pl.concat([products, odd])
    catalogue = catalogue.with_columns(
        price=pl.Series([None, *map(float, range(1, catalogue.height))]),
        since=pl.Series(["2026-01-02"] * catalogue.height).str.to_date(),
        weight=pl.Series([float("nan"), *[1.5] * (catalogue.height - 1)]),
    )
    catalogue.write_parquet(folder / "products.parquet")
    log = {"session_id": ["s"] * 3, "position": [0, 1, 2], "action": ["view"] * 3, "product_id": ["p3", "p3", "p5"]}
    pl.DataFrame(log).write_parquet(folder / "interactions.parquet")
    build_index(
        model=toy_models["store"],
        products=folder / "products.parquet",
        interactions=folder / "interactions.parquet",
        store=folder / "store",
    )
    return folder / "store"


@pytest.fixture(scope="session")
def serve(shop_store: Path) -> Serve:
    """Starts a service over the toy shop with some settings: `with serve(max_k=5) as served`."""

    @contextmanager
    def started(keys: Keys | None = None, change: Callable[[Service], None] = lambda _: None, **settings: Any) -> Any:
        metrics, told = Metrics(), ServiceSettings(**{"store": str(shop_store), "timeout": 30.0} | settings)
        service = Service.open(told, metrics)
        change(service)
        shedder = LoadShedder(service.engine, told.timeout, metrics)
        protocol = shedding(ConnectionLimits.from_settings(told), metrics, shedder)
        server = HTTPServer(create_app(service, keys or Keys(), metrics), told, protocol)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_until_complete, args=(_answer(service, server, listener),))
            thread.start()
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            try:
                with httpx2.Client(base_url=address, timeout=60) as client:
                    yield Served(address, client, service, loop)
            finally:
                server.should_exit = True
                thread.join()
                loop.close()

    return started


async def _answer(service: Service, server: HTTPServer, listener: socket.socket) -> None:
    await service.start()
    try:
        await server.serve([listener])
    finally:
        await service.close()


@pytest.fixture(scope="session")
def served(serve: Serve, toy_models: Mapping[str, Path]) -> Iterator[Served]:
    """A service that keeps sessions in memory, and predicts."""
    folders = {"purchase_intention": toy_models["pip"], "remaining_length": toy_models["rlp"]}
    with serve(**folders) as service:
        yield service
