"""A healthy shop gets no warning; answers that ignore the session, and an index that loses products, are named."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from indexer.diagnostics.answers.accuracy import TargetRanks, accuracy_findings, accuracy_metrics
from indexer.diagnostics.answers.answers import answers_section
from indexer.diagnostics.finding import Fault, Severity
from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import VersionSpace
from indexer.store.embedding_store import EmbeddingStore
from ubm_embed.data.arrays import unit_rows
from ubm_embed.data.corpus import Corpus

SETTINGS = DiagnosisSettings(queries=120, rounds=60)


@pytest.fixture(scope="module")
def healthy(shop):
    from indexer.index.vector_index import VectorIndex

    matrix = shop.space.matrix
    index = VectorIndex.build([matrix], expected=len(matrix))
    return answers_section(shop.space, index, shop.sample, SETTINGS)


def metrics(section):
    return {metric.name: metric.value for metric in section.metrics}


def faults(section):
    return {finding.fault for finding in section.findings if finding.severity is not Severity.NOTE}


class TestAHealthyShop:
    def test_gets_no_warning(self, healthy):
        assert healthy.findings == ()

    def test_finds_next_products_and_beats_popularity(self, healthy):
        values = metrics(healthy)
        assert values["hit_at_10"] > 0.5 > values["popularity_hit_at_10"]
        assert values["recall"] == values["session_recall"] == 1

    def test_has_intervals_around_values(self, healthy):
        for metric in healthy.metrics:
            if metric.interval is not None:
                low, high = metric.interval
                assert low - 1e-9 <= metric.value <= high + 1e-9, metric.name

    def test_draws_bars_of_both_by_frequency(self, healthy):
        chart = next(chart for chart in healthy.charts if chart.name == "hit_by_frequency")
        assert {row["name"] for row in chart.rows} == {"this model", "popularity"}
        counts = [row["count"] for row in chart.rows if row["name"] == "this model"]
        assert sum(counts) == int(healthy.metrics[0].measured_on.split()[0])

    def test_gives_the_same_report_twice(self, healthy, shop, index_of):
        again = answers_section(shop.space, index_of(shop.space.matrix), shop.sample, SETTINGS)
        assert again.to_dict() == healthy.to_dict()

    def test_without_an_index_all_vectors_are_searched(self, healthy, shop):
        exact = answers_section(shop.space, None, shop.sample, SETTINGS)
        theirs = metrics(healthy)
        assert metrics(exact) == {name: theirs[name] for name in theirs if "recall" not in name}
        assert [chart.name for chart in exact.charts] == ["hit_by_frequency"]


class TestTheSameAnswersForEverybody:
    def test_are_popularity_only_if_they_are_the_popular_products(self, shop, index_of):
        popular = shop.most_popular[:10]
        centre = unit_rows(np.ones((1, shop.space.matrix.shape[1]), np.float32))[0]
        matrix = shop.space.matrix.copy()
        matrix[popular] = unit_rows(centre + 0.05 * matrix[popular])
        space = shop.constant(centre).space
        planted = type(space)(space.embedder, space.frame, matrix)
        section = answers_section(planted, index_of(matrix), shop.sample, SETTINGS)
        assert faults(section) == {Fault.POPULARITY_ONLY}
        assert metrics(section)["top_ten_share"] > 0.9
        assert metrics(section)["unexpectedness"] < 0.2

    def test_are_hubs_if_they_are_not(self, shop, index_of):
        unpopular = shop.space.matrix[shop.most_popular[-1]]
        section = answers_section(shop.constant(unpopular).space, index_of(shop.space.matrix), shop.sample, SETTINGS)
        assert faults(section) == {Fault.HUBS}

    def test_are_hubs_in_a_space_where_all_vectors_are_alike(self, shop, index_of):
        matrix = np.repeat(shop.space.matrix[:1], len(shop.space), axis=0)
        space = type(shop.space)(shop.constant(matrix[0]).space.embedder, shop.space.frame, matrix)
        section = answers_section(space, index_of(matrix), shop.sample, SETTINGS)
        assert faults(section) == {Fault.HUBS}
        assert metrics(section)["intra_list_diversity"] == pytest.approx(0, abs=1e-5)


def test_answers_that_the_most_popular_products_would_beat_are_named(shop, index_of):
    away = copy.copy(shop.space.embedder)
    away.matrix = -shop.space.matrix  # each session is far from all that it could go on with
    section = answers_section(replace(shop.space, embedder=away), index_of(shop.space.matrix), shop.sample, SETTINGS)
    assert metrics(section)["hit_at_10"] < metrics(section)["popularity_hit_at_10"]
    assert faults(section) == {Fault.BELOW_POPULARITY}
    assert "0% of the sessions" in section.findings[0].problem


@pytest.mark.parametrize(("sessions", "named"), [(1, False), (3, False), (12, True)])
def test_a_few_sessions_prove_nothing(sessions, named):
    missed, first = np.full(sessions, np.iinfo(np.int32).max), np.ones(sessions, np.int64)
    targets = TargetRanks(missed, first, first, unseen=True)
    assert bool([*accuracy_findings(targets, 200, 0)]) == named
    (low, high) = next(accuracy_metrics(targets, 200, 0)).interval
    assert low == 0 < high


class TestAnIndexThatMissesNeighbours:
    def test_of_all_products(self, shop, index_of):
        matrix = shop.space.matrix.copy()
        lost = np.random.default_rng(0).random(len(matrix)) < 0.3
        matrix[lost] = -matrix[lost]
        section = answers_section(shop.space, index_of(matrix), shop.sample, SETTINGS)
        assert Fault.LOW_RECALL in faults(section)
        assert "products" in section.findings[0].problem

    def test_of_the_most_popular_products_only(self, shop, index_of):
        # Few of the neighbours of anything are among them, so that recall over all does not show it.
        matrix = shop.space.matrix.copy()
        popular = shop.most_popular[: len(shop.most_popular) // 10]
        matrix[popular] = -matrix[popular]
        section = answers_section(shop.space, index_of(matrix), shop.sample, SETTINGS)
        assert faults(section) == {Fault.LOW_RECALL}
        bars = next(chart for chart in section.charts if chart.name == "recall_by_popularity").rows
        by_group = {bar["group"]: bar["value"] for bar in bars}
        assert by_group["decile 10"] < 0.5 < 0.9 < by_group["decile 5"]

    def test_by_chance_alone_is_no_fault(self, shop, index_of):
        matrix = shop.space.matrix.copy()
        matrix[:3] = -matrix[:3]
        assert faults(answers_section(shop.space, index_of(matrix), shop.sample, SETTINGS)) == set()


def test_sessions_of_other_products_are_said_to_be_of_no_use(shop):
    space = shop.space
    others = type(space)(
        space.embedder, space.frame.with_columns(product_id="x" + space.frame["product_id"]), space.matrix
    )
    section = answers_section(others, None, shop.sample, SETTINGS)
    assert section.metrics == ()
    assert "nothing to ask for" in section.notes[0]


def test_progress_ends_with_all_products(shop):
    seen = []
    answers_section(shop.space, None, shop.sample, SETTINGS, lambda what, done, total: seen.append((what, done, total)))
    assert seen[-1] == ("searching all products", len(shop.space), len(shop.space))


def test_a_version_of_a_store_is_asked_through_its_own_index(store, products):
    rows = [
        (f"s{session}", position, f"p{1 + (session + position) % 8}") for session in range(40) for position in range(3)
    ]
    frame = pl.DataFrame(rows, schema=["session_id", "position", "product_id"], orient="row")
    corpus = Corpus(products, frame.with_columns(action=pl.lit("view"), query=pl.lit(None, pl.String)))
    sample = SessionSample.draw(corpus, 20, 0)
    with VersionSpace.open(EmbeddingStore.open(store)) as space:
        section = answers_section(space, space.opened.index, sample, SETTINGS)
    values = metrics(section)
    # Ten answers are all that a session does not hold.
    assert (values["hit_at_10"], values["recall"], values["session_recall"]) == (1, 1, 1)
    assert values["coverage"] == 1
    assert section.findings == ()
