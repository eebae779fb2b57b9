"""Bands that take in every question once, and what they say of it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.evaluation.sparsity import FrequencyBand, by_frequency
from ubm_embed.evaluation.task_metrics import ranking_metrics


def within(band, counts):
    return (counts >= band.least) & (counts <= (np.inf if band.most is None else band.most))


@given(
    questions=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 130)), min_size=1, max_size=40),
    further=st.sets(st.integers(1, 120), max_size=6),
)
def test_the_bands_share_out_the_questions(questions, further):
    ranks, counts = np.array(questions).T
    bands = by_frequency(ranks, counts, (0, *sorted(further)))
    assert np.sum([within(band, counts) for band in bands], axis=0).tolist() == [1] * len(questions)
    for band in bands:
        assert band.questions == within(band, counts).sum() > 0
        assert band.metrics == ranking_metrics(ranks[within(band, counts)])
    assert [band.least for band in bands] == sorted(band.least for band in bands)
    for name, over_all in ranking_metrics(ranks).items():
        assert sum(band.questions * band.metrics[name] for band in bands) / len(questions) == pytest.approx(over_all)


def test_bands_by_hand():
    ranks = np.array([1, 30, 2, 15, 1, 1])
    counts = np.array([0, 0, 4, 1, 5, 1000])
    bands = by_frequency(ranks, counts)
    assert [(band.label, band.questions, band.metrics["hit@10"]) for band in bands] == [
        ("0", 2, 0.5),
        ("1-4", 2, 0.5),
        ("5-9", 1, 1.0),
        ("100+", 1, 1.0),
    ]
    assert (bands[1].least, bands[1].most, bands[3].most) == (1, 4, None)


def test_the_default_bounds_name_every_band():
    counts = np.array([0, 1, 5, 10, 20, 50, 100, 4, 9, 19, 49, 99])
    bands = by_frequency(np.ones(12, int), counts)
    assert [band.label for band in bands] == ["0", "1-4", "5-9", "10-19", "20-49", "50-99", "100+"]
    assert [band.questions for band in bands] == [1, 2, 2, 2, 2, 2, 1]


def test_a_band_is_written_as_json():
    band = FrequencyBand(5, 9, 2, {"hit@10": 0.5})
    document = {"label": "5-9", "least": 5, "most": 9, "questions": 2, "metrics": {"hit@10": 0.5}}
    assert json.loads(json.dumps(band.to_dict())) == document
    found = by_frequency(np.array([1, 2], np.int64), np.array([0, 200], np.int32), np.array([0, 100]))
    assert json.loads(json.dumps([band.to_dict() for band in found]))[1]["least"] == 100


def test_no_questions_no_bands():
    assert by_frequency(np.array([], int), np.array([], int)) == []


@pytest.mark.parametrize(
    ("counts", "bounds", "said"),
    [
        ([1, 2, 3], (0, 5), "one shape"),
        ([1, 2], (0, 5, 5), "increasing"),
        ([1, 2], (), "increasing"),
        ([1, 2], (2, 5), "count of 1 is below the first bound, 2"),
    ],
)
def test_what_cannot_be_shared_out(counts, bounds, said):
    with pytest.raises(ValueError, match=said):
        by_frequency(np.array([1, 1]), np.array(counts), bounds)
