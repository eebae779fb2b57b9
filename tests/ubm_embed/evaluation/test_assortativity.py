"""Whether neighbours share a label."""

from __future__ import annotations

import numpy as np
import pytest

from ubm_embed.data.arrays import unit_rows
from ubm_embed.evaluation.assortativity import assortativity, assortativity_interval
from ubm_embed.evaluation.nearest import NearestOthers

LABELS = ["a", "a", "a", "b", "b", "b"]


def by_definition(labels: list[str], neighbors: list[list[int]]) -> float:
    """Newman 2003, equations 1 and 2, edge by edge."""
    names = sorted({*labels})
    e = np.zeros((len(names), len(names)))
    for start, ends in enumerate(neighbors):
        for end in ends:
            e[names.index(labels[start]), names.index(labels[end])] += 1
    e /= e.sum()
    chance = float((e.sum(axis=1) * e.sum(axis=0)).sum())
    return (float(np.trace(e)) - chance) / (1 - chance)


@pytest.mark.parametrize(
    ("neighbors", "value"),
    [
        ([[1], [2], [0], [4], [5], [3]], 1.0),
        ([[3], [4], [5], [0], [1], [2]], -1.0),
        ([[1, 3], [2, 4], [0, 5], [4, 0], [5, 1], [3, 2]], 0.0),
    ],
    ids=["all agree", "none agrees", "half agrees, as by chance"],
)
def test_a_case_by_hand(neighbors: list[list[int]], value: float) -> None:
    assert assortativity(LABELS, np.array(neighbors)) == pytest.approx(value)


def test_it_is_the_definition() -> None:
    generator = np.random.default_rng(0)
    labels = generator.choice(["a", "b", "c"], 40, p=[0.6, 0.3, 0.1]).tolist()
    neighbors = np.array([generator.choice(np.delete(np.arange(40), row), 5, replace=False) for row in range(40)])
    assert assortativity(labels, neighbors) == pytest.approx(by_definition(labels, neighbors.tolist()))


def test_labels_of_unequal_sizes_that_mean_nothing_have_none() -> None:
    """Most neighbours agree by chance where one label is frequent; that is not counted."""
    generator = np.random.default_rng(0)
    vectors = unit_rows(generator.normal(size=(600, 16)).astype(np.float32))
    labels = generator.choice(["frequent", "rare"], 600, p=[0.9, 0.1]).tolist()
    neighbors = NearestOthers.find(vectors, 10).rows
    interval = assortativity_interval(labels, neighbors, rounds=100, seed=0)
    assert interval is not None
    assert interval[0] <= 0 <= interval[1]


def test_one_label_has_no_value() -> None:
    neighbors = np.array([[1], [2], [0]])
    assert assortativity(["a"] * 3, neighbors) is None
    assert assortativity_interval(["a"] * 3, neighbors, rounds=20, seed=0) is None


def test_the_interval_holds_the_value_and_narrows_with_more_vectors() -> None:
    def width(count: int) -> float:
        generator = np.random.default_rng(1)
        vectors = unit_rows(generator.normal(size=(count, 2)).astype(np.float32))
        labels = np.where(vectors[:, 0] > 0, "right", "left").tolist()
        neighbors = NearestOthers.find(vectors, 10).rows
        interval, value = (
            assortativity_interval(labels, neighbors, rounds=200, seed=0),
            assortativity(labels, neighbors),
        )
        assert interval is not None
        assert value is not None
        assert interval[0] <= value <= interval[1]
        return interval[1] - interval[0]

    assert width(1600) < width(100)
