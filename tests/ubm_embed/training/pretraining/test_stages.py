"""What an epoch draws, and that a stage needs something to compare."""

import numpy as np
import pytest

from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.session import Action
from ubm_embed.errors import InvalidData
from ubm_embed.training.pretraining.config import ITEM_LOSSES, SESSION_LOSSES, PretrainingConfig
from ubm_embed.training.pretraining.stages import ItemStage, SessionStage, batches, stage_steps

VIEW = Action.VIEW.code


def sessions_of(*rows):
    flat = np.array([row for session in rows for row in session], dtype=np.int32)
    return SessionTable(np.full(flat.size, VIEW, np.uint8), flat, np.cumsum([0, *map(len, rows)]))


@pytest.fixture
def item_stage(tokenizer, tokenized):
    def make(sessions, *, pairs_per_session=8, losses=ITEM_LOSSES, **more):
        settings = {"batch_size": 4, "pairs_per_session": pairs_per_session, "losses": frozenset(losses)} | more
        return ItemStage.from_sessions(tokenizer, tokenized, sessions, **settings)

    return make


class TestItemStage:
    def test_pairs_are_neighbouring_products_of_a_session(self, item_stage):
        stage = item_stage(sessions_of([0, 1, 1, 2], [3], [4, 8, 5]))  # row 8 is a search phrase
        pairs = list(zip(stage.items.tolist(), stage.next_items.tolist(), stage.session_of.tolist(), strict=True))
        assert pairs == [(0, 1, 0), (1, 2, 0), (4, 5, 2)]

    def test_a_long_session_gives_an_epoch_no_more_than_its_share(self, item_stage):
        wholesale = [row % 7 for row in range(50)]
        stage = item_stage(sessions_of(wholesale, [0, 1], [2, 3, 4]), pairs_per_session=3)
        rng = np.random.default_rng(0)
        epochs = [stage.epoch(rng) for _ in range(200)]
        for epoch in epochs:
            assert np.bincount(stage.session_of[epoch]).tolist() == [3, 1, 2]
            assert np.unique(epoch).size == epoch.size
        # Every pair of the long session has its turn, and the order is no session's.
        assert np.unique(np.concatenate(epochs)).size == stage.items.size
        assert len({tuple(stage.session_of[epoch]) for epoch in epochs}) > 10

    def test_an_epoch_without_a_cap_in_reach_is_a_permutation(self, item_stage):
        stage = item_stage(sessions_of([0, 1, 2], [3, 4]))
        assert sorted(stage.epoch(np.random.default_rng(0)).tolist()) == [0, 1, 2]

    @pytest.mark.parametrize(
        ("sessions", "cap", "found"),
        [([[0, 0], [1, 8]], 8, 0), ([[0, 1], [2]], 8, 1), ([[0, 1, 2, 3], [4]], 1, 1), ([], 8, 0)],
    )
    def test_fewer_than_two_pairs_are_refused(self, item_stage, sessions, cap, found):
        with pytest.raises(InvalidData, match=f"^{found} pairs of neighbouring products"):
            item_stage(sessions_of(*sessions), pairs_per_session=cap)

    def test_next_items_of_any_session_are_no_negatives_where_it_is_asked_for(self, item_stage):
        sessions, masks = sessions_of([0, 1, 2], [0, 3], [5, 1, 6]), []
        for masked in (False, True):
            stage = item_stage(sessions, mask_known_next_items=masked)
            pairs = list(zip(stage.items.tolist(), stage.next_items.tolist(), strict=True))
            assert pairs == [(0, 1), (1, 2), (0, 3), (5, 1), (1, 6)]
            views = stage.views(np.arange(5), np.random.default_rng(0)).pairs["next_item_pairing"]
            assert views.num_masked == views.false_negative_mask.sum() - 5
            masks.append(views.false_negative_mask)
        # 3 follows 0 and 6 follows 1 elsewhere, and so do 1 and 2 for the pairs (0, 3) and (1, 6).
        more = (masks[1] & ~masks[0]).nonzero().tolist()
        assert more == [[0, 2], [1, 4], [2, 0], [2, 3], [4, 1]]
        assert not (masks[0] & ~masks[1]).any()

    def test_encodes_each_sequence_of_its_views(self, item_stage, model):
        stage = item_stage(sessions_of([0, 1, 2], [3, 4]))
        views = stage.views(np.array([0, 2]), np.random.default_rng(0))
        assert stage.encode(model, views).shape == (4 + 4, 16)
        assert views.pairs.keys() == set(ITEM_LOSSES)


class TestSessionStage:
    @pytest.fixture
    def stage(self, tokenizer, tokenized: TokenizedCorpus):
        return SessionStage(tokenizer, tokenized, tokenized.sessions, 4, frozenset(SESSION_LOSSES))

    def test_an_epoch_is_every_session_once_in_random_order(self, stage):
        rng = np.random.default_rng(0)
        first, second = stage.epoch(rng), stage.epoch(rng)
        assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(40))
        assert first.tolist() != second.tolist()

    def test_encodes_every_view_of_every_session(self, stage, model):
        views = stage.views(np.array([3, 1, 4]), np.random.default_rng(0))
        assert stage.encode(model, views).shape == (3 * 3, 16)
        assert views.pairs.keys() == set(SESSION_LOSSES)


class TestBatches:
    @pytest.fixture
    def stage(self, tokenizer, tokenized):
        return SessionStage(tokenizer, tokenized, tokenized.sessions, 12, frozenset(SESSION_LOSSES))

    def test_every_epoch_reads_whole_batches_of_different_sessions(self, stage):
        config = PretrainingConfig(epochs=3)
        taken = list(batches(stage, config))
        assert [step for step, _ in taken] == list(range(stage_steps(stage, config))) == list(range(9))
        epochs = [np.concatenate([chosen for _, chosen in taken[start : start + 3]]) for start in (0, 3, 6)]
        for epoch in epochs:
            assert np.unique(epoch).size == 36
        assert epochs[0].tolist() != epochs[1].tolist()

    @pytest.mark.parametrize("first", [0, 1, 3, 5, 9])
    def test_a_later_start_reads_what_is_left(self, stage, first):
        config = PretrainingConfig(epochs=3)
        whole = [(step, chosen.tolist()) for step, chosen in batches(stage, config)]
        assert [(step, chosen.tolist()) for step, chosen in batches(stage, config, first)] == whole[first:]
