"""Ranks among all candidate products, batch by batch, and the scores of a model."""

import numpy as np
import pytest

from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.evaluation.next_item import SessionModel, ranks_of
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint


class Fixed:
    """Gives every example the same scores, and remembers the size of each batch."""

    def __init__(self, scores):
        self.row, self.sizes = np.array(scores, dtype=np.float32), []

    def scores(self, prefixes):
        self.sizes.append(len(prefixes))
        return np.tile(self.row, (len(prefixes), 1))


class TestRanksOf:
    # The first session has seen product 0, the second products 1 and 0.
    PREFIXES = SessionTable(np.ones(3, np.uint8), np.array([0, 1, 0], np.int32), np.array([0, 1, 3]))

    def test_products_that_a_session_holds_are_not_candidates(self):
        examples = TaskExamples(self.PREFIXES, np.array([2, 2]))
        # Products 0 and 1 are better than 2.
        assert ranks_of(Fixed([3.0, 2.0, 1.0]), examples, 3).tolist() == [2, 1]

    def test_with_repeats_everything_is_a_candidate(self):
        examples = TaskExamples(self.PREFIXES, np.array([2, 1]))
        assert ranks_of(Fixed([3.0, 2.0, 1.0]), examples, 3, repeats=True).tolist() == [3, 2]

    def test_holds_no_more_scores_at_once_than_allowed(self):
        prefixes = self.PREFIXES.take(np.array([0, 1, 0, 1, 0]))
        scorer, steps = Fixed([3.0, 2.0, 1.0]), []
        ranks = ranks_of(
            scorer,
            TaskExamples(prefixes, np.full(5, 2)),
            3,
            name="it",
            progress=lambda *step: steps.append(step),
            max_scores=6,  # two examples of three products
        )
        assert ranks.tolist() == [2, 1, 2, 1, 2]
        assert scorer.sizes == [2, 2, 1]
        assert steps == [("scoring it", done, 5) for done in (2, 4, 5)]

    def test_a_catalogue_larger_than_that_is_scored_for_one_example_at_a_time(self):
        scorer = Fixed([3.0, 2.0, 1.0])
        assert ranks_of(scorer, TaskExamples(self.PREFIXES, np.array([2, 2])), 3, max_scores=2).tolist() == [2, 1]
        assert scorer.sizes == [1, 1]


# A score is a sum of 16 products of float32, of vectors that are themselves sums of a few hundred terms.
ROUNDING = 16 * 16 * float(np.finfo(np.float32).eps)


class TestSessionModel:
    @pytest.fixture
    def embedder(self, model, tokenizer):
        return Embedder(Checkpoint(model, tokenizer, "toy"), device="cpu")

    def test_a_score_is_the_cosine_of_session_and_product(self, embedder, products, tokenizer):
        texts = tokenizer.product_texts(products)
        sessions = SessionTable(np.array([1, 2, 1], np.uint8), np.array([0, 3, 5], np.int32), np.array([0, 2, 3]))
        scores = SessionModel.from_embedder(embedder, products, texts).scores(sessions)
        expected = embedder.embed_table(texts, sessions) @ embedder.embed_products(products).T
        assert scores.shape == (2, 8)
        assert scores == pytest.approx(expected, abs=ROUNDING)
        assert np.abs(scores).max() <= 1 + ROUNDING

    def test_a_long_session_is_read_from_its_last_interactions(self, embedder, products, tokenizer):
        texts = tokenizer.product_texts(products)
        rows = np.arange(20, dtype=np.int32) % 8
        sessions = SessionTable(np.ones(20, np.uint8), rows, np.array([0, 20]))
        model = SessionModel.from_embedder(embedder, products, texts)
        assert model.scores(sessions) == pytest.approx(model.scores(sessions.last(8)), abs=ROUNDING)
