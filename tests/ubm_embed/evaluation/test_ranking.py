"""Ranks against a loop, ties counted against the target."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ubm_embed.evaluation.ranking import hit_at_k, mrr_at_k, target_ranks

# Whole numbers tie often.
SCORES = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.integers(-2, 2))


@given(scores=SCORES, data=st.data())
def test_a_rank_is_one_plus_how_many_others_score_at_least_as_high(scores, data):
    examples, products = scores.shape
    columns = st.integers(0, products - 1)
    targets = np.array(data.draw(st.lists(columns, min_size=examples, max_size=examples)))
    left_out = data.draw(arrays(np.bool_, scores.shape)) & (np.arange(products) != targets[:, None])
    ranks, all_ranks = target_ranks(scores, targets, left_out), target_ranks(scores, targets)
    for question, target in enumerate(targets):
        others = [column for column in range(products) if column != target]
        ahead = [column for column in others if scores[question, column] >= scores[question, target]]
        assert all_ranks[question] == 1 + len(ahead)
        assert ranks[question] == 1 + sum(not left_out[question, column] for column in ahead)


def test_the_best_and_the_worst():
    scores = np.array([[0.1, 0.9, 0.5]], dtype=np.float32)
    assert [target_ranks(scores, np.array([column]))[0] for column in range(3)] == [3, 1, 2]


def test_a_constant_scorer_gains_nothing():
    scores = np.zeros((50, 200), dtype=np.float32)
    ranks = target_ranks(scores, np.arange(50))
    assert ranks.tolist() == [200] * 50
    assert hit_at_k(ranks, 20) == mrr_at_k(ranks, 20) == 0.0


@pytest.mark.parametrize("broken", [0, 1, 2], ids=["target", "other", "all"])
def test_a_score_that_is_not_a_number_gains_nothing(broken):
    scores = np.array([[0.9, 0.1, 0.5]], dtype=np.float32)
    scores[0, [[0], [2], [0, 1, 2]][broken]] = np.nan
    assert target_ranks(scores, np.array([0])).tolist() == [[3], [2], [3]][broken]


def test_the_caller_s_arrays_stay():
    scores, left_out = np.ones((2, 3), np.float32), np.zeros((2, 3), bool)
    target_ranks(scores, np.array([0, 1]), left_out)
    assert scores.min() == 1
    assert not left_out.any()


def test_hit_and_mrr_by_hand():
    ranks = np.array([1, 2, 4, 11])
    assert hit_at_k(ranks, 4) == 0.75
    assert hit_at_k(ranks, 1) == 0.25
    assert mrr_at_k(ranks, 4) == pytest.approx((1 + 1 / 2 + 1 / 4) / 4)
    assert mrr_at_k(ranks, 11) == pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 11) / 4)
