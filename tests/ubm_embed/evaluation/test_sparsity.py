"""Every example is in one band, and a band has the metrics of its examples."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.evaluation.ranking import ranking_metrics
from ubm_embed.evaluation.sparsity import FrequencyBand, by_frequency


def within(band, counts):
    return (counts >= band.min_count) & (counts <= (np.inf if band.max_count is None else band.max_count))


@given(
    examples=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 130)), min_size=1, max_size=40),
    further=st.sets(st.integers(1, 120), max_size=6),
)
def test_every_example_is_in_one_band(examples, further):
    ranks, counts = np.array(examples).T
    bands = by_frequency(ranks, counts, (0, *sorted(further)))
    assert np.sum([within(band, counts) for band in bands], axis=0).tolist() == [1] * len(examples)
    for band in bands:
        assert band.examples == within(band, counts).sum() > 0
        assert band.metrics == ranking_metrics(ranks[within(band, counts)])
    assert [band.min_count for band in bands] == sorted(band.min_count for band in bands)
    for name, over_all in ranking_metrics(ranks).items():
        assert sum(band.examples * band.metrics[name] for band in bands) / len(examples) == pytest.approx(over_all)


def test_bands_by_hand():
    ranks = np.array([1, 30, 2, 15, 1, 1])
    counts = np.array([0, 0, 4, 1, 5, 1000])
    bands = by_frequency(ranks, counts)
    assert [(band.label, band.examples, band.metrics["hit@10"]) for band in bands] == [
        ("0", 2, 0.5),
        ("1-4", 2, 0.5),
        ("5-9", 1, 1.0),
        ("100+", 1, 1.0),
    ]
    assert (bands[1].min_count, bands[1].max_count, bands[3].max_count) == (1, 4, None)


def test_the_default_bounds_name_every_band():
    counts = np.array([0, 1, 5, 10, 20, 50, 100, 4, 9, 19, 49, 99])
    bands = by_frequency(np.ones(12, int), counts)
    assert [band.label for band in bands] == ["0", "1-4", "5-9", "10-19", "20-49", "50-99", "100+"]
    assert [band.examples for band in bands] == [1, 2, 2, 2, 2, 2, 1]


def test_a_band_is_written_as_json():
    band = FrequencyBand(5, 9, 2, {"hit@10": 0.5})
    document = {"label": "5-9", "min_count": 5, "max_count": 9, "examples": 2, "metrics": {"hit@10": 0.5}}
    assert json.loads(json.dumps(band.to_dict())) == document
    bands = by_frequency(np.array([1, 2], np.int64), np.array([0, 200], np.int32), np.array([0, 100]))
    assert json.loads(json.dumps([band.to_dict() for band in bands]))[1]["min_count"] == 100


def test_no_examples_no_bands():
    assert by_frequency(np.array([], int), np.array([], int)) == []


@pytest.mark.parametrize(
    ("counts", "bounds", "message"),
    [
        ([1, 2, 3], (0, 5), "one shape"),
        ([1, 2], (0, 5, 5), "increasing"),
        ([1, 2], (), "increasing"),
        ([1, 2], (2, 5), "count of 1 is below the first bound, 2"),
    ],
)
def test_counts_and_bounds_that_do_not_fit_are_refused(counts, bounds, message):
    with pytest.raises(ValueError, match=message):
        by_frequency(np.array([1, 1]), np.array(counts), bounds)
