"""The figures are those of RePlay and ranx on a case that they have measured, and of slow definitions."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from ubm_embed.data.arrays import unit_rows
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
from ubm_embed.evaluation.ranking import hit_at_k, mrr_at_k, ndcg_at_k

ORACLE = Path(__file__).with_name("oracles") / "beyond_accuracy.json"


@pytest.fixture(scope="module")
def case():
    return json.loads(ORACLE.read_text())


@pytest.fixture(scope="module")
def answers(case):
    return np.array(case["answers"])


def sessions_of(case):
    held = [product for session in case["others"] for product in session]
    return np.bincount(held, minlength=case["products"])


class TestOracles:
    """By the definitions of RePlay 0.22 and ranx 0.3."""

    def test_coverage(self, case, answers):
        assert coverage(answers, sessions_of(case) > 0) == pytest.approx(case["metrics"]["coverage_of_interacted"])

    def test_novelty(self, case, answers):
        known = np.stack([np.isin(row, held) for row, held in zip(answers, case["held"], strict=True)])
        assert novelty(answers, known).mean() == pytest.approx(case["metrics"]["novelty"])

    def test_surprisal(self, case, answers):
        figure = surprisal(answers, sessions_of(case), len(case["others"])).mean()
        assert figure == pytest.approx(case["metrics"]["surprisal"])

    def test_unexpectedness(self, case, answers):
        figure = unexpectedness(answers, np.array(case["expected"])).mean()
        assert figure == pytest.approx(case["metrics"]["unexpectedness"])

    def test_categorical_diversity(self, case, answers):
        figure = categorical_diversity(np.array(case["categories"])[answers]).mean()
        assert figure == pytest.approx(case["metrics"]["categorical_diversity"])

    def test_ranks(self, case, answers):
        matches = answers == np.array(case["targets"])[:, None]
        ranks = np.where(matches.any(axis=1), matches.argmax(axis=1) + 1, 1000)
        metrics = case["metrics"]
        assert hit_at_k(ranks, 10) == pytest.approx(metrics["hit_at_10"]) == pytest.approx(metrics["ranx_hit_at_10"])
        assert ndcg_at_k(ranks, 10) == pytest.approx(metrics["ndcg_at_10"])
        assert mrr_at_k(ranks, 10) == pytest.approx(metrics["mrr_at_10"])


SHORT = np.array([[0, 1, 2], [3, -1, -1], [-1, -1, -1]])


def test_places_without_a_product_count_nowhere():
    assert exposure(SHORT, 5).tolist() == [1, 1, 1, 1, 0]
    assert coverage(SHORT, np.array([True, True, False, False, True])) == pytest.approx(2 / 3)
    assert novelty(SHORT, np.array([[True, False, False], [False, True, True], [True, True, True]])) == pytest.approx(
        [2 / 3, 1, 1]
    )
    assert surprisal(SHORT, np.array([8, 8, 2, 0, 0]), 8) == pytest.approx([2 / 9, 1, 0])
    assert unexpectedness(SHORT, np.array([[2, 7, 8], [-1, -1, 3], [-1, -1, -1]])) == pytest.approx([2 / 3, 2 / 3, 1])
    assert categorical_diversity(np.array([[4, 4, 1], [0, -1, -1], [-1, -1, -1]])) == pytest.approx([2 / 3, 1 / 3, 0])


def test_diversity_is_the_mean_over_pairs():
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.standard_normal((4, 6, 8)).reshape(-1, 8)).reshape(4, 6, 8).astype(np.float32)
    given = np.array([[True] * 6, [True, True, False, False, False, False], [True] + [False] * 5, [False] * 6])
    expected = []
    for row, mask in zip(vectors, given, strict=True):
        pairs = [1 - float(a @ b) for a, b in itertools.combinations(row[mask], 2)]
        expected.append(np.mean(pairs) if pairs else 0.0)
    # Of float32 vectors, whose lengths are 1 up to 1e-7.
    np.testing.assert_allclose(intra_list_diversity(vectors, given), expected, atol=1e-5)


def test_the_same_product_ten_times_has_no_diversity():
    vectors = np.repeat(unit_rows(np.ones((1, 1, 8)).reshape(1, 8)), 10, axis=0)[None].astype(np.float32)
    np.testing.assert_allclose(intra_list_diversity(vectors, np.ones((1, 10), bool)), 0, atol=1e-6)


class TestGini:
    def test_is_half_the_mean_difference_over_the_mean(self):
        values = np.random.default_rng(0).poisson(3, 50)
        differences = np.abs(values[:, None] - values).mean()
        assert gini(values) == pytest.approx(differences / (2 * values.mean()))

    @pytest.mark.parametrize(("values", "expected"), [([5, 5, 5, 5], 0), ([0, 0, 0, 7], 0.75), ([3], 0)])
    def test_of_equal_shares_and_of_one_that_has_it_all(self, values, expected):
        assert gini(np.array(values)) == pytest.approx(expected)

    @pytest.mark.parametrize("values", [[], [0, 0], [-1, 3]])
    def test_needs_something_to_share(self, values):
        with pytest.raises(ValueError, match="at least 0"):
            gini(np.array(values, dtype=np.int64))


def test_popularity_lift_is_relative_to_what_sessions_hold():
    assert popularity_lift(np.array([2.0, 4.0]), np.array([1.0, 2.0])) == pytest.approx(1)
    assert popularity_lift(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 0
    assert popularity_lift(np.zeros(2), np.array([1.0, 2.0])) == -1
    with pytest.raises(ValueError, match="nobody chose"):
        popularity_lift(np.ones(2), np.zeros(2))


def test_coverage_needs_products():
    with pytest.raises(ValueError, match="no products"):
        coverage(SHORT, np.zeros(5, bool))
