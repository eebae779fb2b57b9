"""Do sessions stand together by what they are about, by what shoppers do (figure 4), or by their length?

The paper's figure 4 shows two sessions of one behaviour in different categories near each other, and one of another
behaviour further away. Over many sessions that is the assortativity of their nearest neighbours: by category, by
behaviour and by length. It is measured on the full vectors, not on the map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from indexer.diagnostics.maps.sessions import MappedSessions
from indexer.diagnostics.report import Metric
from indexer.diagnostics.settings import DiagnosisSettings
from ubm_embed.evaluation.assortativity import assortativity, assortativity_interval
from ubm_embed.evaluation.nearest import NearestOthers
from ubm_embed.wording import counted

_NEIGHBOURS = 10
# Below this, ten neighbours of a session are a good part of all.
MIN_SESSIONS = 50
_MEANING = (
    "how far the {neighbours} nearest sessions of a session are of its {kind} (assortativity): 0 as by chance, 1 all; "
    "{hint}"
)
_HINTS = {
    "category": "a model that reads products by their texts is far above 0",
    "behaviour": "near 0 neighbours agree in what a visit is about, not in what the shopper does, which a head reads "
    "(`finetune pip`)",
    "length": "near 1 neighbours agree in how long a session is before they agree in anything else",
}


def separation(sessions: MappedSessions, settings: DiagnosisSettings) -> Iterator[Metric]:
    """The assortativity by category, behaviour and length, where there are several of these."""
    for kind, groups in sessions.groups().items():
        rows = [row for row, group in enumerate(groups) if group is not None]
        if len(rows) >= MIN_SESSIONS:
            yield from _metric(kind, sessions, rows, [str(groups[row]) for row in rows], settings)


def _metric(
    kind: str, sessions: MappedSessions, rows: Sequence[int], labels: Sequence[str], settings: DiagnosisSettings
) -> Iterator[Metric]:
    neighbours = NearestOthers.find(sessions.vectors[list(rows)], _NEIGHBOURS).rows
    value = assortativity(labels, neighbours)
    if value is not None:
        yield Metric(
            name=f"session_separation_by_{kind}",
            value=value,
            interval=assortativity_interval(labels, neighbours, rounds=settings.rounds, seed=settings.seed),
            measured_on=f"{counted(len(labels), 'session')} of {counted(len({*labels}), 'group')}",
            meaning=_MEANING.format(neighbours=_NEIGHBOURS, kind=kind, hint=_HINTS[kind]),
        )
