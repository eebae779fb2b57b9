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
from benchmarks.serving.services import Candidate
from benchmarks.serving.serving_shop import DEARER, ServingShop

VERSION_HEADER = "X-UBM-Version"


def version_swaps(candidate: Candidate, shop: ServingShop, *, rate: float, swaps: int, pause: float) -> dict[str, Any]:
    """Figures without and with `swaps` versions that become live, one every `pause` seconds."""
    cheap, dear = shop.versions()
    usual = candidate.measure(rate, swaps * pause)
    numbers = [(cheap, dear)[number % 2] for number in range(swaps)]
    with _publisher(shop.store, numbers, pause) as publisher:
        publisher.send("go")
        result, load = candidate.load(rate, (swaps + 1) * pause, keep=True)
        published = publisher.recv()
    return {"usual": usual, "swapping": result, "published": len(published), **check_answers(load, published, dear)}


def check_answers(load: Load, published: Sequence[float], dear: int) -> Figures:
    """What the answers say of the version they are from.

    Args:
        published: monotonic seconds at which versions became live.
        dear: the version with the dear products.
    """
    answers = [answer for answer, status in zip(load.answers, load.status, strict=False) if status == OK]
    done = load.done[load.status == OK]
    order = np.argsort(done)
    versions = [_version(answers[number]) for number in order]
    swapped = [
        done[order[row + 1]] + load.started for row, (one, other) in enumerate(pairwise(versions)) if one != other
    ]
    return {
        "swaps_seen": len(swapped),
        "seconds_to_swap": [round(float(seen - live), 2) for seen, live in zip(swapped, published, strict=False)],
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
        published.append(time.monotonic())
    pipe.send(published)
