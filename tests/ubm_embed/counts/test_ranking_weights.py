"""What counts weigh is a small file in a model folder, and the defaults without one."""

import json

import numpy as np
import pytest

from ubm_embed.counts.ranking_weights import COUNTS_FILE, CountWeights, seen_bins
from ubm_embed.errors import InvalidData


def test_weights_come_back_from_a_folder(tmp_path):
    assert CountWeights.load(tmp_path) == CountWeights() == CountWeights.load(None)
    weights = CountWeights(backward=0.5, decay=0.5, scale=2.0, by_seen=(0.0, 0.1, 0.2))
    weights.save(tmp_path)
    assert CountWeights.load(tmp_path) == weights


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("decay", 0),
        ("by_seen", []),
        ("by_seen", [-1.0]),
        ("by_seen", [1e300]),  # infinite in 32 bits
        ("scale", "1"),
        ("scale", 1e300),
        ("max_recent", 0),
    ],
)
def test_a_damaged_file_is_named(tmp_path, field, value):
    document = CountWeights().model_dump(mode="json") | {field: value}
    (tmp_path / COUNTS_FILE).write_text(json.dumps(document))
    with pytest.raises(InvalidData, match=f"{COUNTS_FILE}.*{field}"):
        CountWeights.load(tmp_path)


def test_a_bonus_is_the_logarithm_of_a_sum_by_how_often_the_product_was_seen():
    weights = CountWeights(scale=2.0, by_seen=(0.0, 0.1, 0.3))
    bonus = weights.bonus(np.array([1.0, 1.0, 4.0, 0.0], np.float32), np.array([0, 1, 9, 2], np.uint8))
    assert bonus == pytest.approx([0, 0.1 * np.log(3), 0.3 * np.log(9), 0])


def test_the_latest_product_weighs_most():
    assert CountWeights(decay=0.5).recency(3) == pytest.approx([0.25, 0.5, 1])
    assert CountWeights().recency(0).size == 0


def test_bins_double():
    assert seen_bins(np.array([0, 1, 2, 3, 4, 7, 8, 1 << 20])).tolist() == [0, 1, 2, 2, 3, 3, 4, 21]
