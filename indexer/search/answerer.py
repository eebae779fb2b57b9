"""Queries to answers: what happens between the limits of a request and its matches.

Letters: B queries, K matches, D width.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from indexer.search.answer import Answer, Match, Reason
from indexer.search.bound_rules import rules_key
from indexer.search.candidate_source import NO_BONUSES, Bonuses
from indexer.search.matcher import Hits, Matcher
from indexer.search.negatives import Negatives
from indexer.search.prediction import Prediction, Predictors
from indexer.search.query import Query, Timings
from indexer.search.ranking import Rules
from indexer.search.reasons import reasons_for
from indexer.search.resolution import UNREADABLE, ResolvedSession, SessionResolver, as_read
from indexer.search.shown_products import ShownProduct, ShownProducts
from indexer.search.sources import NO_SOURCES, Sources
from indexer.versions.revision import Revision
from indexer.versions.version import StoreVersion
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.session import Action, Interaction, Product
from ubm_embed.inference.embedder import Embedder

# Excluded ids up to this number are left out of a query's candidates, as the products of its session are. More become a
# mask over all products: a millisecond for a million, which pays where many requests exclude the same.
_MAX_HIDDEN_IDS = 64
_NO_HITS = Hits()
# No model predicts anything about a session in which nothing can be read.
_NO_PREDICTION = Prediction()


@dataclass(slots=True)
class _Asked:
    """A query on its way to an answer.

    Attributes:
        rules: those of the query, without ids that are hidden.
        hidden: positions of products that must not match.
        vector: [D]; None if nothing of the session can be read.
        bonuses: what is added to cosines.
    """

    k: int
    rules: Rules
    session: ResolvedSession
    hidden: frozenset[int]
    vector: FloatArray | None = None
    bonuses: Bonuses = NO_BONUSES
    negatives: Negatives | None = None
    prediction: Prediction = _NO_PREDICTION
    hits: Hits = _NO_HITS
    reasons: Sequence[tuple[Reason, ...]] | None = None

    @property
    def unknown(self) -> tuple[str, ...]:
        """Ids of the query that the version does not know, each once."""
        if self.negatives is None:
            return self.session.unknown
        return tuple(dict.fromkeys((*self.session.unknown, *self.negatives.unknown)))

    def matches(self, shown: Iterator[ShownProduct]) -> tuple[Match, ...]:
        """The hits, with the next products that are shown."""
        hits = self.hits
        reasons: Sequence[tuple[Reason, ...] | None] = self.reasons or [None] * len(hits.positions)
        ranked = enumerate(zip(hits.scores, reasons, strict=True), start=1)
        return tuple(_match(rank, score, next(shown), why) for rank, (score, why) in ranked)


class Answerer:
    """Answers queries from the parts of one version. Several threads may ask at once.

    Args:
        before: of the same model, predictors and files; what it remembers of products that did not change is shared.
        sources: what names candidates for sessions, besides the vectors.
    """

    def __init__(
        self,
        version: StoreVersion,
        embedder: Embedder,
        matcher: Matcher,
        predictors: Predictors,
        revision: Revision | None = None,
        before: Answerer | None = None,
        sources: Sources = NO_SOURCES,
    ) -> None:
        self.matcher = matcher
        self._sources = sources
        self._version, self._embedder, self._predictors = version, embedder, predictors
        self._revision = 0 if revision is None else revision.number
        catalogue = matcher.catalogue
        if before is not None:
            self._resolver: SessionResolver = before._resolver.over(catalogue)
            self._shown: ShownProducts = before._shown.over(catalogue)
            return
        readers = (embedder, *(predictor.embedder for predictor in predictors.by_task.values()))
        reads_removals = all(reader.tokenizer.reads_removals for reader in readers)
        self._resolver = SessionResolver(catalogue, reads_removals=reads_removals)
        self._shown = ShownProducts(catalogue)

    def answer(self, queries: Sequence[Query], timings: Timings) -> list[Answer]:
        """One answer for each of B queries, which are resolved, read and searched at once."""
        clock = _Clock(timings)
        sessions = self._resolver.resolve([query.session for query in queries])
        clock.lap("resolve")
        sessions = as_read(sessions, self._embedder)
        clock.lap("tokenise")
        asked = list(map(self._asked, queries, sessions))
        self._read([one for one in asked if one.session.fallback is None])
        clock.lap("encode")
        self._search(asked)
        for one, query in zip(asked, queries, strict=True):
            if query.explain:
                self._explain(one)
        clock.lap("search")
        return self._answers(asked, clock)

    def similar(
        self, product: Product, k: int, rules: Rules, *, vector: FloatArray | None = None, itself: int | None = None
    ) -> Answer:
        """The products most like one, with predictions for a session of it alone.

        Args:
            vector: of the product, [D]; by default that of its text.
            itself: its position, if the catalogue has it; it does not match.
        """
        clock = _Clock(Timings())
        rules, hidden = self._hidden(rules, frozenset(() if itself is None else (itself,)))
        one = _Asked(k, rules, ResolvedSession(), hidden)
        if self._embedder.tokenise([Interaction(Action.VIEW, product=product)])[0].has_words:
            one.vector = self._embedder.embed_product(product) if vector is None else vector
            one.prediction = self._predictors.predict_product(product)
        else:
            one.session = ResolvedSession(fallback=UNREADABLE)
        if vector is None:
            one.bonuses = self._sources.of_product(rules, product)
        self._search([one])
        return self._answers([one], clock)[0]

    def num_unread(self, query: Query) -> int:
        """How many interactions of a query will cost a pass of the model, since they are not cached."""
        return self._resolver.num_unread(self._recent(query), self._embedder) + _num_inline(query.negatives)

    def max_unread(self, query: Query) -> int:
        """As `num_unread`, but nothing is looked up for it: at most as many."""
        return self._resolver.max_unread(self._recent(query), self._embedder) + _num_inline(query.negatives)

    def _recent(self, query: Query) -> Sequence[Interaction]:
        """About those that the model reads."""
        return query.session.interactions[-self._embedder.max_interactions :]

    def has_compiled(self, rules: Rules) -> bool:
        """Whether rules are compiled, so that they cost a search and nothing else."""
        return self.matcher.has_compiled(_without_exclude(rules) if _are_hidden(rules.exclude) else rules)

    def _asked(self, query: Query, session: ResolvedSession) -> _Asked:
        rules, hidden = self._hidden(query.rules, session.seen if query.rules.exclude_seen else frozenset())
        one = _Asked(query.k, rules, session, hidden, bonuses=self._sources.of_session(rules, session))
        if query.negatives:
            index, catalogue = self.matcher.index, self.matcher.catalogue
            one.negatives = Negatives.read(query.negatives, catalogue, index, self._embedder)
            one.hidden |= one.negatives.positions
        return one

    def _hidden(self, rules: Rules, hidden: frozenset[int]) -> tuple[Rules, frozenset[int]]:
        """Rules without their excluded ids, and the positions of these added to what is hidden; if they are few."""
        if not _are_hidden(rules.exclude):
            return rules, hidden
        return _without_exclude(rules), hidden.union(self.matcher.catalogue.find(rules.exclude).values())

    def _read(self, asked: Sequence[_Asked]) -> None:
        """Let the models read sessions of which something can be read."""
        if not asked:
            return
        limit = self._embedder.max_interactions
        vectors = self._embedder.embed_tokens([one.session.last_tokens(limit) for one in asked])
        for one, vector in zip(asked, vectors, strict=True):
            one.vector = vector if one.negatives is None else one.negatives.move(vector[None])[0]
        if self._predictors.by_task:
            predictions = self._predictors.predict_sessions([one.session.session for one in asked])
            for one, prediction in zip(asked, predictions, strict=True):
                one.prediction = prediction

    def _search(self, asked: Sequence[_Asked]) -> None:
        """Find the matches: those that share their rules are searched for at once."""
        groups: dict[Hashable, list[tuple[_Asked, FloatArray]]] = {}
        for one in asked:
            if one.vector is None:
                one.hits = self.matcher.popular(one.k, one.hidden, one.rules, one.bonuses)
            else:
                key = one.k, one.rules.diversity, rules_key(one.rules)
                groups.setdefault(key, []).append((one, one.vector))
        for group in groups.values():
            first, hidden = group[0][0], [one.hidden for one, _ in group]
            vectors, bonuses = np.stack([vector for _, vector in group]), [one.bonuses for one, _ in group]
            found = self.matcher.nearest(vectors, first.k, hidden, first.rules, bonuses)
            for (one, _), hits in zip(group, found, strict=True):
                one.hits = hits

    def _explain(self, one: _Asked) -> None:
        """Say why each match is one, if the model chose them."""
        if one.vector is None:
            return
        positions = one.hits.positions
        counted = self._sources.counted(one.rules, one.session, positions)
        products = self.matcher.catalogue.products(positions)
        matches = [products[position] for position in positions]
        vectors = self.matcher.index.vectors(np.array(positions, np.int64))
        move = None if one.negatives is None else one.negatives.move
        one.reasons = reasons_for(self._embedder, one.session.session, one.vector, matches, vectors, move, counted)

    def _answers(self, asked: Sequence[_Asked], clock: _Clock) -> list[Answer]:
        shown = iter(self._shown.at([position for one in asked for position in one.hits.positions]))
        matches = [one.matches(shown) for one in asked]
        clock.lap("rows")
        return [
            Answer(
                session_id=one.session.session_id,
                version=self._version.version,
                revision=self._revision,
                model_id=self._version.model_id,
                fallback=self._fallback(one),
                unknown=one.unknown,
                took_ms=clock.took_ms,
                matches=matches[row],
                purchase_intention=one.prediction.purchase_intention,
                remaining_length=one.prediction.remaining_length,
            )
            for row, one in enumerate(asked)
        ]

    def _fallback(self, one: _Asked) -> str | None:
        fallback = one.session.fallback
        if fallback is None or one.hits.positions or self.matcher.catalogue.popular.size:
            return fallback
        return f"{fallback}; no popularity is known, so there is nothing to answer with"


class _Clock:
    """Adds the time since the last lap to a part of the timings."""

    def __init__(self, timings: Timings) -> None:
        self._timings = timings
        self._started = self._last = time.perf_counter()

    def lap(self, part: Literal["resolve", "tokenise", "encode", "search", "rows"]) -> None:
        now = time.perf_counter()
        setattr(self._timings, part, getattr(self._timings, part) + now - self._last)
        self._last = now

    @property
    def took_ms(self) -> float:
        """Milliseconds from the start to the last lap."""
        return (self._last - self._started) * 1000


def _num_inline(negatives: Sequence[Interaction]) -> int:
    """Those given in full, whose vectors are not cached."""
    return sum(one.product is not None for one in negatives)


def _are_hidden(excluded: frozenset[str]) -> bool:
    return 0 < len(excluded) <= _MAX_HIDDEN_IDS


def _without_exclude(rules: Rules) -> Rules:
    return rules.model_copy(update={"exclude": frozenset()})


def _match(rank: int, score: float | None, shown: ShownProduct, reasons: tuple[Reason, ...] | None) -> Match:
    return Match(rank, shown.product_id, score, shown.title, shown.category, shown.fields, reasons)
