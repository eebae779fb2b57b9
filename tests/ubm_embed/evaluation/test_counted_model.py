"""A model as it answers: cosines plus the bonus of counts, also of products that training never saw."""

from dataclasses import dataclass

import numpy as np
import pytest

from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.counts.session_counts import SessionCounts
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.evaluation.counted_model import CountedModel


@dataclass
class FixedModel:
    """Products whose cosines do not depend on the session."""

    vectors: np.ndarray

    def scores(self, prefixes):
        return np.tile(self.vectors[:, 0], (len(prefixes), 1))


def table(*sessions):
    rows = np.array([row for session in sessions for row in session], dtype=np.int32)
    return SessionTable(np.ones(rows.size, np.uint8), rows, np.cumsum([0, *map(len, sessions)]))


TRAINING = table([0, 1], [0, 1], [2, 0])
WEIGHTS = CountWeights(by_seen=(0.5,))


def test_scores_are_cosines_and_bonuses():
    vectors = np.array([[0.1, 0], [0.2, 0], [0.3, 0]], np.float32)
    scores = CountedModel.fit(FixedModel(vectors), TRAINING, WEIGHTS).scores(table([0], [1, 2], []))
    bonus = SessionCounts.fit(TRAINING, 3, WEIGHTS).bonus(table([0], [1, 2], [])).toarray()
    assert bonus[0, 1] > 0
    assert scores == pytest.approx(vectors[:, 0] + bonus)


def test_a_product_that_training_never_saw_takes_the_counts_of_its_nearest():
    vectors = np.array([[0, 1], [1, 0], [0, -1], [1, 0]], np.float32)  # the last one reads like the second
    counted = CountedModel.fit(FixedModel(vectors), TRAINING, WEIGHTS)
    bonus = counted.scores(table([0]))[0] - vectors[:, 0]
    assert bonus[3] == pytest.approx(bonus[1])
    assert bonus[1] > bonus[2] > 0
