"""Rising rates, the services in turns, until each no longer keeps up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.serving.load_figures import Figures

Measure = Callable[[float], Figures]

_MISSES = 2  # a single slow rate may be chance


@dataclass(frozen=True)
class RateLadder:
    """The rates of a run.

    Attributes:
        rates: steps a second, ascending.
        limit_ms: p99 beyond which a service does not keep up.
    """

    rates: Sequence[float]
    limit_ms: float

    def climb(self, measures: Mapping[str, Measure]) -> dict[str, list[Figures]]:
        """The figures of each service at each rate, until two rates in a row were too much for it."""
        done: dict[str, list[Figures]] = {name: [] for name in measures}
        for rate in self.rates:
            for name, measure in measures.items():
                if not self.is_over(done[name]):
                    done[name].append(measure(rate))
        return done

    def is_over(self, done: Sequence[Figures]) -> bool:
        """Whether higher rates need not be tried."""
        last = done[-_MISSES:]
        return len(last) == _MISSES and not any(keeps_up(one, "p99_ms", self.limit_ms) for one in last)


def keeps_up(one: Figures, percentile: str, limit_ms: float) -> bool:
    """Whether everything was answered, and this percentile in time."""
    return not one["refused"] and not one["errors"] and one[percentile] <= limit_ms


def highest(done: Sequence[Figures], percentile: str, limit_ms: float) -> Figures | None:
    """The figures of the highest rate that a service kept up with; None if it did with none."""
    kept = [one for one in done if keeps_up(one, percentile, limit_ms)]
    return max(kept, key=lambda one: float(one["rate"]), default=None)
