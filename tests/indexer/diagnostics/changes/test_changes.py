"""What moved between two versions is measured as the gates do, and each planted fault is named."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from indexer.diagnostics.changes.changes import changes_section
from indexer.diagnostics.finding import Fault, Severity
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import VersionSpace
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import refresh
from indexer.refresh.settings import GateLimits, RefreshSettings
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import TEXT_HASH
from indexer.versions.version import read_version
from tests.indexer.diagnostics.changes.planted_versions import (
    PRODUCTS,
    Versions,
    catalogue,
    faults,
    metrics,
    table,
    vectors_of,
)
from ubm_embed.data.arrays import FloatArray, unit_rows

# A manifest rounds what its gates measured to six decimals.
ROUNDED = 1e-6
OF_COORDINATES = {"centroid_shift", "category_shift", "separability_auc"}


def retitled(rows: list[int]) -> pl.DataFrame:
    """The catalogue with another text for some products."""
    products = catalogue()
    titles = [f"blue boots {row}" if row in rows else title for row, title in enumerate(products["title"])]
    return products.with_columns(title=pl.Series(titles))


def moved(vectors: FloatArray, rows: np.ndarray | slice, offset: float) -> FloatArray:
    """Some vectors, moved in one direction."""
    vectors = vectors.copy()
    vectors[rows, 0] += np.float32(offset)
    return unit_rows(vectors)


def in_category(number: int) -> np.ndarray:
    return np.flatnonzero(catalogue()["category"] == f"c{number}")


@pytest.fixture
def healthy() -> FloatArray:
    return vectors_of(catalogue())


class TestAHealthyNight:
    """One percent of the texts changed."""

    CHANGED = (3, 50, 128, 301)

    @pytest.fixture
    def night(self, versions: Versions) -> int:
        products = retitled([*self.CHANGED])
        return versions.publish(products, vectors_of(products))

    def test_there_is_no_warning(self, versions: Versions, night: int) -> None:
        section = versions.compare(1, night)
        assert section.findings == ()
        assert section.notes == ()
        measured = metrics(section)
        assert measured["share_changed"] == len(self.CHANGED) / PRODUCTS
        assert (measured["share_new"], measured["share_removed"]) == (0, 0)
        assert measured["retention"] > 0.9
        assert measured["answer_overlap"] > 0.9
        assert measured["separability_auc"] == pytest.approx(0.5, abs=0.02)

    def test_the_products_that_moved_are_listed(self, versions: Versions, night: int) -> None:
        rows = table(versions.compare(1, night), "moved").rows
        assert {row[0] for row in rows} == {f"blue boots {row}" for row in self.CHANGED}
        assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)

    def test_old_and_new_neighbours_are_told_in_words(self, versions: Versions, night: int) -> None:
        product, _, _, old, new = table(versions.compare(1, night), "moved").rows[0]
        row = int(product.removeprefix("blue boots "))
        for products, told in ((catalogue(), old), (retitled([*self.CHANGED]), new)):
            vectors = vectors_of(products)
            nearest = np.argsort(-(vectors @ vectors[row]))[1:4]
            assert told == "; ".join(products["title"][nearest.tolist()])

    def test_every_figure_is_repeated(self, versions: Versions, night: int) -> None:
        assert versions.compare(1, night).to_dict() == versions.compare(1, night).to_dict()

    def test_backwards_is_a_healthy_change_as_well(self, versions: Versions, night: int) -> None:
        assert faults(versions.compare(night, 1)) == set()


class TestPlantedFaults:
    def test_one_category_moved(self, versions: Versions, healthy: FloatArray) -> None:
        number = versions.publish(catalogue(), moved(healthy, in_category(3), 0.4))
        section = versions.compare(1, number)
        assert faults(section) == {Fault.SHIFTED_CATEGORY}
        (finding,) = section.findings
        assert "1 category moved while the rest stayed: c3 by 0." in finding.problem
        assert "ubm-embed versions rollback 1 --store" in finding.remedy
        assert table(section, "categories").rows[0][0] == "c3"
        chart = next(one for one in section.charts if one.name == "category_shift")
        assert chart.rows[0]["group"] == "c3"

    def test_one_category_turned(self, versions: Versions, healthy: FloatArray) -> None:
        turned = healthy.copy()
        turned[in_category(2)] = np.roll(healthy[in_category(2)], 3, axis=1)
        section = versions.compare(1, versions.publish(catalogue(), turned))
        assert Fault.SHIFTED_CATEGORY in faults(section)
        assert "c2 by" in next(one.problem for one in section.findings if one.fault is Fault.SHIFTED_CATEGORY)

    def test_everything_moved(self, versions: Versions, healthy: FloatArray) -> None:
        section = versions.compare(1, versions.publish(catalogue(), moved(healthy, slice(None), 0.3)))
        assert Fault.SHIFTED_CENTROID in faults(section)
        assert Fault.SHIFTED_CATEGORY not in faults(section)
        assert metrics(section)["separability_auc"] > 0.8

    def test_vectors_were_given_to_other_products(self, versions: Versions, healthy: FloatArray) -> None:
        mixed = healthy[np.random.default_rng(0).permutation(PRODUCTS)]
        section = versions.compare(1, versions.publish(catalogue(), mixed))
        assert {Fault.MOVED_NEIGHBOURS, Fault.CHANGED_RESULTS} <= faults(section)
        assert metrics(section)["answer_overlap"] < 0.3
        (problem,) = (one.problem for one in section.findings if one.fault is Fault.MOVED_NEIGHBOURS)
        assert problem.endswith("of the ten nearest are the same (a refresh expects at least 0.5)")


class TestOneImplementationWithTheGates:
    def test_a_refresh_measured_the_same(self, store: Path, products_file: Path) -> None:
        changed = pl.read_parquet(products_file).with_columns(
            title=pl.when(pl.col("product_id").is_in(["p2", "p6"])).then(pl.lit("green hat")).otherwise("title")
        )
        changed.write_parquet(products_file)
        refresh(products=products_file, store=store, allow=[Gate.NEIGHBOURS, Gate.CENTROID], device="cpu")
        require_as_gates(EmbeddingStore.open(store), 1, 2)

    @pytest.mark.parametrize("offset", [0.0, 0.2, 1.0])
    def test_so_did_a_build(self, versions: Versions, healthy: FloatArray, offset: float) -> None:
        products = catalogue(PRODUCTS - 30)
        vectors = unit_rows(healthy[: PRODUCTS - 30] + np.float32(offset) * healthy[30:])
        require_as_gates(versions.store, 1, versions.publish(products, vectors))

    def test_the_limits_that_it_was_published_with_decide(self, store: Path, products_file: Path) -> None:
        changed = pl.read_parquet(products_file).with_columns(title=pl.lit("green hat"))
        changed.write_parquet(products_file)
        loose = RefreshSettings(gates=GateLimits(max_shift=2, min_overlap=0))
        refresh(products=products_file, store=store, settings=loose, device="cpu")
        require_as_gates(EmbeddingStore.open(store), 1, 2)

    def test_their_limits_decide(self, versions: Versions, healthy: FloatArray) -> None:
        number = versions.publish(catalogue(), moved(healthy, slice(None), 0.3))
        loose = GateLimits(max_shift=2, min_overlap=0)
        strict = GateLimits(max_shift=0, min_overlap=1)
        assert faults(versions.compare(1, number, limits=loose)) == set()
        assert {Fault.SHIFTED_CENTROID, Fault.MOVED_NEIGHBOURS} <= faults(versions.compare(1, number, limits=strict))


def require_as_gates(store: EmbeddingStore, before: int, after: int) -> None:
    """The section has the figures of the manifest, and warns of the gates that did not pass."""
    with VersionSpace.open(store, before, "cpu") as first, VersionSpace.open(store, after, "cpu") as second:
        section = changes_section(first, second, None, DiagnosisSettings(rounds=20))
    measured, gates = metrics(section), read_version(store, after).gates
    assert measured["retention"] == pytest.approx(gates[Gate.NEIGHBOURS]["value"], abs=ROUNDED)
    assert measured["centroid_shift"] == pytest.approx(gates[Gate.CENTROID]["value"], abs=ROUNDED)
    assert (Fault.MOVED_NEIGHBOURS in faults(section)) == (not gates[Gate.NEIGHBOURS]["passed"])
    assert (Fault.SHIFTED_CENTROID in faults(section)) == (not gates[Gate.CENTROID]["passed"])


def test_without_scikit_learn_all_else_is_measured(
    versions: Versions, healthy: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = versions.publish(catalogue(), healthy)
    monkeypatch.setitem(sys.modules, "ubm_embed.evaluation.separability", None)
    section = versions.compare(1, number)
    assert {"retention", "answer_overlap"} <= metrics(section).keys()
    assert "separability_auc" not in metrics(section)
    assert any("pip install 'ubm-embed[diagnose]'" in note for note in section.notes)


class TestTwoModels:
    def test_their_vectors_are_compared_by_neighbours_alone(
        self, versions: Versions, healthy: FloatArray, other_model_folder: Path
    ) -> None:
        """The same vectors with their coordinates exchanged have the same neighbours, and would have moved far."""
        number = versions.publish(catalogue(), np.roll(healthy, 5, axis=1), other_model_folder)
        section = versions.compare(1, number)
        assert metrics(section)["retention"] == 1.0
        assert not OF_COORDINATES & metrics(section).keys()
        assert "two models made the vectors" in section.notes[0]
        assert faults(section) == set()

    def test_other_answers_are_noted_since_that_is_what_a_model_is_exchanged_for(
        self, versions: Versions, healthy: FloatArray, other_model_folder: Path
    ) -> None:
        section = versions.compare(1, versions.publish(catalogue(), -healthy, other_model_folder))
        (finding,) = (one for one in section.findings if one.fault is Fault.CHANGED_RESULTS)
        assert finding.severity is Severity.NOTE

    def test_products_are_listed_by_the_neighbours_they_lost(
        self, versions: Versions, healthy: FloatArray, other_model_folder: Path
    ) -> None:
        # Row 0 is one of those that are compared: they are evenly spaced.
        changed = healthy.copy()
        changed[0] = -healthy[0]
        section = versions.compare(1, versions.publish(catalogue(), changed, other_model_folder))
        first = table(section, "moved").rows[0]
        assert first[:3] == ("red shirt 0", None, 0)

    def test_garbage_is_named(self, versions: Versions, healthy: FloatArray, other_model_folder: Path) -> None:
        mixed = healthy[np.random.default_rng(0).permutation(PRODUCTS)]
        section = versions.compare(1, versions.publish(catalogue(), mixed, other_model_folder))
        assert Fault.MOVED_NEIGHBOURS in faults(section)

    def test_another_session_model_over_the_same_product_tower_moves_no_vector(
        self, versions: Versions, healthy: FloatArray, session_model_folder: Path
    ) -> None:
        number = versions.publish(catalogue(), healthy, session_model_folder)
        section = versions.compare(1, number)
        assert metrics(section).keys() >= OF_COORDINATES
        assert (metrics(section)["retention"], metrics(section)["centroid_shift"]) == (1.0, 0.0)
        assert Gate.CENTROID in read_version(versions.store, number).gates


class TestCatalogues:
    def test_new_and_removed_products_are_counted(self, versions: Versions) -> None:
        products = catalogue(PRODUCTS + 100)[40:]
        section = versions.compare(1, versions.publish(products, vectors_of(products)))
        measured = metrics(section)
        assert (measured["share_new"], measured["share_removed"], measured["share_changed"]) == (100 / 460, 0.1, 0)
        assert "moved" not in {one.name for one in section.tables}

    def test_versions_without_a_product_in_common(self, versions: Versions, healthy: FloatArray) -> None:
        others = catalogue().with_columns(product_id=pl.format("q{}", "product_id"))
        section = versions.compare(1, versions.publish(others, healthy))
        assert "the versions have no product in common" in section.notes
        assert metrics(section)["share_removed"] == 1
        assert not {"retention", "category_shift", "separability_auc"} & metrics(section).keys()
        assert metrics(section)["centroid_shift"] == pytest.approx(0, abs=1e-6)

    def test_products_without_a_category_are_a_category_too(self, versions: Versions, healthy: FloatArray) -> None:
        category = pl.when(pl.col("category") == "c1").then(None).otherwise("category")
        products = catalogue().with_columns(category=category)
        section = versions.compare(1, versions.publish(products, moved(healthy, in_category(1), 0.4)))
        assert table(section, "categories").rows[0][0] == "(without a category)"

    def test_a_version_of_older_software_has_no_counts(
        self, versions: Versions, healthy: FloatArray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        number = versions.publish(catalogue(), healthy)
        monkeypatch.setattr("indexer.diagnostics.changes.catalogue.TEXT_HASH", f"no {TEXT_HASH}")
        section = versions.compare(1, number)
        assert "share_new" not in metrics(section)
        assert any("older software" in note for note in section.notes)

    def test_nor_is_known_how_often_its_products_were_chosen(
        self, versions: Versions, healthy: FloatArray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        number = versions.publish(catalogue(), healthy)
        monkeypatch.setattr("indexer.diagnostics.space.POPULARITY", "a column of later software")
        with versions.spaces(1, number) as (_, space):
            assert space.popularity is None


class TestAnswers:
    def test_without_sessions_there_are_none(self, versions: Versions, healthy: FloatArray) -> None:
        section = versions.compare(1, versions.publish(catalogue(), healthy), sessions=0)
        assert "answer_overlap" not in metrics(section)
        assert "answers to sessions were not compared: give a corpus" in section.notes

    def test_they_stand_side_by_side(self, versions: Versions, healthy: FloatArray) -> None:
        section = versions.compare(1, versions.publish(catalogue(), -healthy))
        answers = table(section, "answers")
        assert answers.columns == ("session", "overlap", "version 1", "version 2")
        overlaps = [row[1] for row in answers.rows]
        assert overlaps == sorted(overlaps)
        session, _, old, new = answers.rows[0]
        assert session.startswith("view red shirt ")
        assert old != new
        assert all(title.startswith("red shirt ") for title in (*old.split("; "), *new.split("; ")))

    def test_each_version_reads_sessions_with_its_own_model(
        self, versions: Versions, healthy: FloatArray, session_model_folder: Path
    ) -> None:
        section = versions.compare(1, versions.publish(catalogue(), healthy, session_model_folder))
        assert metrics(section)["answer_overlap"] < 1
