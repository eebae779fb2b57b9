"""Sessions of a request to answers: one version a session, or two whose lists are drafted into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

from indexer.search.answer import Answer
from indexer.search.query import Query, Timings
from indexer.search.ranking import Rules
from indexer.service.engine.engine import Engine
from indexer.service.experiments.experiment import Experiment
from indexer.service.experiments.team_draft import team_draft
from indexer.service.http.answers.answer_sources import SourceChooser, Sources
from indexer.service.http.answers.shown_answers import GivenAnswer, new_answer_id
from ubm_embed.data.session import Interaction, Session


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """What a request wants for each of its sessions, as in `Query`."""

    k: int
    rules: Rules
    negatives: tuple[Interaction, ...] = ()
    explain: bool = False

    def query(self, session: Session, rules: Rules) -> Query:
        """The query for a session under an arm's rules."""
        return Query(session, self.k, rules, self.explain, self.negatives)


@dataclass(frozen=True, slots=True)
class AnsweredSessions:
    """The answers of a request, one for each session, and where their time went."""

    answers: list[GivenAnswer]
    timings: Timings


async def answer_sessions(
    engine: Engine,
    experiment: Experiment | None,
    sessions: Sequence[Session],
    options: QueryOptions,
    arrival: float | None = None,
) -> AnsweredSessions:
    """The answers to sessions.

    Args:
        arrival: of the request, as of `Engine.answer`.

    Raises:
        Overloaded, InvalidData: as of `Engine.answer`.
    """
    chooser = SourceChooser(experiment, options.rules)
    chosen = [chooser.of(session.session_id) for session in sessions]
    queries: dict[int | None, list[Query]] = {}
    for session, sources in zip(sessions, chosen, strict=True):
        for version, rules in sources.sources:
            queries.setdefault(version, []).append(options.query(session, rules))
    timings, by_version = Timings(), {}
    for version, part in queries.items():  # in turn: one thread answers them all
        answered = await engine.answer(part, pinned=version, arrival=arrival)
        by_version[version] = iter(answered.answers)
        timings = answered.timings if len(queries) == 1 else _sum(timings, answered.timings)
    answers = [[next(by_version[source.version]) for source in sources.sources] for sources in chosen]
    return AnsweredSessions(
        [_given(sources, part, options.k) for sources, part in zip(chosen, answers, strict=True)], timings
    )


def _given(sources: Sources, answers: Sequence[Answer], k: int) -> GivenAnswer:
    answer_id = new_answer_id()
    if len(answers) == 1:
        return GivenAnswer(answers[0], answer_id, sources.arm)
    first, second = answers
    drafted = team_draft(first.matches, second.matches, k, answer_id)
    return GivenAnswer(replace(first, matches=drafted.matches), answer_id, sources.arm, drafted.teams)


def _sum(first: Timings, second: Timings) -> Timings:
    return Timings(*(one + other for one, other in zip(astuple(first), astuple(second), strict=True)))
