"""How alike two versions answer the same sessions: each reads them by its own model and searches its own index.

Letters: B sessions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.diagnostics.bootstrapped import bootstrapped_metrics
from indexer.diagnostics.changes.commands import diagnosis_of, rollback_to
from indexer.diagnostics.changes.share_histogram import histogram
from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.report import Better, Chart, ChartKind, Metric, Table
from indexer.diagnostics.space import VersionSpace
from indexer.refresh.settings import GateLimits
from indexer.search.answer import Answer
from indexer.search.retriever import Retriever
from ubm_embed.data.arrays import evenly_spaced
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.evaluation.rank_overlap import PERSISTENCE, rank_biased_overlap
from ubm_embed.progress import Progress, silent
from ubm_embed.wording import visible

_K = 10
# A mean of shares is known to within 0.07 of either side with this many, and mostly far better.
_MAX_SESSIONS, _SESSIONS_AT_ONCE = 200, 50
_SHOWN, _IN_WORDS = 8, 3


@dataclass(frozen=True)
class SessionAnswers:
    """The answers of two versions to the same sessions: B of each."""

    before: VersionSpace
    after: VersionSpace
    titles: dict[str, str]
    sessions: Sequence[Session]
    old: Sequence[Answer]
    new: Sequence[Answer]

    @classmethod
    def ask(cls, before: VersionSpace, after: VersionSpace, corpus: Corpus, progress: Progress = silent) -> Self:
        """Let both versions answer the sessions of a corpus, or 200 of them, evenly spaced."""
        sessions = [*_sessions(corpus)]
        sessions = [sessions[one] for one in evenly_spaced(len(sessions), _MAX_SESSIONS).tolist()]
        titles = dict(corpus.products.select("product_id", pl.col("title").fill_null("")).iter_rows())
        old, new = (_answers(space, sessions, progress) for space in (before, after))
        return cls(before, after, titles, sessions, old, new)

    @cached_property
    def overlaps(self) -> NDArray[np.float64]:
        """Rank-biased overlap of the two answers to each session: [B]."""
        pairs = zip(self.old, self.new, strict=True)
        return np.array([rank_biased_overlap(_ids(old), _ids(new)) for old, new in pairs])

    def metric(self, *, rounds: int, seed: int) -> Metric:
        """`answer_overlap`."""
        overlaps = self.overlaps
        meaning = (
            f"rank-biased overlap (p = {PERSISTENCE:g}) of the first {_K} products that both versions answer with: 1 "
            "if they are the same in the same order; above 0.9 after a usual night"
        )
        (metric,) = bootstrapped_metrics(
            lambda drawn: {"answer_overlap": float(overlaps[drawn].mean())},
            overlaps.size,
            {"answer_overlap": (Better.HIGHER, meaning)},
            f"{overlaps.size:,} sessions",
            rounds=rounds,
            seed=seed,
        )
        return metric

    @property
    def read_alike(self) -> bool:
        """Whether one model read the sessions for both."""
        return self.before.opened.version.model_id == self.after.opened.version.model_id

    def findings(self, metric: Metric, limits: GateLimits) -> list[Finding]:
        """A finding if the overlap is below its limit with all of its interval.

        Answers are neighbours of sessions: as many must be kept as the gate `neighbours` wants of products. Another
        model is meant to answer differently, so that is only noted.
        """
        assert metric.interval is not None
        limit = limits.min_overlap if self.read_alike else limits.min_overlap_of_another_model
        if metric.interval[1] >= limit:
            return []
        severity = Severity.WARNING if self.read_alike else Severity.NOTE
        overlap = f"a rank-biased overlap of {metric.value:.2f} (at least {limit:g} expected)"
        remedy = (
            f"read them side by side, and compare hit@10 with that of {diagnosis_of(self.before)}; "
            f"if it got worse, go back: {rollback_to(self.before)}"
        )
        return [
            Finding(Fault.CHANGED_RESULTS, severity, "changes", f"answers to the same sessions have {overlap}", remedy)
        ]

    def table(self) -> Table:
        """The sessions whose answers changed most, and what each version answers."""
        rows = [self._row(one) for one in np.argsort(self.overlaps, kind="stable")[:_SHOWN].tolist()]
        caption = f"The first {_IN_WORDS} of {_K} products that each version answers with, where they changed most."
        return Table("answers", caption, ("session", "overlap", self.before.name, self.after.name), rows)

    def _row(self, one: int) -> tuple[str, float, str, str]:
        overlap, session = round(float(self.overlaps[one]), 3), self.sessions[one]
        return self._in_words(session), overlap, _titles(self.old[one]), _titles(self.new[one])

    def _in_words(self, session: Session) -> str:
        """Its last interactions."""
        shown = session.interactions[-_IN_WORDS:]
        subjects = [one.query or self.titles.get(one.product_id or "") or one.product_id for one in shown]
        words = "; ".join(
            f"{one.action} {visible(subject or '')}" for one, subject in zip(shown, subjects, strict=True)
        )
        return f"...; {words}" if len(session.interactions) > _IN_WORDS else words

    def chart(self) -> Chart:
        """How many sessions have how alike answers."""
        return Chart(
            name="answer_overlap",
            kind=ChartKind.HISTOGRAM,
            title="How alike both versions answer the same sessions",
            rows=histogram(self.overlaps),
            good="nearly all sessions stand on the right, at 1; another model may move all of them",
            remedy="read the sessions whose answers changed most side by side, in the table",
            x="rank-biased overlap",
            y="sessions",
        )


def _sessions(corpus: Corpus) -> Iterator[Session]:
    columns = ["session_id", "action", "product_id", "query"]
    for _, rows in corpus.interactions.select(columns).group_by("session_id", maintain_order=True):
        interactions = [
            Interaction(Action(row["action"]), row["product_id"], None, row["query"])
            for row in rows.iter_rows(named=True)
        ]
        yield Session(tuple(interactions), rows["session_id"][0])


def _answers(space: VersionSpace, sessions: Sequence[Session], progress: Progress) -> list[Answer]:
    opened = space.opened
    # Not closed: the files are those of the space.
    retriever = Retriever(opened.version, opened.embedder, opened.index, opened.catalogue)
    answers: list[Answer] = []
    for first in range(0, len(sessions), _SESSIONS_AT_ONCE):
        answers += retriever.recommend_many(sessions[first : first + _SESSIONS_AT_ONCE], _K)
        progress(f"answering sessions with {space.name}", len(answers), len(sessions))
    return answers


def _ids(answer: Answer) -> list[str]:
    return [match.product_id for match in answer.matches]


def _titles(answer: Answer) -> str:
    return "; ".join(visible(match.title or match.product_id) for match in answer.matches[:_IN_WORDS])
