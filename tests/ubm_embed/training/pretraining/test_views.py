"""What a step reads: the right sequences, each once a view, and no false negatives."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ubm_embed.data.batches.augmentations import mask_item_tokens
from ubm_embed.data.batches.distinct_batches import NO_ACTION, interaction_sequences
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.session import Action
from ubm_embed.training.pretraining.views import KnownNextItems, Pairs, item_views, session_views

BUY, VIEW, ADD = Action.BUY.code, Action.VIEW.code, Action.ADD.code
MASKING, PAIRING = "item_token_masking", "next_item_pairing"
REORDERING, SESSION_MASKING = "interaction_reordering", "action_and_item_token_masking"


@pytest.fixture
def texts(tokenizer, products):
    return tokenizer.product_texts(products)


def sequences_of(tokens):
    """The sequences of a TokenBatch, in its table's order."""
    starts, lengths = tokens.packing.starts.tolist(), tokens.packing.lengths.tolist()
    return [tuple(tokens.ids[start : start + length].tolist()) for start, length in zip(starts, lengths, strict=True)]


def alone(tokenizer, texts, row):
    return tuple(interaction_sequences(tokenizer, texts, np.array([NO_ACTION]), np.array([row])).ids.tolist())


class TestItemViews:
    ITEMS, NEXT = np.array([0, 1, 0, 4]), np.array([1, 2, 3, 0])

    @pytest.fixture
    def make(self, tokenizer, texts):
        def make(*losses, items=self.ITEMS, next_items=self.NEXT):
            return item_views(tokenizer, texts, items, next_items, frozenset(losses), np.random.default_rng(0))

        return make

    def test_pairs_lead_to_each_product_and_its_next_one(self, make, tokenizer, texts):
        views = make(PAIRING)
        encoded, pairs = sequences_of(views.batch), views.pairs[PAIRING]
        assert [encoded[row] for row in pairs.anchors.tolist()] == [alone(tokenizer, texts, row) for row in self.ITEMS]
        assert [encoded[row] for row in pairs.positives.tolist()] == [alone(tokenizer, texts, row) for row in self.NEXT]

    def test_items_may_be_read_with_the_action_they_had_and_their_next_ones_alone(self, tokenizer, texts):
        actions = np.array([VIEW, ADD, BUY, VIEW])
        losses, rng = frozenset([MASKING, PAIRING]), np.random.default_rng(0)
        views = item_views(tokenizer, texts, self.ITEMS, self.NEXT, losses, rng, actions)
        encoded, pairs = sequences_of(views.batch), views.pairs[PAIRING]
        acted = interaction_sequences(tokenizer, texts, actions, self.ITEMS)
        assert [encoded[row] for row in pairs.anchors.tolist()] == [tuple(acted.row(row).tolist()) for row in range(4)]
        assert [encoded[row] for row in pairs.positives.tolist()] == [alone(tokenizer, texts, row) for row in self.NEXT]
        marks = [encoded[row][1] for row in views.pairs[MASKING].positives.tolist()[:4]]
        assert marks == tokenizer.actions[actions].tolist(), "item token masking leaves actions as they are"

    def test_each_of_the_2n_products_is_paired_with_a_masked_copy_of_its_own(self, make, tokenizer, texts):
        views = make(MASKING)
        encoded, pairs = sequences_of(views.batch), views.pairs[MASKING]
        both = [*self.ITEMS.tolist(), *self.NEXT.tolist()]
        assert [encoded[row] for row in pairs.anchors.tolist()] == [alone(tokenizer, texts, row) for row in both]
        copies = interaction_sequences(tokenizer, texts, np.full(len(both), NO_ACTION), np.array(both))
        masked = mask_item_tokens(copies, tokenizer, np.random.default_rng(0))
        expected = [tuple(masked.row(row).tolist()) for row in range(len(masked))]
        assert [encoded[row] for row in pairs.positives.tolist()] == expected

    def test_each_different_product_is_encoded_once_and_never_as_its_own_positive(self, make):
        views = make(MASKING, PAIRING)
        plain = 5  # the different products among ITEMS and NEXT
        assert len(sequences_of(views.batch)) == plain + 8
        assert len(set(sequences_of(views.batch)[:plain])) == plain
        assert set(views.pairs[MASKING].anchors.tolist()) == set(range(plain))
        assert views.pairs[MASKING].positives.tolist() == list(range(plain, plain + 8))
        assert max(views.pairs[PAIRING].positives.tolist()) < plain

    def test_without_masking_nothing_is_encoded_for_it(self, make):
        views = make(PAIRING)
        assert list(views.pairs) == [PAIRING]
        assert len(sequences_of(views.batch)) == 5

    def test_without_pairing_only_the_masking_loss_is_there(self, make):
        assert list(make(MASKING).pairs) == [MASKING]

    def test_a_next_item_that_is_mine_too_or_that_is_me_is_no_negative(self, make):
        pairs = make(PAIRING, items=np.array([0, 1, 2, 5]), next_items=np.array([3, 3, 0, 6])).pairs[PAIRING]
        # Pairs 0 and 1 have the next item 3 in common; the next item of pair 2 is product 0 itself.
        expected = {(k, k) for k in range(4)} | {(0, 1), (1, 0), (0, 2)}
        assert {(k, q) for k, q in pairs.false_negative_mask.nonzero().tolist()} == expected

    def test_the_same_product_twice_in_a_batch_is_no_negative(self, make):
        mask = make(MASKING, items=np.array([0, 1]), next_items=np.array([2, 0])).pairs[MASKING].false_negative_mask
        assert mask.tolist() == [[i == j or {i, j} == {0, 3} for j in range(4)] for i in range(4)]

    def test_negatives_are_counted(self, make):
        views = make(MASKING, PAIRING, items=np.array([0, 1, 2, 5]), next_items=np.array([3, 3, 0, 6]))
        # Of masking: product 0 stands twice among the eight, product 3 twice.
        assert views.negatives == {PAIRING: (12 - 3, 3), MASKING: (56 - 4, 4)}

    @given(
        items=arrays(np.int64, 12, elements=st.integers(0, 7)),
        next_items=arrays(np.int64, 12, elements=st.integers(0, 7)),
    )
    def test_those_masked_are_counted_without_looking_at_each_pair(self, items, next_items):
        rows = np.arange(12)
        pairs = Pairs.from_arrays(rows, rows, items, next_items)
        assert pairs.num_masked == pairs.false_negative_mask.sum() - 12


class TestKnownNextItems:
    """Against the definition, pair by pair."""

    @given(
        known=arrays(np.int64, (2, 15), elements=st.integers(0, 9)),
        batch=arrays(np.int64, (2, 8), elements=st.integers(0, 9)),
    )
    def test_every_known_next_item_of_an_anchor_is_masked_and_counted(self, known, batch):
        pairs = np.concatenate([known, batch], axis=1)
        items, next_items = batch
        follows = set(zip(*pairs.tolist(), strict=True))
        expected = [
            [
                next_items[q] in (next_items[k], items[k]) or (items[k], next_items[q]) in follows
                for q in range(items.size)
            ]
            for k in range(items.size)
        ]
        rows = np.arange(items.size)
        table = KnownNextItems.from_pairs(*pairs, texts=10).false_negatives(items, next_items)
        masked = Pairs.from_arrays(rows, rows, items, next_items, table)
        assert masked.false_negative_mask.tolist() == expected
        assert masked.num_masked == np.sum(expected) - items.size
        moved = masked.to(torch.device("cpu"))
        assert torch.equal(moved.false_negative_mask, masked.false_negative_mask)

    def test_finding_them_takes_memory_for_the_known_pairs_and_not_for_all_pairs(self):
        count = 60_000
        items = np.arange(count)
        known = KnownNextItems.from_pairs(
            np.repeat(items, 3), (np.repeat(items, 3) * 7 + np.tile([1, 2, 3], count)) % count, count
        )
        tracemalloc.start()
        table = known.false_negatives(items, np.roll(items, 1))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert table.entries.numel() <= 5 * count
        assert peak < 200 * 3 * count < count * count / 50, "bytes: two dozen arrays of eight bytes for each known pair"


class TestSessionViews:
    # Session 1 is session 0 again; 2 has another action, 3 other products.
    ACTIONS = (VIEW, VIEW, BUY, VIEW, VIEW, BUY, VIEW, ADD, BUY, VIEW, ADD)
    ROWS = (0, 1, 1, 0, 1, 1, 0, 1, 1, 2, 3)
    OFFSETS = (0, 3, 6, 9, 11)

    @pytest.fixture
    def sessions(self):
        return SessionTable(np.array(self.ACTIONS, np.uint8), np.array(self.ROWS, np.int32), np.array(self.OFFSETS))

    @pytest.fixture
    def make(self, tokenizer, texts, sessions):
        def make(*losses):
            return session_views(tokenizer, texts, sessions, frozenset(losses), np.random.default_rng(0))

        return make

    def content(self, views):
        """Every session of the batch as the sequences it holds."""
        encoded = sequences_of(views.batch.tokens)
        lengths = views.batch.packing.lengths.tolist()
        return [[encoded[row] for row in part.tolist()] for part in torch.split(views.batch.index, lengths)]

    def plain(self, tokenizer, texts, sessions):
        every = interaction_sequences(tokenizer, texts, sessions.actions.astype(np.int64), sessions.rows)
        rows = [tuple(every.row(row).tolist()) for row in range(len(every))]
        return [rows[start:stop] for start, stop in zip(sessions.offsets[:-1], sessions.offsets[1:], strict=True)]

    def test_anchors_are_the_sessions_as_they_are(self, make, tokenizer, texts, sessions):
        for losses in [(REORDERING,), (SESSION_MASKING,), (REORDERING, SESSION_MASKING)]:
            views = make(*losses)
            assert self.content(views)[:4] == self.plain(tokenizer, texts, sessions)
            assert len(self.content(views)) == 4 * (1 + len(losses))
            for number, name in enumerate(losses, start=1):
                assert views.pairs[name].anchors.tolist() == [0, 1, 2, 3]
                assert views.pairs[name].positives.tolist() == [4 * number + row for row in range(4)]

    def test_reordered_sessions_hold_the_same_interactions(self, make, tokenizer, texts, sessions):
        reordered = self.content(make(REORDERING))[4:]
        plain = self.plain(tokenizer, texts, sessions)
        assert list(map(sorted, reordered)) == list(map(sorted, plain))
        assert reordered != plain

    def test_masked_sessions_keep_their_lengths_and_change_in_place(self, make, tokenizer, texts, sessions):
        masked = self.content(make(SESSION_MASKING))[4:]
        plain = self.plain(tokenizer, texts, sessions)
        assert [list(map(len, session)) for session in masked] == [list(map(len, session)) for session in plain]
        assert masked != plain

    def test_each_different_interaction_is_encoded_once_in_each_shared_view(self, make):
        views = make(REORDERING, SESSION_MASKING)
        different, places = 6, 11
        assert len(sequences_of(views.batch.tokens)) == different + different + places
        by_view = views.batch.index.split(places)
        assert [sorted(set(view.tolist())) for view in by_view] == [
            list(range(different)),
            list(range(different, 2 * different)),
            list(range(2 * different, 2 * different + places)),
        ]

    def test_equal_sessions_are_no_negatives_of_each_other(self, make):
        views = make(REORDERING, SESSION_MASKING)
        for pairs in views.pairs.values():
            assert pairs.false_negative_mask.tolist() == [
                [i == j or {i, j} == {0, 1} for j in range(4)] for i in range(4)
            ]
        assert views.negatives == {REORDERING: (10, 2), SESSION_MASKING: (10, 2)}

    def test_moving_to_a_device_keeps_everything(self, make):
        views = make(REORDERING)
        moved = views.to(torch.device("cpu"))
        assert self.content(moved) == self.content(views)
        masks = [one.pairs[REORDERING].false_negative_mask for one in (moved, views)]
        assert torch.equal(*masks)


def test_a_seed_gives_the_same_views(tokenizer, texts):
    sessions = SessionTable(np.full(6, VIEW, np.uint8), np.arange(6, dtype=np.int32), np.array([0, 3, 6]))

    def ids(seed):
        losses = frozenset({REORDERING, SESSION_MASKING})
        batch = session_views(tokenizer, texts, sessions, losses, np.random.default_rng(seed)).batch
        return batch.tokens.ids.tolist(), batch.index.tolist()

    assert ids(1) == ids(1) != ids(2)
