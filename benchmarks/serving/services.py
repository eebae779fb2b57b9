"""The services that are compared, as processes on one core."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.serving import rival_server
from benchmarks.serving.connection import header_of, status_of
from benchmarks.serving.load_figures import REFUSED, Figures, figures
from benchmarks.serving.load_generator import Load, LoadGenerator, Step, poisson_arrivals
from benchmarks.serving.rival_files import make_rival
from benchmarks.serving.server_process import HOST, ServerProcess
from benchmarks.serving.serving_shop import ServingShop
from benchmarks.serving.shoppers import Drawer

OURS, ONE_AT_A_TIME, RIVAL = "ours", "one_at_a_time", "rival"
_WARM_UP_CLIENTS, _WARM_UP_SECONDS = 4, 300.0
_READY = "/readyz"


@dataclass(frozen=True)
class Cores:
    """Which cores the two sides of a load have to themselves."""

    server: Sequence[int]
    generator: Sequence[int]

    @classmethod
    def from_available(cls, available: Sequence[int]) -> Cores:
        """The last core for the generator, the one before it for the server.

        Raises:
            RuntimeError: there is only one.
        """
        if len(available) < 2:
            raise RuntimeError("a server and a load generator need a core each, got one")
        return cls(available[-2:-1], available[-1:])


def start(name: str, shop: ServingShop, cores: Cores, *options: str) -> ServerProcess:
    """A service that is ready; `options` are more of `ubm-embed serve`.

    Raises:
        RuntimeError: it does not start.
    """
    server = ServerProcess(_command(name, shop, options), cores.server, shop.folder / f"{name}.log")
    try:
        server.wait_until_ready(_READY)
    except BaseException:
        server.close()
        raise
    return server


def _command(name: str, shop: ServingShop, options: Sequence[str]) -> list[str]:
    if name == RIVAL:
        return [sys.executable, "-P", str(Path(rival_server.__file__)), str(make_rival(shop)), "{port}"]
    one = ("--max-batch", "1") if name == ONE_AT_A_TIME else ()
    serve = [sys.executable, "-P", "-m", "cli", "serve", "--store", str(shop.store), "--port", "{port}"]
    return [*serve, "--threads", "1", "--device", "cpu", *one, *options]


def warm_up(server: ServerProcess, steps: Sequence[Step]) -> None:
    """Let a service see these, a few at a time.

    Raises:
        RuntimeError: it does not answer them all.
    """
    requests = [request for step in steps for request in step]
    chains = [tuple(requests[first::_WARM_UP_CLIENTS]) for first in range(_WARM_UP_CLIENTS)]
    load = LoadGenerator(HOST, server.port, patience=_WARM_UP_SECONDS).run(chains, np.zeros(len(chains)))
    result = figures(load)
    if result["answered"] < len(requests):
        problem = f"{result['refused']} refused, errors {result['errors']}"
        raise RuntimeError(f"the server did not warm up: {problem}\n{server.log_end()}")


@dataclass(frozen=True)
class Candidate:
    """A service and what it is asked.

    Attributes:
        draw: makes this many steps of shoppers.
    """

    server: ServerProcess
    draw: Drawer

    def measure(self, rate: float, seconds: float) -> Figures:
        """The figures of one rate, with the CPU time and the memory of the server."""
        return self.load(rate, seconds)[0]

    def overload(self, rate: float, seconds: float) -> Figures:
        """The same, and how many refusals do not say when to come again."""
        result, load = self.load(rate, seconds, keep=True)
        refusals = [one for one in load.answers if one and status_of(one) == REFUSED]
        return {**result, "without_retry_after": sum(header_of(one, "Retry-After") is None for one in refusals)}

    def load(self, rate: float, seconds: float, *, keep: bool = False) -> tuple[Figures, Load]:
        """The figures of one rate, and the load itself, with its answers if they are to be kept."""
        due = poisson_arrivals(rate, seconds, seed=round(rate))
        steps = self.draw(len(due))
        before = self.server.cpu_seconds()
        load = LoadGenerator(HOST, self.server.port, keep=keep).run(steps, due)
        result = figures(load, self.server.cpu_seconds() - before)
        return {"rate": rate, **result, **self.server.memory()._asdict()}, load
