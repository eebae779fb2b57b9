"""Processes that are killed while they write to a store: just before or after one of their steps."""

from __future__ import annotations

import functools
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from indexer.refresh.refresh import refresh
from indexer.refresh.settings import RefreshSettings
from indexer.search.retriever import Retriever
from tests.indexer.refresh.shop import SESSION

# Three products to a shard, so that a refresh has several. Few queries for the gates, since an index on disk takes
# milliseconds for each.
SETTINGS = RefreshSettings(shard_rows=3, gate_queries=5)


class Killed(NamedTuple):
    """A store in which a process was killed, and where."""

    step: str
    store: Path


def answer(store: Path) -> dict[str, Any]:
    """The live version's answer, without the time it took and the version's number."""
    answer = Retriever.open(store, device="cpu").recommend(SESSION, 20).to_dict()
    return {name: value for name, value in answer.items() if name not in ("took_ms", "version")}


def bring_up_to_date(store: Path, products: Path, model: Path | None) -> Any:
    return refresh(store=store, products=products, model=model, settings=SETTINGS, allow=["neighbours", "centroid"])


def killed(store: Path, products: Path, model: Path | None, at: int, steps: list[tuple[Any, str]]) -> None:
    """In its own process: a refresh that is killed just before or after one of its steps, the one numbered `at`."""
    kill_at(at, steps)
    bring_up_to_date(store, products, model)


def kill_at(at: int, steps: list[tuple[Any, str]]) -> None:
    """Let this process be killed just before or after one of the steps from here on, the one numbered `at`."""
    passed = 0

    def step() -> None:
        nonlocal passed
        if passed == at:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    watch(steps, step)


def watch(
    steps: list[tuple[Any, str]], step: Callable[[], None], replace: Callable[[Any, str, Any], None] = setattr
) -> None:
    """Let `step` be called before and after each of these functions.

    Args:
        replace: puts another function in the place of one.
    """

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            step()
            result = function(*arguments, **options)
            step()
            return result

        return call

    for owner, name in steps:
        replace(owner, name, watched(getattr(owner, name)))


def killed_stores(target: Callable[..., None], pristine: Path, *arguments: Any, stride: int = 1) -> Iterator[Killed]:
    """Copies of a store in which a process was killed at one step each, until it ends by itself.

    Args:
        target: is called in its own process with the copy, the arguments and the number of the step.
        stride: between two steps.
    """
    for at in range(0, 1000, stride):
        store = Path(shutil.copytree(pristine, pristine.parent / f"killed_{at}"))
        process = forkserver().Process(target=target, args=(store, *arguments, at))
        process.start()
        process.join()
        if process.exitcode == 0:
            return
        assert process.exitcode == -signal.SIGKILL, f"step {at}"
        yield Killed(f"step {at}", store)
        shutil.rmtree(store)


def forkserver() -> Any:
    """Starts processes that have the imports behind them: fresh ones would take seconds for each of some 100 kills."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["lance", "indexer.refresh.refresh", "indexer.search.retriever", "indexer.updates.updater"]
    )
    return context
