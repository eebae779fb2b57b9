"""Figure 4: sessions alone, by category and beside it by behaviour and by length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from indexer.diagnostics.maps.projection import MapMethod, Projection, project
from indexer.diagnostics.maps.sessions import MappedSessions
from indexer.diagnostics.report import Chart, ChartKind
from ubm_embed.wording import counted

_GOOD = "patches of one colour by category, some by behaviour, none by length"
_REMEDY = (
    "patches by category alone: for what a shopper wants to do, ask a head (`ubm-embed finetune pip`), not neighbours. "
    "Patches by length: sessions are near others of their length before anything else; `ubm-embed finetune nip` moves "
    "them to the products that come next"
)


def session_map(sessions: MappedSessions, method: MapMethod, seed: int) -> Chart | None:
    """The chart, whose panels differ in their colours only; None if all sessions are of one kind."""
    kinds = sessions.groups()
    if not kinds:
        return None
    projection = project(sessions.vectors, method, seed)
    rows = [row for name, groups in kinds.items() for row in _rows(f"by {name}", sessions, projection, groups)]
    title = f"{counted(len(sessions.vectors), 'session')} by {listed(kinds)} ({projection.words})"
    return Chart(
        name="session_map",
        kind=ChartKind.MAP,
        title=title,
        rows=rows,
        good=_GOOD,
        remedy=_REMEDY,
        x=projection.axes[0],
        y=projection.axes[1],
    )


def _rows(
    name: str, sessions: MappedSessions, projection: Projection, groups: Sequence[str | None]
) -> list[dict[str, Any]]:
    return [
        {"name": name, "x": x, "y": y, "subject": "session", "label": label, "category": group}
        for (x, y), label, group in zip(projection.plane.tolist(), sessions.labels, groups, strict=True)
    ]


def listed(names: Iterable[str]) -> str:
    """Names as a sentence has them: "a, b and c"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
