"""The section of maps, and what sessions stand together by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from indexer.diagnostics.maps.categories import groups_of
from indexer.diagnostics.maps.maps import map_section
from indexer.diagnostics.maps.projection import MapMethod
from indexer.diagnostics.maps.separation import separation
from indexer.diagnostics.maps.sessions import MappedSessions
from indexer.diagnostics.report import Section
from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import ModelSpace
from ubm_embed.data.arrays import FloatArray, unit_rows
from ubm_embed.data.corpus import INTERACTION_SCHEMA, Corpus
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel

SETTINGS = DiagnosisSettings(rounds=40)


@pytest.fixture
def embedder(model: UserBehaviorModel, tokenizer: InteractionTokenizer) -> Embedder:
    """Of the tiny model."""
    return Embedder(Checkpoint(model, tokenizer, {}))


def corpus_of(products: pl.DataFrame, sessions: dict[str, Sequence[tuple[str, str]]]) -> Corpus:
    """A corpus of sessions: pairs of an action, and a product's id or a search phrase."""
    rows = [
        (name, position, action, None if action == "search" else what, what if action == "search" else None)
        for name, interactions in sessions.items()
        for position, (action, what) in enumerate(interactions)
    ]
    return Corpus(products, pl.DataFrame(rows, INTERACTION_SCHEMA, orient="row"))


@pytest.fixture
def corpus(products: pl.DataFrame) -> Corpus:
    """Sixty sessions: of views, of searches, and with purchases."""
    kinds = (
        [("view", "p1"), ("view", "p2")],
        [("search", "red shirt"), ("view", "p3"), ("view", "p4")],
        [("view", "p5"), ("add", "p5"), ("buy", "p5"), ("view", "p6")],
    )
    return corpus_of(products, {f"s{number}": kinds[number % 3] for number in range(60)})


@pytest.fixture
def section(embedder: Embedder, corpus: Corpus) -> Section:
    """The section of that corpus, by PCA."""
    space = ModelSpace.embed("toy", embedder, corpus, max_products=100, seed=0)
    return map_section(space, SessionSample.draw(corpus, 60, 0), SETTINGS)


def test_products_and_sessions_are_on_the_map_in_words(section: Section) -> None:
    chart = section.charts[0]
    assert [row["subject"] for row in chart.rows] == ["product"] * 8 + ["session"] * 60
    assert {"label": "red shirt", "category": "shirts"}.items() <= chart.rows[2].items()
    searches = [row for row in chart.rows if row["label"] == "search red shirt, view red shirt, view blue shirt"]
    assert len(searches) == 20
    assert {row["category"] for row in searches} == {"shirts"}
    assert chart.rows[5]["category"] is None
    assert all(np.isfinite([row["x"], row["y"]]).all() for row in chart.rows)


def test_titles_and_metrics_say_how_far_the_map_can_be_trusted(section: Section) -> None:
    metrics = {metric.name: metric.value for metric in section.metrics}
    assert 0.5 < metrics["map_trustworthiness"] <= 1
    assert f"{metrics['map_explained_share']:.0%} of the variance" in section.charts[0].title
    assert section.findings == ()


def test_sessions_are_drawn_by_each_of_their_kinds(section: Section) -> None:
    rows = section.charts[1].rows
    groups = {name: {row["category"] for row in rows if row["name"] == name} for name in ("by behaviour", "by length")}
    assert groups == {
        "by behaviour": {"few views", "searched", "bought"},
        "by length": {"2 steps", "3 steps", "4 steps"},
    }
    assert {row["category"] for row in rows if row["name"] == "by category"} == {"shoes", "shirts"}


def test_by_t_sne_there_is_no_share_of_the_variance(embedder: Embedder, corpus: Corpus) -> None:
    space = ModelSpace.embed("toy", embedder, corpus, max_products=100, seed=0)
    section = map_section(space, SessionSample.draw(corpus, 20, 0), SETTINGS, MapMethod.TSNE)
    assert "map_explained_share" not in {metric.name for metric in section.metrics}
    assert "t-SNE" in section.charts[0].title


def test_of_a_few_products_there_is_no_map(embedder: Embedder, products: pl.DataFrame) -> None:
    space = ModelSpace.embed("toy", embedder, corpus_of(products, {}), max_products=100, seed=0)
    section = map_section(space, None, SETTINGS)
    assert section.charts == section.metrics == ()
    assert section.notes == ("a map needs 10 products or sessions",)


def test_sessions_that_the_model_cannot_read_are_left_out(embedder: Embedder, products: pl.DataFrame) -> None:
    """A tokenizer without a token for removals takes adds back, which may leave nothing."""
    sessions = {"kept": [("view", "p1")], "taken back": [("add", "p2"), ("remove", "p2")]}
    read = MappedSessions.read(corpus_of(products, sessions), embedder, 10, 0)
    assert read.labels == ["view red running shoes"]
    np.testing.assert_allclose(np.linalg.norm(read.vectors, axis=1), 1, rtol=1e-5)


def patches(groups: Sequence[str], width: int = 16) -> FloatArray:
    """Unit vectors in which equal groups are near one another."""
    _, codes = np.unique(groups, return_inverse=True)
    noise = 0.1 * np.random.default_rng(0).normal(size=(len(groups), width))
    return unit_rows((np.eye(width)[codes] + noise).astype(np.float32))


@pytest.mark.parametrize("planted", ["category", "behaviour", "length"])
def test_what_sessions_stand_together_by_is_told(planted: str) -> None:
    generator = np.random.default_rng(1)
    kinds = {kind: generator.choice(["a", "b", "c"], 200).tolist() for kind in ("category", "behaviour", "length")}
    sessions = MappedSessions(
        patches(kinds[planted]), [""] * 200, kinds["category"], kinds["behaviour"], kinds["length"]
    )
    for metric in separation(sessions, SETTINGS):
        assert metric.interval is not None
        if metric.name == f"session_separation_by_{planted}":
            assert metric.interval[0] > 0.9
        else:
            assert abs(metric.value) < 0.1


def test_of_few_sessions_or_one_kind_nothing_is_told() -> None:
    few = MappedSessions(patches(["a", "b"] * 20), [""] * 40, ["a", "b"] * 20, ["a"] * 40, ["a"] * 40)
    alike = MappedSessions(patches(["a", "b"] * 40), [""] * 80, [None] * 80, ["a"] * 80, ["a"] * 80)
    assert [*separation(few, SETTINGS)] == [*separation(alike, SETTINGS)] == []


def test_many_categories_are_told_by_their_first_level() -> None:
    deep = [f"shoes > kind {number}" for number in range(9)]
    assert groups_of([*deep, None, "hats"]) == ["shoes"] * 9 + [None, "hats"]
    assert groups_of(deep[:3]) == deep[:3]
