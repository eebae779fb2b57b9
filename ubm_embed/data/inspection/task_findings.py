"""Findings about what each task could be asked with."""

from __future__ import annotations

from collections.abc import Iterator

from ubm_embed.data.inspection.finding import Finding, Severity
from ubm_embed.data.inspection.tasks import ENOUGH, TaskCounts, TaskStatistics
from ubm_embed.data.tasks.task import SplitKind, Task
from ubm_embed.wording import counted


def task_findings(tasks: TaskStatistics) -> Iterator[Finding]:
    """Findings about what each task could be asked with, under the split that `auto` chooses."""
    chosen = tasks.counts[0].split  # by time where that is possible
    for counts in tasks.counts:
        if counts.split != chosen:
            continue
        finding = _task_finding(counts, tasks)
        if finding is not None:
            yield finding


def _task_finding(counts: TaskCounts, tasks: TaskStatistics) -> Finding | None:
    name = f"{counts.task}, split by {'time' if counts.split == SplitKind.TIME else 'session'}"
    is_pip = counts.task == Task.PIP
    if is_pip and not tasks.purchases:
        return Finding(
            Severity.NOTE, "tasks", "pip: no purchases", "map the purchases of the log if purchase intention is wanted"
        )
    if counts.problem is not None:
        return Finding(
            Severity.NOTE if is_pip else Severity.WARNING, "tasks", f"{name}: {counts.problem}", _more_data(counts)
        )
    if counts.half_width is not None and counts.half_width > 0.05:
        what = f", {counts.test_purchases:,} with a purchase" if counts.test_purchases is not None else ""
        return Finding(
            Severity.NOTE,
            "tasks",
            f"{name}: {counted(counts.test, 'test example')}{what}: an interval of up to "
            f"±{100 * counts.half_width:.0f} points",
            f"{ENOUGH} examples{' of the rarer outcome' if is_pip else ''} give ±5 points: a longer log, or a larger "
            "--holdout",
        )
    return None


def _more_data(counts: TaskCounts) -> str:
    if counts.task == Task.PIP and not counts.training:
        return "an example begins with 5 interactions without a purchase: map also what comes before purchases"
    if counts.task == Task.NIP:
        return "an example needs a product that follows another one and occurs often enough: take a longer log"
    no_purchase = ", none of the first 5 a purchase" if counts.task == Task.PIP else ""
    return f"an example needs a session of more than 5 interactions{no_purchase}: take a longer log"
