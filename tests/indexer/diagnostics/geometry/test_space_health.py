"""A healthy space gets no warning, each planted fault is named, and the figures are those of all vectors."""

import numpy as np
import polars as pl
import pytest

from indexer.diagnostics.finding import Fault, Severity
from indexer.diagnostics.geometry import duplicates
from indexer.diagnostics.geometry.alignment import alignment_section
from indexer.diagnostics.geometry.space_health import space_section
from indexer.diagnostics.space import ModelSpace, VersionSpace
from indexer.store.embedding_store import EmbeddingStore
from ubm_embed.data.arrays import unit_rows
from ubm_embed.data.corpus import PRODUCT_SCHEMA

FLOAT32 = float(np.finfo(np.float32).eps)


def faults(section):
    return {finding.fault: finding.severity for finding in section.findings}


def values(section):
    return {metric.name: metric.value for metric in section.metrics}


def tables(section):
    return {table.name: table.rows for table in section.tables}


@pytest.fixture(scope="module")
def healthy(make_space, vectors, settings):
    return space_section(make_space(vectors), settings)


class TestHealthy:
    def test_nothing_is_warned_of(self, healthy):
        assert healthy.findings == ()

    def test_the_figures_are_those_of_all_vectors(self, healthy, vectors):
        found, exact = values(healthy), vectors.astype(np.float64)
        cosines = exact @ exact.T
        assert found["mean_cosine"] == pytest.approx(cosines[np.triu_indices(500, 1)].mean(), abs=4 * FLOAT32)
        singular = np.linalg.svd(exact, compute_uv=False)
        shares = singular / singular.sum()
        assert found["rank_me"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-4)
        assert 0.9 < found["iso_score"] <= 1
        assert found["share_duplicate_vectors"] == found["share_equal_text"] == found["share_without_text"] == 0

    def test_every_figure_says_what_it_was_measured_on(self, healthy):
        assert all(np.isfinite(metric.value) for metric in healthy.metrics)
        assert all("products" in metric.measured_on for metric in healthy.metrics)

    def test_charts_hold_every_value_once(self, healthy):
        charts = {chart.name: chart.rows for chart in healthy.charts}
        assert sum(row["share"] for row in charts["spectrum"]) == pytest.approx(1)
        assert [row["rank"] for row in charts["spectrum"]] == list(range(1, 17))
        assert sum(row["count"] for row in charts["hubness"]) == 400  # the sample
        assert sum(row["count"] for row in charts["cosines"]) == 40_000

    def test_the_seed_decides(self, make_space, vectors, settings, healthy):
        assert space_section(make_space(vectors), settings) == healthy

    def test_batches_change_nothing(self, make_space, vectors, settings, healthy, monkeypatch):
        monkeypatch.setattr(ModelSpace, "batches", lambda self: iter(np.array_split(self.matrix, 7)))
        again = values(space_section(make_space(vectors), settings))
        assert again == pytest.approx(values(healthy), rel=1e-9, abs=1e-9)

    def test_only_samples_are_in_memory(self, make_space, vectors, settings, monkeypatch):
        asked = []
        read = ModelSpace.vectors
        monkeypatch.setattr(ModelSpace, "vectors", lambda self, rows: asked.append(len(rows)) or read(self, rows))
        space_section(make_space(vectors), settings)
        assert max(asked) <= settings.sample

    def test_progress_reaches_its_end(self, make_space, vectors, settings):
        steps = []
        space_section(make_space(vectors), settings, lambda what, done, total, note="": steps.append((done, total)))
        assert (500, 500) in steps
        assert steps[-1][0] == steps[-1][1]


class TestCollapsed:
    """Which the section on alignment names, once."""

    def test_nearly_equal_vectors_have_no_low_rank_besides(self, make_space, vectors, settings):
        space = make_space(unit_rows(vectors + 10 * vectors[:1]))
        assert [finding.fault for finding in alignment_section([space], None, settings).findings] == [Fault.COLLAPSED]
        assert not {Fault.COLLAPSED, Fault.LOW_RANK} & faults(space_section(space, settings)).keys()

    def test_equal_vectors(self, make_space, vectors, settings):
        section = space_section(make_space(np.repeat(vectors[:1], 500, axis=0)), settings)
        assert faults(section).keys() == {Fault.DUPLICATE_VECTORS}
        assert values(section)["rank_me"] == pytest.approx(1, abs=1e-3)

    def test_an_offset_is_none(self, make_space, vectors, settings):
        space = make_space(unit_rows(vectors + 1.5 * vectors[:1]))
        assert values(space_section(space, settings))["mean_cosine"] > 0.5
        assert alignment_section([space], None, settings).findings == ()


def test_vectors_near_a_line_have_a_low_rank(make_space, vectors, settings):
    signs = np.where(np.arange(500) % 2, 1, -1)[:, None]
    section = space_section(make_space(unit_rows(signs * vectors[:1] + 0.01 * vectors).astype(np.float32)), settings)
    assert faults(section)[Fault.LOW_RANK] is Severity.WARNING


class TestDuplicates:
    def test_a_tenth_of_the_vectors_copied_over_others(self, make_space, vectors, settings):
        copied = vectors.copy()
        copied[:50] = copied[100:150]
        section = space_section(make_space(copied), settings)
        assert faults(section) == {Fault.DUPLICATE_VECTORS: Severity.ERROR}
        assert values(section)["share_duplicate_vectors"] == pytest.approx(0.2)  # the copies and the copied
        assert ("p0", "red red red", "p100") in [row[:3] for row in tables(section)["duplicate_vectors"]]

    def test_of_many_a_sample_is_read(self, make_space, vectors, settings, monkeypatch):
        monkeypatch.setattr(duplicates, "_PAIRS", 40)
        copied = vectors.copy()
        copied[:50] = copied[100:150]
        metrics = {metric.name: metric for metric in space_section(make_space(copied), settings).metrics}
        share = metrics["share_duplicate_vectors"]
        assert share.value == pytest.approx(0.2)
        assert share.interval[0] < 0.2 <= share.interval[1] + FLOAT32
        assert "40 of the 100" in share.measured_on

    def test_equal_texts_have_equal_vectors_by_design(self, make_space, vectors, settings, titles):
        copied, texts = vectors.copy(), titles[:500]
        copied[:150], texts[:150] = copied[150:300], texts[150:300]
        section = space_section(make_space(copied, texts), settings)
        assert section.findings == ()
        assert values(section)["share_equal_text"] == pytest.approx(0.6)
        assert any("share all of their text" in note for note in section.notes)

    def test_texts_that_differ_where_nothing_is_read_have_equal_vectors(self, make_space, vectors, settings, titles):
        copied, texts = vectors.copy(), titles[:500]
        copied[:50] = copied[50:51]
        texts[:51] = [f"{'red ' * 32}{title}" for title in texts[:51]]
        section = space_section(make_space(copied, texts), settings)
        assert section.findings == ()
        assert values(section)["share_read_alike"] == pytest.approx(51 / 500)
        assert any("does not read" in note for note in section.notes)

    def test_nearly_equal_vectors_are_listed(self, make_space, vectors, settings):
        near = vectors.copy()
        near[0] = unit_rows(near[1:2] + 1e-3 * near[:1])[0]
        everything = settings.model_copy(update={"queries": 500})
        section = space_section(make_space(near), everything)
        assert section.findings == ()
        assert values(section)["share_near_duplicates"] == pytest.approx(2 / 500)
        assert ("p0", "red red red", 1, "red red blue") in tables(section)["near_duplicates"]


@pytest.fixture(scope="module")
def around_a_hub(make_space, settings):
    """Directions around a mean, further from each other than from it; p7 is the mean, and p9 opposite to it."""
    mean = np.eye(1, 128, dtype=np.float32)
    around = np.random.default_rng(0).standard_normal((500, 128)).astype(np.float32)
    around[:, 0] = 0
    crowd = 0.8 * unit_rows(around) + 0.6 * mean
    crowd[7], crowd[9] = mean, -mean
    everything = settings.model_copy(update={"sample": 500, "queries": 500})
    return space_section(make_space(unit_rows(crowd), popularity=np.arange(500)), everything)


class TestHubs:
    def test_a_vector_near_to_all_is_named(self, around_a_hub):
        assert faults(around_a_hub) == {Fault.HUBS: Severity.WARNING}
        assert tables(around_a_hub)["hubs"][0] == ("p7", "red red boots", 498 / 500)  # of all but itself and p9
        assert values(around_a_hub)["largest_hub"] == 498 / 500

    def test_a_vector_near_to_none_is_listed(self, around_a_hub):
        assert ("p9", "red blue blue", 9) in tables(around_a_hub)["antihubs"]
        assert values(around_a_hub)["share_antihubs"] >= 1 / 500

    def test_a_crowd_of_equal_products_is_no_hub(self, make_space, vectors, settings, titles):
        # Any ten of a hundred equal products are the nearest of each of them.
        crowd, texts = vectors.copy(), titles[:500]
        crowd[:100], texts[:100] = crowd[0], [texts[0]] * 100
        assert space_section(make_space(crowd, texts), settings).findings == ()

    def test_of_a_sample_the_largest_hub_is_not_the_luckiest(self, make_space, settings):
        # Without hubs a product is near to 10 of 2,000. The largest of the counts of 40 lists would be some 3 of 40.
        directions = unit_rows(np.random.default_rng(0).standard_normal((512, 16)).astype(np.float32))
        few = settings.model_copy(update={"queries": 40})
        shares = []
        for seed in range(20):
            section = space_section(make_space(directions), few.model_copy(update={"seed": seed}))
            (largest,) = (metric for metric in section.metrics if metric.name == "largest_hub")
            assert largest.interval is not None
            shares.append(largest.value)
        exact = values(space_section(make_space(directions), settings.model_copy(update={"queries": 512})))
        assert np.mean(shares) < exact["largest_hub"]

    def test_a_small_space_has_no_hubness(self, make_space, vectors, settings):
        section = space_section(make_space(vectors[:50]), settings)
        assert "hubness_skewness" not in values(section)
        assert any("too few" in note for note in section.notes)
        assert section.findings == ()


class TestTexts:
    def test_a_number_does_not_make_a_foreign_text_readable(self, make_space, vectors, settings, titles):
        everything = settings.model_copy(update={"sample": 500})
        foreign = [f"{chr(0x4E00 + row)} {chr(0x5E00 + row)} red" for row in range(20)]
        known = [f"red running shoes {chr(0x4E00 + row)}" for row in range(20)]
        section = space_section(make_space(vectors, foreign + known + titles[40:500]), everything)
        assert values(section)["share_without_text"] == 20 / 500

    @pytest.mark.parametrize(("unknown", "severity"), [(20, Severity.WARNING), (200, Severity.ERROR)])
    def test_products_without_a_known_word(self, make_space, vectors, settings, titles, unknown, severity):
        everything = settings.model_copy(update={"sample": 500})
        texts = [chr(0x4E00 + row) for row in range(unknown)] + titles[unknown:500]
        section = space_section(make_space(vectors, texts), everything)
        assert faults(section) == {Fault.UNREADABLE_TEXTS: severity}
        assert values(section)["share_without_text"] == unknown / 500
        assert len(tables(section)["unreadable_texts"]) == 10

    def test_two_of_a_sample_are_not_enough_to_be_sure(self, make_space, vectors, settings, titles):
        texts = ["\u886c", "\u886b", *titles[2:500]]
        assert space_section(make_space(vectors, texts), settings).findings == ()

    def test_titles_and_texts_that_are_cut(self, make_space, vectors, settings, titles):
        everything = settings.model_copy(update={"sample": 500})
        texts = ["red " * 33, "red " * 32, *titles[2:500]]
        assert values(space_section(make_space(vectors, texts), everything))["share_cut"] == 1 / 500

    def test_attributes_count_as_text(self, make_space, vectors, settings):
        space = make_space(vectors[:50])
        # [TITLE] and three words, and each [ATTRIBUTE] with one: 4 + 2 * 28 = 60 of the 61 tokens that are read.
        for pairs, share in ((28, 0.0), (29, 1.0)):
            attributes = [[{"name": "size", "value": "red"}] * pairs] * 50
            space.frame = space.frame.with_columns(
                pl.Series("attributes", attributes, dtype=PRODUCT_SCHEMA["attributes"])
            )
            assert values(space_section(space, settings))["share_cut"] == share


class TestInvalidVectors:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 7.0])
    def test_they_are_counted_and_the_rest_is_measured(self, make_space, vectors, settings, bad):
        broken = vectors.copy()
        broken[5] = bad
        section = space_section(make_space(broken), settings)
        assert faults(section) == {Fault.INVALID_VECTORS: Severity.ERROR}
        assert ": 1 of 500" in section.findings[0].problem
        assert all(np.isfinite(metric.value) for metric in section.metrics)
        assert "499 products" in {metric.name: metric for metric in section.metrics}["rank_me"].measured_on

    def test_nothing_is_left_to_measure(self, make_space, vectors, settings):
        section = space_section(make_space(np.full_like(vectors, np.nan)), settings)
        assert faults(section) == {Fault.INVALID_VECTORS: Severity.ERROR}
        assert section.metrics == ()


@pytest.mark.parametrize("count", [1, 2, 3, 11])
def test_a_handful_of_products(make_space, vectors, settings, count):
    section = space_section(make_space(vectors[:count]), settings)
    assert section.findings == ()
    assert bool(section.metrics) == (count > 1)


def test_a_version_is_read_from_its_table(store, settings):
    with VersionSpace.open(EmbeddingStore.open(store), device="cpu") as space:
        section = space_section(space, settings)
    assert "8 products" in {metric.name: metric for metric in section.metrics}["rank_me"].measured_on
    assert values(section)["share_equal_text"] == 0
    assert 1 < values(section)["rank_me"] <= 8
