"""Alignment and uniformity of a space and of sessions are those of their definitions; a collapsed space is named."""

import numpy as np
import polars as pl
import pytest

from indexer.diagnostics.finding import Fault, Severity
from indexer.diagnostics.geometry import views
from indexer.diagnostics.geometry.alignment import alignment_section
from indexer.diagnostics.report import ChartKind
from indexer.diagnostics.session_sample import SessionSample
from ubm_embed.data.arrays import unit_rows
from ubm_embed.data.batches import augmentations
from ubm_embed.data.corpus import INTERACTION_SCHEMA, Corpus, iter_products
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.evaluation.uniformity import alignment, uniformity

# Vectors of one text in batches of other sizes differ in the last bits of float32; squared distances of up to 4.
FLOAT32 = 1e-5


@pytest.fixture(scope="module")
def corpus(make_space, vectors):
    """Thirty sessions of two different views each, and one of a single view."""
    products = make_space(vectors[:60]).frame
    rows = [(f"s{row // 2}", row % 2, "view", f"p{row}", None) for row in range(60)] + [
        ("single", 0, "view", "p0", None)
    ]
    names = ["session_id", "position", "action", "product_id", "query"]
    return Corpus(products, pl.DataFrame(rows, schema={name: INTERACTION_SCHEMA[name] for name in names}, orient="row"))


@pytest.fixture(scope="module")
def sample(corpus):
    return SessionSample.draw(corpus, 100, 0)


@pytest.fixture(scope="module")
def sessions(corpus):
    """The sessions of two views."""
    pairs = zip(*[iter(iter_products(corpus.products))] * 2, strict=True)
    return [Session(tuple(Interaction(Action.VIEW, product=product) for product in pair)) for pair in pairs]


@pytest.fixture(scope="module")
def section(make_space, vectors, sample, settings):
    return alignment_section([make_space(vectors)], sample, settings)


def values(section):
    return {metric.name: metric.value for metric in section.metrics}


class TestProducts:
    def test_uniformity_is_that_of_the_sampled_vectors(self, make_space, vectors, settings):
        everything = settings.model_copy(update={"sample": 500})
        (metric, _) = alignment_section([make_space(vectors)], None, everything).metrics
        assert metric.value == uniformity(vectors)
        assert (metric.name, metric.interval) == ("uniformity", None)  # of all of them

    def test_a_sample_has_an_interval_around_what_all_have(self, section, vectors):
        metric = section.metrics[0]
        assert metric.interval[0] < uniformity(vectors) < metric.interval[1]
        assert metric.measured_on == "400 of 500 products"

    def test_without_masks_a_product_is_its_own_copy(self, make_space, vectors, settings, monkeypatch):
        monkeypatch.setattr(augmentations, "MASK_RATE", 0.0)
        monkeypatch.setattr(augmentations, "REPLACE_RATE", 0.0)
        assert values(alignment_section([make_space(vectors)], None, settings))["alignment"] == 0

    def test_with_masks_it_is_not(self, section):
        assert 0 < values(section)["alignment"] < 4

    def test_they_are_read_by_the_product_tower(self, make_space, vectors, embedder, settings):
        space = make_space(vectors)
        read = views.product_views(space, 5, 0).vectors
        expected = embedder.embed_product_list(space.products(views.sample_rows(space, 5, 0)))
        np.testing.assert_allclose(unit_rows(read), expected, atol=FLOAT32)


class TestSessions:
    def test_uniformity_is_that_of_their_vectors(self, section, embedder, sessions):
        expected = uniformity(embedder.embed_sessions(sessions))
        assert values(section)["session_uniformity"] == pytest.approx(expected, abs=FLOAT32)

    def test_two_interactions_can_be_reordered_in_one_way(self, section, embedder, sessions):
        swapped = [Session(session.interactions[::-1]) for session in sessions]
        expected = alignment(embedder.embed_sessions(sessions), embedder.embed_sessions(swapped))
        assert values(section)["session_alignment_reordered"] == pytest.approx(expected, abs=FLOAT32)

    def test_without_masks_a_session_is_its_own_copy(self, make_space, vectors, sample, settings, monkeypatch):
        masked = values(alignment_section([make_space(vectors)], sample, settings))["session_alignment_masked"]
        assert masked > 10 * FLOAT32
        monkeypatch.setattr(augmentations, "MASK_RATE", 0.0)
        monkeypatch.setattr(augmentations, "REPLACE_RATE", 0.0)
        unmasked = values(alignment_section([make_space(vectors)], sample, settings))["session_alignment_masked"]
        assert unmasked == pytest.approx(0, abs=FLOAT32)

    def test_those_of_one_interaction_are_left_out(self, section):
        assert {metric.measured_on for metric in section.metrics[2:]} == {"30 of 31 sessions"}

    def test_a_sample_without_sessions_to_read(self, make_space, vectors, corpus, settings):
        single = corpus.select_sessions(pl.Series(["single"]))
        section = alignment_section([make_space(vectors)], SessionSample.draw(single, 100, 0), settings)
        assert values(section).keys() == {"uniformity", "alignment"}


class TestPlane:
    def test_each_space_has_a_point_for_products_and_one_for_sessions(self, make_space, vectors, sample, settings):
        one, other = make_space(vectors), make_space(vectors[::-1].copy())
        other.name = "other"
        section = alignment_section([one, other], sample, settings)
        (plane,) = section.charts
        assert plane.kind is ChartKind.PLANE
        found = [(row["name"], row["subject"]) for row in plane.rows]
        assert found == [("toy", "products"), ("toy", "sessions"), ("other", "products"), ("other", "sessions")]
        assert plane.rows[1]["alignment"] == values(section)["session_alignment_masked"]
        assert plane.rows[1]["uniformity_low"] <= plane.rows[1]["uniformity"] <= plane.rows[1]["uniformity_high"]

    def test_the_metrics_are_those_of_the_first(self, make_space, vectors, sample, settings, section):
        collapsed = make_space(unit_rows(vectors + 10 * vectors[:1]))
        assert alignment_section([make_space(vectors), collapsed], sample, settings).metrics == section.metrics


def test_versions_of_one_model_read_sessions_once(make_space, vectors, sample, settings, embedder, monkeypatch):
    encode, calls = embedder.encode_table, []
    monkeypatch.setattr(embedder, "encode_table", lambda *arguments: calls.append(1) or encode(*arguments))
    one = alignment_section([make_space(vectors)], sample, settings)
    count = len(calls)
    two = alignment_section([make_space(vectors), make_space(vectors[::-1])], sample, settings)
    assert len(calls) == 2 * count
    assert len(two.charts[0].rows) == 2 * len(one.charts[0].rows)


class TestCollapsed:
    def test_healthy_products_are_not(self, make_space, vectors, settings):
        assert alignment_section([make_space(vectors)], None, settings).findings == ()

    def test_products_of_any_space_are_named(self, make_space, vectors, settings):
        collapsed = make_space(unit_rows(vectors + 10 * vectors[:1]))
        collapsed.name = "version 7"
        (finding,) = alignment_section([make_space(vectors), collapsed], None, settings).findings
        assert (finding.fault, finding.severity) == (Fault.COLLAPSED, Severity.ERROR)
        assert "products of version 7" in finding.problem

    def test_sessions_are_named(self, make_space, vectors, sample, settings, embedder, monkeypatch):
        encode = embedder.encode_table
        monkeypatch.setattr(embedder, "encode_table", lambda texts, sessions: 1e-3 * encode(texts, sessions) + 1)
        findings = alignment_section([make_space(vectors)], sample, settings).findings
        assert [finding.problem.split()[0] for finding in findings] == ["sessions"]


def test_one_product_has_no_pair(make_space, vectors, settings, sample):
    section = alignment_section([make_space(vectors[:1])], sample, settings)
    assert (section.metrics, section.charts, section.findings) == ((), (), ())
