"""New versions under a steady load: is a request lost, an answer mixed, or later than usual?"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.serving.connection import body_of, header_of
from benchmarks.serving.load_figures import Figures
from benchmarks.serving.load_generator import OK, Load
from benchmarks.serving.server_process import ServerProcess
from benchmarks.serving.services import measured, measured_load
from benchmarks.serving.serving_shop import DEARER, ServingShop
from benchmarks.serving.shoppers import Drawer

VERSION_HEADER = "X-UBM-Version"


def version_swaps(
    server: ServerProcess, shop: ServingShop, draw: Drawer, *, rate: float, swaps: int, pause: float
) -> dict[str, Any]:
    """Figures without and with `swaps` versions that become live, one every `pause` seconds."""
    cheap, dear = shop.versions()
    usual = measured(server, draw, rate, swaps * pause)
    numbers = [(cheap, dear)[number % 2] for number in range(swaps)]
    with _publisher(shop.store, numbers, pause) as publisher:
        publisher.send("go")
        result, load = measured_load(server, draw, rate, (swaps + 1) * pause, keep=True)
        published = publisher.recv()
    return {"usual": usual, "swapping": result, **check_answers(load, dear), "published": len(published)}


def check_answers(load: Load, dear: int) -> Figures:
    """What the answers say of the version they are from."""
    answers = [answer for answer, status in zip(load.answers, load.status, strict=False) if status == OK]
    order = np.argsort(load.done[load.status == OK])
    versions = [_version(answers[number]) for number in order]
    return {
        "swaps_seen": sum(first != second for first, second in pairwise(versions)),
        "mixed": sum(not _is_of_one_version(answer, dear) for answer in answers),
    }


def _version(answer: bytes) -> int:
    return int(header_of(answer, VERSION_HEADER) or 0)


def _is_of_one_version(answer: bytes, dear: int) -> bool:
    """Whether the header, the body and the price of every match say the same."""
    body, version = msgspec.json.decode(body_of(answer)), _version(answer)
    prices = {match["price"] >= DEARER for match in body["matches"]}
    return body["version"] == version and prices == {version == dear}


@contextmanager
def _publisher(store: Path, numbers: Sequence[int], pause: float) -> Iterator[Connection]:
    """A process that makes versions live when it is told to begin."""
    ours, its = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_publish, args=(its, str(store), numbers, pause))
    process.start()
    try:
        ours.recv()
        yield ours
        process.join()
    finally:
        process.kill()


def _publish(pipe: Connection, store: str, numbers: Sequence[int], pause: float) -> None:
    from indexer.store.embedding_store import EmbeddingStore
    from indexer.versions.rollback import roll_back

    os.nice(10)  # it shares the core of the load generator, which must not be late
    opened = EmbeddingStore.open(store)
    pipe.send("ready")
    pipe.recv()
    published = []
    for number in numbers:
        time.sleep(pause)
        roll_back(opened, number)
        published.append(number)
    pipe.send(published)
