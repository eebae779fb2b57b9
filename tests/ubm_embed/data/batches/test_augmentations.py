"""What each augmentation changes, and what it leaves unchanged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.augmentations import mask_action_and_item_tokens, mask_item_tokens, reorder_interactions
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.text.token_table import TokenTable

MASKERS = [mask_item_tokens, mask_action_and_item_tokens]
SEEDS = st.integers(0, 1000)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def big(tokenizer):
    """20,000 rows `[CLS] [ACTION] [TITLE] word word word [SEP]`."""
    words = np.flatnonzero(tokenizer.is_word)
    draw = rng(9)
    rows = 20_000
    columns = [
        np.full(rows, tokenizer.cls),
        draw.choice(tokenizer.actions, rows),
        np.full(rows, _mark(tokenizer, "[TITLE]")),
        *(draw.choice(words, rows) for _ in range(3)),
        np.full(rows, tokenizer.sep),
    ]
    ids = np.stack(columns, axis=1).astype(np.int32)
    return TokenTable(ids.ravel(), np.arange(rows + 1) * ids.shape[1])


def _mark(tokenizer, name):
    return next(number for number in range(tokenizer.vocab_size) if tokenizer.tokens([number]) == [name])


@pytest.mark.parametrize("mask", MASKERS)
@given(data=st.data(), seed=SEEDS)
def test_shapes_and_special_tokens_stay(tokenizer, mask, data, seed):
    row = st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=12)
    before = TokenTable.from_rows(data.draw(st.lists(row, max_size=6)))
    kept = before.ids.copy()
    after = mask(before, tokenizer, rng(seed))
    assert np.array_equal(before.ids, kept)
    assert np.array_equal(after.offsets, before.offsets)
    assert after.ids.dtype == np.int32
    changed = after.ids != before.ids
    maskable = tokenizer.is_word[before.ids]
    if mask is mask_action_and_item_tokens:
        maskable |= np.isin(before.ids, tokenizer.actions)
    assert maskable[changed].all()
    words = tokenizer.is_word[before.ids]
    assert (tokenizer.is_word[after.ids] | (after.ids == tokenizer.mask))[words].all()
    actions = np.isin(before.ids, tokenizer.actions)
    assert (np.isin(after.ids, tokenizer.actions) | (after.ids == tokenizer.mask))[actions].all()


@pytest.mark.parametrize("mask", MASKERS)
def test_a_tenth_of_the_words_is_masked_and_a_twentieth_replaced(tokenizer, big, mask):
    after = mask(big, tokenizer, rng()).ids
    words = tokenizer.is_word[big.ids]
    replaced = words & (after != big.ids) & (after != tokenizer.mask)
    assert (after == tokenizer.mask)[words].mean() == pytest.approx(0.10, abs=0.005)
    # A random word is now and then the word that stood there.
    assert replaced.sum() / words.sum() == pytest.approx(0.05 * (1 - 1 / tokenizer.is_word.sum()), abs=0.005)
    assert np.unique(after[replaced]).size == tokenizer.is_word.sum()


def test_actions_are_masked_alike_and_replaced_by_actions(tokenizer, big):
    after = mask_action_and_item_tokens(big, tokenizer, rng()).ids
    actions = np.isin(big.ids, tokenizer.actions)
    replaced = actions & (after != big.ids) & (after != tokenizer.mask)
    assert (after == tokenizer.mask)[actions].mean() == pytest.approx(0.10, abs=0.01)
    assert replaced.sum() / actions.sum() == pytest.approx(0.05 * 3 / 4, abs=0.01)
    assert set(after[replaced]) == set(tokenizer.actions)


def test_item_token_masking_leaves_actions(tokenizer, big):
    actions = np.isin(big.ids, tokenizer.actions)
    assert np.array_equal(mask_item_tokens(big, tokenizer, rng()).ids[actions], big.ids[actions])


@pytest.mark.parametrize("mask", MASKERS)
def test_masking_is_seeded(tokenizer, big, mask):
    again = [mask(big, tokenizer, rng(seed)).ids for seed in (1, 1, 2)]
    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])


def numbered(lengths):
    """Sessions in which every interaction is a different one; its row tells its place, its action goes with the row."""
    rows = np.arange(sum(lengths), dtype=np.int32)
    return SessionTable((rows % 4).astype(np.uint8), rows, np.cumsum([0, *lengths]))


@given(lengths=st.lists(st.integers(0, 6), max_size=8), seed=SEEDS)
def test_reordering_exchanges_two_interactions_within_each_session(lengths, seed):
    before = numbered(lengths)
    after = reorder_interactions(before, rng(seed))
    assert np.array_equal(before.rows, np.arange(before.rows.size))
    assert np.array_equal(before.actions, before.rows % 4)
    assert np.array_equal(after.offsets, before.offsets)
    assert np.array_equal(after.actions, after.rows % 4), "an action goes with its product"
    for start, stop in zip(before.offsets[:-1], before.offsets[1:], strict=True):
        moved = np.flatnonzero(after.rows[start:stop] != before.rows[start:stop]) + start
        assert moved.size == (2 if stop - start > 1 else 0)
        assert after.rows[moved].tolist() == moved[::-1].tolist()


def test_reordering_draws_every_pair_of_positions():
    after = reorder_interactions(numbered([4] * 2000), rng())
    moved = (after.rows != np.arange(after.rows.size)).reshape(-1, 4)
    pairs, counts = np.unique(moved, axis=0, return_counts=True)
    assert len(pairs) == 6
    assert counts.min() > 0.8 * 2000 / 6


def test_reordering_is_seeded():
    again = [reorder_interactions(numbered([6] * 20), rng(seed)).rows.tolist() for seed in (1, 1, 2)]
    assert again[0] == again[1] != again[2]
