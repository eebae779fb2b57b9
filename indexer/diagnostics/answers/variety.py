"""How varied answers are, how popular, and whether all sessions get the same ones.

Letters: B sessions, K products of an answer, M products, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.diagnostics.answers.retrieval import ANSWERS
from indexer.diagnostics.answers.session_queries import SessionQueries
from indexer.diagnostics.bootstrapped import bootstrapped_metrics
from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.report import Better, Metric, Table
from indexer.diagnostics.space import Space, title_of
from ubm_embed.data.arrays import IntArray
from ubm_embed.evaluation.beyond_accuracy import (
    categorical_diversity,
    coverage,
    exposure,
    gini,
    intra_list_diversity,
    novelty,
    popularity_lift,
    surprisal,
    unexpectedness,
)

# The same ten products for everybody fill nearly all places, since only those that a session holds give way. Of models
# that tell sessions apart they filled 0.04 to 0.08 (3,800 products) and 0.01 (a million). Half of the places that they
# need not fill in any case lies far from both.
_SAME = 0.5
# Of fewer products, ten are a large part of all whatever a model does.
_MIN_PRODUCTS = 10 * ANSWERS
_MIN_SESSIONS = 20


@dataclass(frozen=True)
class Answers:
    """The answers of B sessions.

    Attributes:
        rows: of the products, without those that the session holds, [B, K]; -1 where there are no more.
        nearest: the ten nearest, with those that the session holds, [B, K].
        popular: the ten most popular that the session does not hold, [B, K].
    """

    queries: SessionQueries
    rows: IntArray
    nearest: IntArray
    popular: IntArray

    @property
    def measured_on(self) -> str:
        """In words."""
        return f"{(self.rows >= 0).sum():,} answers to {len(self.rows):,} sessions"


def variety_metrics(space: Space, answers: Answers, rounds: int, seed: int) -> Iterator[Metric]:
    """Figures of all answers together, then means over sessions with their intervals."""
    yield from _of_the_whole(answers, len(space))
    means, bias = _per_session(space, answers), _bias(answers)

    def measure(drawn: IntArray) -> dict[str, float]:
        measured = {name: float(values[drawn].mean()) for name, values in means.items()}
        return measured if bias is None else measured | {"popularity_bias": bias(drawn)}

    yield from bootstrapped_metrics(
        measure, len(answers.rows), _MEANINGS, answers.measured_on, rounds=rounds, seed=seed, shares=_SHARES
    )


_SHARES = {"novelty", "unexpectedness"}
_MEANINGS: dict[str, tuple[Better | None, str]] = {
    "novelty": (None, "share of the ten nearest that a session does not hold yet, before what it holds is left out"),
    "surprisal": (None, "0 if every session holds the products that are answered, 1 if next to none does"),
    "unexpectedness": (None, "share of the ten places that the most popular products do not fill"),
    "intra_list_diversity": (None, "mean of 1 - cosine between the products of an answer: near 0, all are alike"),
    "categorical_diversity": (None, "number of categories in an answer, over ten"),
    "popularity_bias": (
        None,
        "how much more popular answers are than what their sessions hold: 0 is as popular, 1 twice as popular",
    ),
}


def _of_the_whole(answers: Answers, products: int) -> Iterator[Metric]:
    shown = exposure(answers.rows, products)
    places, interacted = int(shown.sum()), answers.queries.counts > 0
    most, least = min(places, products) / products, max(1 - places / products, 0.0)
    yield Metric(
        name="coverage",
        value=coverage(answers.rows, np.ones(products, dtype=bool)),
        measured_on=answers.measured_on,
        better=Better.HIGHER,
        meaning=f"share of the {products:,} products that is answered at least once; {most:.3g} is the most possible",
    )
    if interacted.any():
        yield Metric(
            name="coverage_of_interacted",
            value=coverage(answers.rows, interacted),
            measured_on=answers.measured_on,
            better=Better.HIGHER,
            meaning=f"share of the {int(interacted.sum()):,} products that other sessions hold",
        )
    yield Metric(
        name="gini",
        value=gini(shown),
        measured_on=answers.measured_on,
        better=Better.LOWER,
        meaning=f"how unevenly products are answered: 1 if a few get everything; {least:.3g} is the least possible",
    )
    yield Metric(
        name="top_ten_share",
        value=_top_ten(shown)[1],
        measured_on=answers.measured_on,
        better=Better.LOWER,
        meaning="share of the answers that the same ten products fill: near 1, every session gets the same",
    )


def _per_session(space: Space, answers: Answers) -> dict[str, NDArray[np.float64]]:
    queries, rows = answers.queries, answers.rows
    known = np.stack([np.isin(near, held) for near, held in zip(answers.nearest, queries.held, strict=True)])
    distinct, which = np.unique(np.maximum(rows, 0), return_inverse=True)
    vectors = space.vectors(distinct)[which].reshape(*rows.shape, -1)
    means = {
        "novelty": novelty(answers.nearest, known),
        "intra_list_diversity": intra_list_diversity(vectors, rows >= 0),
    }
    if queries.counts.any():
        means["unexpectedness"] = unexpectedness(rows, answers.popular)
        if queries.total > 1:
            means["surprisal"] = surprisal(rows, queries.sessions_of, queries.total)
    codes, names = space.categories()
    if names:
        means["categorical_diversity"] = categorical_diversity(np.where(rows >= 0, codes[rows], -1))
    return means


def _bias(answers: Answers) -> Callable[[IntArray], float] | None:
    """Popularity lift over some sessions; None if nobody chose what they hold."""
    counts, rows = answers.queries.counts, answers.rows
    given = rows >= 0
    totals = np.where(given, counts[np.maximum(rows, 0)], 0).sum(axis=1)
    of_answers = totals / np.maximum(given.sum(axis=1), 1)
    of_sessions = np.array([counts[held].mean() if held.size else 0.0 for held in answers.queries.held])
    if not of_sessions.any():
        return None
    return lambda drawn: popularity_lift(of_answers[drawn], of_sessions[drawn])


def _top_ten(shown: NDArray[np.int64]) -> tuple[IntArray, float]:
    """The ten products that are answered most often, and the share of all answers that they fill."""
    top = np.argsort(-shown, kind="stable")[:ANSWERS]
    return top, float(shown[top].sum() / max(int(shown.sum()), 1))


def answered_table(space: Space, answers: Answers) -> Table:
    """The products that are answered most often."""
    top, _ = _top_ten(exposure(answers.rows, len(space)))
    sessions = (answers.rows[:, :, None] == top).any(axis=1).mean(axis=0)
    counts = answers.queries.counts[top]
    names = [title_of(product) for product in space.products(top)]
    return Table(
        name="most_answered",
        caption="The products that most sessions get.",
        columns=("product", "share of sessions", "chosen in other sessions"),
        rows=[
            (name, round(float(share), 3), int(count))
            for name, share, count in zip(names, sessions, counts, strict=True)
            if share
        ],
    )


def variety_findings(answers: Answers, products: int) -> Iterator[Finding]:
    """Whether all sessions get the same answers: the popular ones, or hubs."""
    top, share = _top_ten(exposure(answers.rows, products))
    free = 1 - ANSWERS / products
    if products < _MIN_PRODUCTS or len(answers.rows) < _MIN_SESSIONS or share <= 1 - free * (1 - _SAME):
        return
    most_popular = answers.queries.popular(ANSWERS)
    popular = int(np.isin(top, most_popular).sum())
    problem = f"the same ten products fill {share:.0%} of the answers to {len(answers.rows):,} sessions"
    if 2 * popular > ANSWERS:
        yield Finding(
            Fault.POPULARITY_ONLY,
            Severity.WARNING,
            "answers",
            f"{problem}, {popular} of them among the ten most popular: what a shopper does hardly matters",
            "train longer or on more sessions: `ubm-embed finetune nip --model DIR --corpus DIR --out DIR`; until then "
            "a list of popular products does as well",
        )
    else:
        yield Finding(
            Fault.HUBS,
            Severity.WARNING,
            "answers",
            f"{problem}, and {ANSWERS - popular} of them are not among the ten most popular",
            "train the model anew; look at uniformity and hubness first, which tell whether it has collapsed",
        )
