"""Intervals that hold the sample's own value, narrow as theory says, and repeat by seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ubm_embed.evaluation.intervals import bootstrap_intervals


def mean_of(values):
    values = np.asarray(values, dtype=np.float64)
    return lambda chosen: {"mean": float(values[chosen].mean())}


@settings(max_examples=25)
@given(values=st.lists(st.integers(-50, 50), min_size=1, max_size=30))
def test_the_interval_of_a_mean_holds_the_sample_s_mean(values):
    low, high = bootstrap_intervals(mean_of(values), len(values), rounds=300)["mean"]
    assert min(values) <= low <= np.mean(values) + 1e-9
    assert np.mean(values) - 1e-9 <= high <= max(values)


def test_the_interval_of_a_mean_is_about_two_standard_errors_to_each_side():
    values = np.random.default_rng(3).normal(5, 2, 2000)
    low, high = bootstrap_intervals(mean_of(values), values.size)["mean"]
    error = 1.96 * values.std() / np.sqrt(values.size)
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.15 * error)


def test_the_ends_are_the_quantiles_of_what_was_measured():
    seen = []

    def measure(chosen):
        assert chosen.shape == (7,)
        assert set(chosen) <= set(range(7))
        seen.append(chosen)
        return {"first": float(chosen[0]), "sum": float(chosen.sum())}

    result = bootstrap_intervals(measure, 7, rounds=40, level=0.5)
    assert len(seen) == 40
    assert result == {
        "first": tuple(np.quantile([chosen[0] for chosen in seen], [0.25, 0.75])),
        "sum": tuple(np.quantile([chosen.sum() for chosen in seen], [0.25, 0.75])),
    }
    assert all(type(end) is float for ends in result.values() for end in ends)


def test_a_higher_level_is_wider_and_the_seed_decides():
    values = np.arange(50.0) ** 2
    inner, outer = (bootstrap_intervals(mean_of(values), 50, rounds=200, level=level)["mean"] for level in (0.5, 0.9))
    assert outer[0] < inner[0] < inner[1] < outer[1]
    same, other = (
        bootstrap_intervals(mean_of(values), 50, rounds=200, level=0.5, seed=seed)["mean"] for seed in (0, 1)
    )
    assert same == inner != other


def only_if_mixed(labels):
    """Refuses resamples of one class."""

    def measure(chosen):
        if len(set(labels[chosen])) < 2:
            raise ValueError("one class only")
        return {"share": float(labels[chosen].mean())}

    return measure


def test_refused_resamples_are_left_out():
    labels = np.array([0, 0, 1])  # a third of the resamples are of one class
    low, high = bootstrap_intervals(only_if_mixed(labels), 3, rounds=200)["share"]
    assert (low, high) == pytest.approx((1 / 3, 2 / 3))


def test_more_than_half_refused_is_refused():
    with pytest.raises(ValueError, match=r"200 of 200 resamples of 5 examples have no metrics: one class only"):
        bootstrap_intervals(only_if_mixed(np.zeros(5, int)), 5, rounds=200)


def every_other(refusals):
    """Refuses by turns."""
    turns = iter(refusals)

    def measure(chosen):
        if next(turns):
            raise ValueError("its turn")
        return {"one": 1.0}

    return measure


def test_half_refused_is_still_measured():
    assert bootstrap_intervals(every_other([True, False] * 2), 3, rounds=4) == {"one": (1.0, 1.0)}
    with pytest.raises(ValueError, match="3 of 4"):
        bootstrap_intervals(every_other([True, False, True, True]), 3, rounds=4)


def test_other_errors_pass():
    def broken(chosen):
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        bootstrap_intervals(broken, 3)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"rounds": 0}, {"level": 1.0}, {"level": 0.0}])
def test_arguments_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        bootstrap_intervals(mean_of([1.0]), **{"size": 1, **wrong})


def test_the_interval_of_a_distance_is_not_moved_by_the_noise_of_resampling() -> None:
    # Of 50 vectors whose mean is at 1: a percentile interval lies above it, since resampling adds the noise again.
    vectors = np.random.default_rng(0).standard_normal((50, 90))
    vectors += (1 / np.sqrt(90)) - vectors.mean(axis=0)

    def measure(drawn: np.ndarray) -> dict[str, float]:
        return {"distance": float(np.linalg.norm(vectors[drawn].mean(axis=0)))}

    percentile = bootstrap_intervals(measure, 50, rounds=200)["distance"]
    low, high = bootstrap_intervals(measure, 50, rounds=200, distances=["distance"])["distance"]
    assert percentile[0] > 1
    assert low < 1 < high
    assert high - low == pytest.approx(percentile[1] - percentile[0])
    near = bootstrap_intervals(lambda drawn: {"d": abs(float(drawn.mean()) - 24.5)}, 50, rounds=50, distances=["d"])
    assert near["d"][0] >= 0
