"""A group that moved is found among those that did not; chance alone finds none."""

import numpy as np
import pytest

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.evaluation.group_shift import GroupShift, group_shifts

WIDTH = 16
EPS = float(np.finfo(np.float32).eps)


def noise(count: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)


def shifts_of(moves: FloatArray, groups: IntArray, min_size: int = 2) -> list[GroupShift]:
    return group_shifts(moves, groups, min_size=min_size, rounds=200, seed=0)


def test_the_distance_is_between_the_mean_of_a_group_and_the_median_of_all_less_what_scatter_gives() -> None:
    moves, groups = noise(90), np.repeat([0, 1, 2], 30)
    moves[groups == 1] += 1
    expected = {}
    for group in range(3):
        members = moves[groups == group].astype(np.float64)
        squared = np.square(members.mean(axis=0) - np.median(moves, axis=0)).sum()
        expected[group] = np.sqrt(max(squared - np.trace(np.cov(members.T)) / 30, 0))
    measured = shifts_of(moves, groups)
    assert {one.group for one in measured} == {*expected}
    for one in measured:
        assert one.size == 30
        # Sums of 30 float32 numbers of size 1 in 16 columns.
        assert one.distance == pytest.approx(expected[one.group], abs=30 * WIDTH * EPS)
    assert [one.distance for one in measured] == sorted((one.distance for one in measured), reverse=True)


def test_many_moves_in_all_directions_are_no_distance() -> None:
    # The mean of 20 moves of length 4 is 0.89 long, and its square has a standard deviation of 0.53 squared.
    distances = []
    for seed in range(40):
        moves, groups = np.zeros((400, WIDTH), np.float32), np.arange(400) % 20
        moves[groups == 3] = noise(20, seed)
        (shift,) = (one for one in shifts_of(moves, groups) if one.group == 3)
        distances.append(shift.distance)
    assert np.median(distances) < 0.3
    assert max(distances) < 0.89


def test_a_group_that_moved_apart_is_significant_and_the_others_are_not() -> None:
    moves, groups = 0.1 * noise(400), np.arange(400) % 8
    moves[groups == 5] += 0.2
    first, *others = shifts_of(moves, groups)
    assert (first.group, first.p_value) == (5, 1 / 201)
    assert first.distance == pytest.approx(0.2 * np.sqrt(WIDTH), rel=0.2)
    assert all(one.p_value > 0.05 for one in others)


def test_what_moved_the_whole_moves_no_group() -> None:
    moves, groups = 0.1 * noise(400), np.arange(400) % 8
    together = shifts_of(moves + np.float32(5), groups)
    assert [(one.group, one.p_value) for one in together] == [
        (one.group, one.p_value) for one in shifts_of(moves, groups)
    ]
    assert all(one.p_value > 0.05 for one in together)


def test_false_alarms_over_all_groups_are_as_rare_as_the_p_value_says() -> None:
    groups = np.arange(200) % 10
    lowest = [min(one.p_value for one in shifts_of(noise(200, seed), groups)) for seed in range(60)]
    # 3 of 60 are expected below 0.05; more than 9 have a chance of one in a thousand.
    assert sum(p_value < 0.05 for p_value in lowest) <= 9


def test_moves_of_a_few_at_random_are_no_shift_of_their_groups() -> None:
    moves, groups = np.zeros((1000, WIDTH), np.float32), np.arange(1000) % 20
    moves[np.random.default_rng(1).choice(1000, 10, replace=False)] = noise(10)
    assert all(one.p_value > 0.05 for one in shifts_of(moves, groups))


def test_without_a_move_nothing_is_significant() -> None:
    assert {(one.distance, one.p_value) for one in shifts_of(np.zeros((40, WIDTH), np.float32), np.arange(40) % 4)} == {
        (0.0, 1.0)
    }


def test_small_groups_are_left_out() -> None:
    groups = np.repeat([0, 1, 7], [10, 3, 10])
    assert {one.group for one in shifts_of(noise(23), groups, min_size=5)} == {0, 7}
    assert shifts_of(noise(23), groups, min_size=11) == []
    assert shifts_of(noise(0), groups[:0]) == []
