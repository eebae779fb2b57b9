"""The rows of the reader's table: each measures the states of the code in turns.

Figures are by the name of the side. Seconds and megabytes have it in their names; what has not is a number of things.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from benchmarks.retrieval.reader_process import ReaderProcess, Readers, Side, TimeLimitError, command_cost
from benchmarks.retrieval.reader_stores import Inputs

Figures = dict[str, Any]
# A `query` is compared with this, which is what it took at least when torch read the session.
IMPORT_TORCH = "import torch"
TOGETHER = 4
_ROUNDS = 5
_AT_ONCE = 32


@dataclass(frozen=True)
class Measurement:
    """What every row is given.

    Attributes:
        sessions: how many are asked for a latency.
        commands: how often a whole command is run.
        limit_s: seconds that the queries of one kind may take.
    """

    inputs: Inputs
    readers: Readers
    sessions: int
    commands: int
    limit_s: float

    @property
    def sides(self) -> Sequence[Side]:
        """The states of the code."""
        return self.inputs.sides


def command(run: Measurement) -> Figures:
    """`query` as a whole command on a small shop, in turns with an import of torch."""
    environment = run.sides[-1].environment()
    commands = {IMPORT_TORCH: (["-c", "import torch"], environment)}
    for side in run.sides:
        query = ["-m", "cli", "query", "--session", str(run.inputs.session), "--store", str(side.small_store)]
        commands[side.name] = (query, side.environment())
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for _ in range(run.commands + 1):
        for name, one in commands.items():
            costs[name].append(command_cost(*one))
    # The first of each found cold files.
    return {name: {key: median(cost[key] for cost in all_[1:]) for key in all_[0]} for name, all_ in costs.items()}


def opening(run: Measurement) -> Figures:
    """Seconds until a new process has answered its first session, and the memory of one and of four, all warm."""
    run.readers.close()  # pages that others share would count in part only
    return {side.name: _opening(side, run) for side in run.sides}


def _opening(side: Side, run: Measurement) -> Figures:
    with ExitStack() as stack:
        readers, steps, alone = [], [], 0.0
        for _ in range(TOGETHER):
            reader = stack.enter_context(ReaderProcess(side, run.inputs.sessions))
            readers.append(reader)
            steps.append(reader.do("open"))
            reader.do("warm", count=min(run.sessions, 200))
            alone = alone or reader.memory_mb()
        together = sum(reader.memory_mb() for reader in readers)
    seconds = {name: round(median(step[name] for step in steps), 4) for name in steps[0] if name.endswith("_s")}
    things = {name: value for name, value in steps[0].items() if not name.endswith("_s")}
    return {**seconds, **things, "one_mb": round(alone, 1), "four_mb": round(together, 1)}


def queries(run: Measurement) -> Figures:
    """Latency of warm queries one at a time, of encoder and search alone, and whether the answers are the same."""
    times: dict[str, dict[str, list[float]]] = {side.name: {} for side in run.sides}
    size = max(run.sessions // _ROUNDS, 1)
    for first in range(0, run.sessions, size):
        for side in run.sides:
            mine = times[side.name]
            mine.setdefault("query", []).extend(run.readers.do(side, "queries", first=first, count=size))
            for name, values in run.readers.do(side, "steps", first=first, count=size).items():
                mine.setdefault(name, []).extend(values)
    figures: Figures = {name: {step: latency(values) for step, values in one.items()} for name, one in times.items()}
    answers = [run.readers.do(side, "answers", count=min(run.sessions, 200)) for side in run.sides]
    if len(answers) > 1:
        figures["same_matches"] = round(_same(*answers), 4)
    return figures


def _same(one: Sequence[Sequence[str]], other: Sequence[Sequence[str]]) -> float:
    """The share of matches that both have."""
    common = sum(len({*mine} & {*theirs}) for mine, theirs in zip(one, other, strict=True))
    return common / max(sum(map(len, one)), 1)


def rules(run: Measurement) -> Figures:
    """Latency under rules of each kind: the first of all, the first under others of the kind, and warm."""
    figures: Figures = {side.name: {} for side in run.sides}
    for name, variants in run.inputs.rules.items():
        for side in run.sides:
            figures[side.name][name] = _under_rules(side, run, variants)
            print(f"rules: {name}, {side.name}: {figures[side.name][name]}", file=sys.stderr, flush=True)
    return figures


def _under_rules(side: Side, run: Measurement, variants: Sequence[Mapping[str, Any]]) -> Figures:
    def ask(number: int, count: int, *, anew: bool = False) -> list[float]:
        options = {"first": number, "count": count, "rules": variants[number], "anew": anew}
        times: list[float] = run.readers.do(side, "queries", 3 * run.limit_s, seconds=run.limit_s, **options)
        return times

    try:
        firsts = [ask(number, 1)[0] for number in range(len(variants))]
        figures = {"first_ms": round(1000 * firsts[0], 4), **latency(ask(0, run.sessions))}
        if len(firsts) > 1:
            figures["other_first_ms"] = round(1000 * median(firsts[1:]), 4)
            figures["anew_p50_ms"] = latency(ask(0, run.sessions, anew=True))["p50_ms"]
        return figures
    except TimeLimitError as error:
        return {"stopped": str(error)}


def load(run: Measurement) -> Figures:
    """CPU milliseconds of a query where 32 come in one call, and where 32 callers ask at once."""
    tasks: dict[str, tuple[str, dict[str, int]]] = {
        "one_call_ms": ("cpu_in_calls", {"size": _AT_ONCE, "calls": max(run.sessions // _AT_ONCE, 1)}),
        "callers_ms": ("cpu_of_callers", {"callers": _AT_ONCE, "calls": max(run.sessions // _AT_ONCE, 1)}),
    }
    taken: dict[str, dict[str, list[float]]] = {side.name: {name: [] for name in tasks} for side in run.sides}
    for _ in range(_ROUNDS):
        for side in run.sides:
            for name, (task, options) in tasks.items():
                taken[side.name][name].append(1000 * run.readers.do(side, task, **options))
    return {side: {name: round(median(values), 4) for name, values in one.items()} for side, one in taken.items()}


def swap(run: Measurement) -> Figures:
    """Latency before, while and after another version takes over."""
    count, others = min(run.sessions, 200), list(run.inputs.versions)
    run.readers.close()  # the tasks before may have left rules in the caches
    figures: Figures = {}
    for side in run.sides:
        with ReaderProcess(side, run.inputs.sessions) as reader:
            reader.do("open")
            reader.do("warm", count=count)
            times = reader.do("swap", numbers=others, count=count)
            figures[side.name] = {name: latency(values) for name, values in times.items() if values}
    return figures


def calls(run: Measurement) -> Figures:
    """Function calls of a warm query."""
    count = min(run.sessions, 100)
    return {side.name: round(run.readers.do(side, "function_calls", count=count)) for side in run.sides}


ROWS: Mapping[str, Callable[[Measurement], Figures]] = {
    row.__name__: row for row in (command, opening, queries, rules, load, swap, calls)
}


def latency(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds: the median, the 99th percentile and the largest, and of how many."""
    p50, p99, largest = np.percentile(1000 * np.array(seconds), [50, 99, 100])
    rounded = {"p50_ms": round(float(p50), 4), "p99_ms": round(float(p99), 4), "max_ms": round(float(largest), 4)}
    return {**rounded, "count": len(seconds)}
