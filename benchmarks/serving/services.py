"""The services that are compared, as processes on one core."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import rival_server
from benchmarks.serving.load_figures import Figures, figures
from benchmarks.serving.load_generator import Load, LoadGenerator, Step, poisson_arrivals
from benchmarks.serving.rival_files import make_rival
from benchmarks.serving.server_process import HOST, ServerProcess
from benchmarks.serving.serving_shop import ServingShop

OURS, ONE_AT_A_TIME, RIVAL = "ours", "one_at_a_time", "rival"
_WARM_UP_RATE = 100.0
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
    """Let a service see these.

    Raises:
        RuntimeError: it does not answer them all.
    """
    load = LoadGenerator(HOST, server.port, patience=120.0).run(
        steps, poisson_arrivals(_WARM_UP_RATE, len(steps) / _WARM_UP_RATE, 0)
    )
    result = figures(load)
    if result["answered"] < len(steps):
        problem = f"{result['refused']} refused, errors {result['errors']}"
        raise RuntimeError(f"the server did not warm up: {problem}\n{server.log_end()}")


def measured(server: ServerProcess, draw: Callable[[int], list[Step]], rate: float, seconds: float) -> Figures:
    """The figures of one rate, with the CPU time and the memory of the server."""
    return measured_load(server, draw, rate, seconds)[0]


def measured_load(
    server: ServerProcess, draw: Callable[[int], list[Step]], rate: float, seconds: float, *, keep: bool = False
) -> tuple[Figures, Load]:
    """The figures of one rate, and the load itself, with its answers if they are to be kept."""
    due = poisson_arrivals(rate, seconds, seed=round(rate))
    steps = draw(len(due))
    before = server.cpu_seconds()
    load = LoadGenerator(HOST, server.port, keep=keep).run(steps, due)
    result = figures(load, server.cpu_seconds() - before)
    return {"rate": rate, **result, **server.memory()._asdict()}, load
