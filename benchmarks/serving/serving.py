"""How many requests does the service answer on one core, how late, and at what cost, as more of them arrive?

python -m benchmarks.serving.serving HOME

HOME is a folder of `benchmarks.retrieval.trained_shop`; what else is needed is made in HOME/serving. Servers share one
core, the load generator has another. Requests arrive at random whether or not earlier ones are answered, and a latency
runs from the arrival. Nine in ten products of a request are known to the service, one has never been seen before.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.command_line import add_quick_option, load_or_measure, parse_with_quick, runner_parser, settings_of
from benchmarks.report import report_header
from benchmarks.retrieval.shop_home import TrainedShop
from benchmarks.serving.rate_ladder import RateLadder
from benchmarks.serving.rival_files import make_rival
from benchmarks.serving.services import ONE_AT_A_TIME, OURS, RIVAL, Candidate, Cores, start, warm_up
from benchmarks.serving.serving_shop import ServingShop, serving_shop
from benchmarks.serving.serving_table import table
from benchmarks.serving.shoppers import Shoppers
from benchmarks.serving.steady_load import steady_load
from benchmarks.serving.version_swaps import version_swaps

NAME = "serving"
PARTS = ("rates", "swaps", "steady")
LIMIT_MS = 25.0
EVENTS = "ours_events"
QUICK = {"products": [0], "rates": [100.0], "seconds": 4.0, "swaps": 1, "steady_seconds": 10.0}
_PACKAGES = (
    "fastapi",
    "uvicorn",
    "uvloop",
    "httptools",
    "msgspec",
    "faiss-cpu",
    "onnxruntime",
    "sentence-transformers",
)
_RATES = (25.0, 50.0, 100.0, 150.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 1000.0, 1200.0, 1500.0)
_OVERLOAD = 2.0
_RELOAD_SECONDS, _PAUSE = 1.0, 6.0
# Some more than there are shoppers at a time: as many are soon kept, and then memory must stop growing.
_KEPT_SESSIONS, _STEADY_SESSIONS = "500", 100
_PARTS_OF_STEADY = 10
_RIVAL_WARM_UP = 50  # it keeps nothing


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: every shop at rising rates; then, for the last one, versions that change and a steady load."""
    available = sorted(os.sched_getaffinity(0))
    cores = Cores.from_available(available)
    report = report_header(NAME, settings_of(options), packages=_PACKAGES)
    home = TrainedShop(options.home)
    shops = [serving_shop(home, number or None, options.sessions) for number in options.products]
    for shop in shops:
        make_rival(shop)
    with _pinned(cores.generator, available):
        if "rates" in options.parts:
            report["shops"] = [_rates(shop, cores, options) for shop in shops]
        if "swaps" in options.parts:
            report["swaps"] = _swaps(shops[-1], cores, options)
        if "steady" in options.parts:
            report["steady"] = _steady(shops[-1], cores, options)
    return report


@contextmanager
def _pinned(cores: Sequence[int], before: Sequence[int]) -> Iterator[None]:
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _rates(shop: ServingShop, cores: Cores, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of all services at rising rates, and of each at twice the highest that it was asked for."""
    with ExitStack() as stack:
        candidates = dict(_candidates(shop, cores, stack))
        measures = {name: partial(one.measure, seconds=options.seconds) for name, one in candidates.items()}
        done = RateLadder(options.rates, LIMIT_MS).climb(measures)
        over = {
            name: candidates[name].overload(_OVERLOAD * rows[-1]["rate"], options.seconds)
            for name, rows in done.items()
        }
    return {"products": len(shop.product_ids), "services": done, "overload": over}


def _candidates(shop: ServingShop, cores: Cores, stack: ExitStack) -> Iterator[tuple[str, Candidate]]:
    """Every service; all of them are asked the same."""
    for name in (OURS, ONE_AT_A_TIME, RIVAL):
        server = stack.enter_context(start(name, shop, cores))
        shoppers = Shoppers(shop.sessions, shop.product_ids)
        warm_up(server, shoppers.warm_up()[: _RIVAL_WARM_UP if name == RIVAL else None])
        yield name, Candidate(server, shoppers.whole_sessions)
        if name == OURS:
            yield EVENTS, Candidate(server, shoppers.live_sessions)


def _swaps(shop: ServingShop, cores: Cores, options: argparse.Namespace) -> dict[str, Any]:
    with start(OURS, shop, cores, "--reload-seconds", str(_RELOAD_SECONDS)) as server:
        shoppers = Shoppers(shop.sessions, shop.product_ids)
        warm_up(server, shoppers.warm_up())
        candidate = Candidate(server, shoppers.whole_sessions)
        return version_swaps(candidate, shop, rate=options.steady_rate, swaps=options.swaps, pause=_PAUSE)


def _steady(shop: ServingShop, cores: Cores, options: argparse.Namespace) -> dict[str, Any]:
    """Of few sessions and known products, since caches of texts and of matches grow to their limits with new ones."""
    with start(OURS, shop, cores, "--max-kept-sessions", _KEPT_SESSIONS) as server:
        shoppers = Shoppers(shop.sessions[:_STEADY_SESSIONS], shop.product_ids, unseen=0.0)
        warm_up(server, shoppers.warm_up())
        candidate = Candidate(server, shoppers.live_sessions)
        seconds = options.steady_seconds
        part = seconds / _PARTS_OF_STEADY
        return steady_load(candidate, rate=options.steady_rate, seconds=seconds, part_seconds=part)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"serving.{NAME}", __doc__)
    add_quick_option(parser, QUICK)
    add = parser.add_argument
    add("home", type=Path, metavar="HOME", nargs="?", help="a folder of benchmarks.retrieval.trained_shop")
    add("--products", type=int, nargs="+", default=[100_000, 0], help="products of each shop; 0: all of HOME's")
    add("--rates", type=float, nargs="+", default=list(_RATES), help="steps of shoppers a second, ascending")
    add("--seconds", type=float, default=8.0, help="of each rate")
    add("--sessions", type=int, default=1000, help="sessions that requests are drawn from")
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    add("--swaps", type=int, default=10, help="versions that become live under load")
    add("--steady-rate", type=float, default=100.0, help="steps a second while versions change, and of the steady load")
    add("--steady-seconds", type=float, default=120.0, help="of the steady load")
    return parse_with_quick(parser, QUICK, arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its tables; or print those of a saved one."""
    print(table(load_or_measure(parse(arguments), measure)))


if __name__ == "__main__":
    main()
