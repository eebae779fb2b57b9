"""The section on answers of sampled sessions: how good, how varied, how popular, and what the index misses."""

from __future__ import annotations

import numpy as np

from indexer.diagnostics.answers.accuracy import TargetRanks, accuracy_findings, accuracy_metrics, frequency_chart
from indexer.diagnostics.answers.modality_gap import gap_metrics
from indexer.diagnostics.answers.popularity_groups import PopularityGroups
from indexer.diagnostics.answers.recall import (
    MIN_RECALL,
    OF_REQUESTED,
    RecallSample,
    found_neighbours,
    recall_chart,
    recall_findings,
    recall_metrics,
)
from indexer.diagnostics.answers.retrieval import ANSWERS, popular_answers, ranks_in, scan, visible_answers
from indexer.diagnostics.answers.session_queries import SessionQueries, session_queries
from indexer.diagnostics.answers.variety import Answers, answered_table, variety_findings, variety_metrics
from indexer.diagnostics.report import Section
from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import Space, VersionSpace
from indexer.index.backend import Neighbours
from indexer.index.recall import candidate_scores
from indexer.index.vector_index import VectorIndex
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray
from ubm_embed.progress import Progress, silent

_TITLE = "Answers of sampled sessions"


def answers_section(
    space: Space,
    index: VectorIndex | None,
    sample: SessionSample,
    settings: DiagnosisSettings,
    progress: Progress = silent,
) -> Section:
    """Section "answers".

    Args:
        index: the live one; None to search all vectors of the space instead.
    """
    queries = session_queries(space, sample)
    if not len(queries):
        note = "no session of the corpus holds two products of this space: there was nothing to ask for"
        return Section(name="answers", title=_TITLE, notes=(note,))
    rounds, seed = settings.rounds, settings.seed
    answers, targets = _answers(space, index, queries, unseen=sample.unseen)
    groups = PopularityGroups.of_counts(queries.counts)
    rows = groups.sample(settings.queries, np.random.default_rng([seed, 6]))
    vectors = space.vectors(rows)
    exact = scan(space, np.concatenate([queries.vectors, vectors]), ANSWERS + 1, progress)
    of_sessions = exact.nearest.part(slice(len(queries)), slice(ANSWERS))
    of_products = exact.nearest.part(slice(len(queries), None))
    metrics = [
        *accuracy_metrics(targets, rounds, seed),
        *variety_metrics(space, answers, rounds, seed),
        *gap_metrics(
            queries.vectors,
            exact.centroid,
            of_sessions.scores[:, 0],
            _nearest_other(of_products, rows),
            groups.weights(rows),
            rounds=rounds,
            seed=seed,
        ),
    ]
    charts, findings = [frequency_chart(targets)], [*variety_findings(answers, len(space))]
    if index is not None:
        found = _found(space, of_products, vectors, index.search(vectors, ANSWERS + 1).positions)
        session_found = _found(space, of_sessions, queries.vectors, answers.nearest)
        recall = RecallSample(groups, rows, of_products.positions, found, of_sessions.positions, session_found)
        limit, by_group = _min_recall(space), recall.by_group(rounds, seed)
        measured = recall_metrics(recall, rounds, seed)
        metrics += measured
        charts.append(recall_chart(by_group, limit))
        findings += recall_findings(measured, by_group, limit)
    if not findings:  # each of them would explain it
        findings += accuracy_findings(targets, rounds, seed)
    return Section(
        name="answers",
        title=_TITLE,
        metrics=tuple(metrics),
        tables=(answered_table(space, answers),),
        charts=tuple(charts),
        findings=tuple(findings),
        notes=tuple(_notes(sample, queries)),
    )


def _answers(
    space: Space, index: VectorIndex | None, queries: SessionQueries, *, unseen: bool
) -> tuple[Answers, TargetRanks]:
    search = (index or VectorIndex.build(space.batches(), expected=len(space))).search
    rows = visible_answers(search, queries.vectors, queries.held)
    most_held = max(held.size for held in queries.held)
    popular = popular_answers(queries.popular(ANSWERS + most_held), queries.held)
    answers = Answers(queries, rows, search(queries.vectors, ANSWERS).positions, popular)
    counts = queries.counts[queries.targets]
    return answers, TargetRanks(ranks_in(rows, queries.targets), ranks_in(popular, queries.targets), counts, unseen)


def _nearest_other(nearest: Neighbours, own: IntArray) -> FloatArray:
    """The score of each product's nearest other one: [Q]."""
    is_itself = nearest.positions[:, 0] == own
    scores: FloatArray = np.where(is_itself, nearest.scores[:, 1], nearest.scores[:, 0])
    return scores


def _found(space: Space, exact: Neighbours, queries: FloatArray, positions: IntArray) -> BoolArray:
    """Which of the exact nearest a search found; the vectors of the index are not trusted."""
    distinct, which = np.unique(positions, return_inverse=True)
    vectors = space.vectors(distinct)[which].reshape(*positions.shape, -1)
    return found_neighbours(exact, positions, candidate_scores(queries, vectors))


def _min_recall(space: Space) -> float:
    requested = space.opened.version.index_request.recall if isinstance(space, VersionSpace) else None
    return MIN_RECALL if requested is None else min(MIN_RECALL, OF_REQUESTED * requested)


def _notes(sample: SessionSample, queries: SessionQueries) -> list[str]:
    notes = [f"sessions: {len(queries):,} of {sample.total:,}, drawn from {sample.rule}"]
    if not sample.unseen:
        notes.append("training may have read these sessions: hit@10 and NDCG@10 are then flattered")
    if not queries.counts.any():
        notes.append("no other session chose a product of this space: nothing is known about popularity")
    return notes
