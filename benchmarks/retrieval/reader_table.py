"""The tables of a reader's report: each figure before and today, and what is to be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.report import markdown_table
from benchmarks.retrieval.reader_rows import IMPORT_TORCH, TOGETHER
from benchmarks.retrieval.reader_stores import BEFORE, SMALL_SHOP, TODAY

Figures = Mapping[str, Any]
Line = tuple[str, str, str, str]
_SIDES = (BEFORE, TODAY)


def table(report: Mapping[str, Any]) -> str:
    """All figures in one table, those under rules in another."""
    rows = {name: row["figures"] for name, row in report["rows"].items()}
    lines = [line for name, of in _LINES.items() if name in rows for line in of(rows[name])]
    tables = [markdown_table(("", *_SIDES, "to reach"), lines)]
    if "rules" in rows:
        tables.append(_rules_table(rows["rules"]))
    return "\n\n".join(tables)


def _command(figures: Figures) -> Iterator[Line]:
    torch, shop = figures[IMPORT_TORCH], f"`query` as a command, {SMALL_SHOP:,} products"
    yield _line(f"{shop}, s", figures, "seconds", ".2f", f"{torch['seconds']:.2f} ({IMPORT_TORCH}); 0.8")
    yield _line("its CPU time, s", figures, "cpu_seconds", ".2f", f"{torch['cpu_seconds']:.2f} ({IMPORT_TORCH})")
    yield _line("its peak memory, MB", figures, "peak_mb", ".0f", "200")


def _opening(figures: Figures) -> Iterator[Line]:
    products = f"{figures[TODAY]['products']:,} products"
    whole = {side: one["import_s"] + one["open_s"] + one["first_answer_s"] for side, one in figures.items()}
    yield _line(f"opening {products}, s", figures, "open_s", ".2f", "1.5")
    yield ("imports, opening and first answer, s", *_cells(whole, lambda value: f"{value:.2f}"), "")
    yield _line("memory of a reader (proportional), MB", figures, "one_mb", ",.0f")
    more = {side: (one["four_mb"] - one["one_mb"]) / (TOGETHER - 1) for side, one in figures.items()}
    yield ("what each further one adds, MB", *_cells(more, lambda value: f"{value:,.0f}"), "")
    yield ("memory of four, times one", *_cells(figures, lambda one: f"{one['four_mb'] / one['one_mb']:.2f}"), "1.3")


def _queries(figures: Figures) -> Iterator[Line]:
    for what, step, aim in (("JSON to ten matches", "query", "2, 5"), ("encoder alone", "encode", "")):
        yield _latency(f"{what}, p50 and p99 ms", {side: figures[side][step] for side in _present(figures)}, aim)
    yield _latency("search alone", {side: figures[side]["search"] for side in _present(figures)})
    yield _latency("encoder and search alone", {side: figures[side]["both"] for side in _present(figures)})
    ratio = {side: figures[side]["query"]["p50_ms"] / figures[side]["both"]["p50_ms"] for side in _present(figures)}
    yield ("the whole, times that", *_cells(ratio, lambda value: f"{value:.2f}"), "1.3")
    if "same_matches" in figures:
        yield ("matches that both find", "", f"{100 * figures['same_matches']:.1f}%", "")


def _load(figures: Figures) -> Iterator[Line]:
    yield _line("CPU time of a query, 32 in a call, ms", figures, "one_call_ms", ".2f", "1.2")
    yield _line("of 32 callers at once, ms", figures, "callers_ms", ".2f", "1.2")


def _swap(figures: Figures) -> Iterator[Line]:
    for when, aim in (("before", ""), ("while", ""), ("after", "as before")):
        of = {side: figures[side][when] for side in _present(figures) if when in figures[side]}
        yield _latency(f"query {when} another version takes over", of, aim)


def _calls(figures: Figures) -> Iterator[Line]:
    yield ("function calls of a query", *_cells(figures, lambda value: f"{value:,}"), "")


_LINES: dict[str, Callable[[Figures], Iterator[Line]]] = {
    "command": _command,
    "opening": _opening,
    "queries": _queries,
    "load": _load,
    "swap": _swap,
    "calls": _calls,
}


def _rules_table(figures: Figures) -> str:
    """For each kind of rules and each side: warm, with equal rules made anew, first of the kind, first of all."""
    sides = _present(figures)
    columns = [f"{side} {what}" for side in sides for what in ("p50", "p99", "anew p50", "first", "first of all")]
    lines = [[name, *(cell for side in sides for cell in _rule_cells(figures[side][name]))] for name in figures[TODAY]]
    return markdown_table(("under rules, ms", *columns), lines)


def _rule_cells(one: Figures) -> list[str]:
    if "stopped" in one:
        return [one["stopped"], "", "", "", ""]
    keys = ("p50_ms", "p99_ms", "anew_p50_ms", "other_first_ms", "first_ms")
    return [f"{one[key]:.2f}" if key in one else "" for key in keys]


def _latency(label: str, of: Mapping[str, Figures], aim: str = "") -> Line:
    return (label, *_cells(of, lambda one: f"{one['p50_ms']:.2f}, {one['p99_ms']:.2f}"), aim)


def _line(label: str, figures: Figures, key: str, form: str, aim: str = "") -> Line:
    return (label, *_cells(figures, lambda one: format(one[key], form)), aim)


def _cells(figures: Mapping[str, Any], cell: Callable[[Any], str]) -> tuple[str, str]:
    before, today = (cell(figures[side]) if side in figures else "" for side in _SIDES)
    return before, today


def _present(figures: Figures) -> list[str]:
    return [side for side in _SIDES if side in figures]
