"""Rising rates until a server no longer keeps up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.serving.load_figures import Figures, figures
from benchmarks.serving.load_generator import LoadGenerator, poisson_arrivals
from benchmarks.serving.server_process import HOST, ServerProcess
from benchmarks.serving.shoppers import Drawer

_OVERLOAD = 2.0
_MISSES = 2  # a single slow rate may be chance


@dataclass(frozen=True)
class Ladder:
    """The rates of a run.

    Attributes:
        rates: steps a second, ascending.
        seconds: of each.
        limit_ms: p99 beyond which a server does not keep up.
    """

    rates: Sequence[float]
    seconds: float
    limit_ms: float

    def climb(self, measure: Callable[[float], Figures]) -> list[Figures]:
        """The figures of each rate, until two in a row were too much."""
        done: list[Figures] = []
        for rate in self.rates:
            done.append(measure(rate))
            if len(done) >= _MISSES and not any(self.keeps_up(one) for one in done[-_MISSES:]):
                break
        return done

    def keeps_up(self, one: Figures) -> bool:
        """Whether all was answered in time."""
        return not one["refused"] and not one["errors"] and one["p99_ms"] <= self.limit_ms

    def best(self, done: Sequence[Figures], *, p90_ms: float | None = None) -> Figures | None:
        """The highest rate that was kept up with; or that has this p90 and no errors."""
        if p90_ms is None:
            kept = [one for one in done if self.keeps_up(one)]
        else:
            kept = [one for one in done if not one["refused"] and not one["errors"] and one["p90_ms"] <= p90_ms]
        return max(kept, key=lambda one: float(one["answered_per_s"]), default=None)


def measured(server: ServerProcess, draw: Drawer, rate: float, seconds: float, seed: int = 0) -> Figures:
    """The figures of one rate."""
    due = poisson_arrivals(rate, seconds, seed)
    steps = draw(len(due))
    before = server.cpu_seconds()
    load = LoadGenerator(HOST, server.port).run(steps, due)
    result = figures(load, server.cpu_seconds() - before)
    return {"rate": rate, **result, **server.memory()._asdict()}


def overload(server: ServerProcess, draw: Drawer, done: Sequence[Figures], seconds: float) -> Figures:
    """The figures of twice the highest rate that was measured."""
    return measured(server, draw, _OVERLOAD * done[-1]["rate"], seconds)
