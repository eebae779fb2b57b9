"""The words that are masked, and the answers."""

import numpy as np
import pytest

from benchmarks.quality.baselines.masked_words import MaskedWords
from ubm_embed.data.batches.distinct_batches import interaction_sequences
from ubm_embed.data.batches.packing import TokenBatch
from ubm_embed.data.text.token_table import TokenTable


@pytest.fixture(scope="module")
def sequences(products, tokenizer):
    """Many interactions with the toy shop's products."""
    rng = np.random.default_rng(0)
    return interaction_sequences(
        tokenizer, tokenizer.product_texts(products), rng.integers(-1, 4, 3000), rng.integers(0, 8, 3000)
    )


@pytest.fixture(scope="module")
def masked(sequences, tokenizer):
    return MaskedWords.mask(sequences, tokenizer, np.random.default_rng(1))


def test_only_words_are_predicted_and_special_tokens_stay(sequences, masked, tokenizer):
    before = TokenBatch.from_table(sequences).ids
    is_word = tokenizer.is_word[before.numpy()]
    assert not is_word.all()
    assert is_word[masked.predicted.numpy()].all()
    assert (masked.tokens.ids == before)[~masked.predicted].all()


def test_the_answers_are_the_original_tokens(sequences, masked):
    assert (TokenBatch.from_table(sequences).ids[masked.predicted] == masked.answers).all()
    assert masked.tokens.packing.starts.tolist() == TokenBatch.from_table(sequences).packing.starts.tolist()


def test_rates_are_those_of_bert(sequences, masked, tokenizer):
    words = tokenizer.is_word[sequences.ids].sum()
    assert masked.answers.numel() == round(0.15 * words)
    inputs = masked.tokens.ids[masked.predicted]
    is_mask = (inputs == tokenizer.mask).numpy()
    assert is_mask.mean() == pytest.approx(0.8, abs=0.03)
    unchanged = (inputs == masked.answers).numpy()
    assert unchanged.mean() == pytest.approx(0.1, abs=0.03)
    assert tokenizer.is_word[inputs.numpy()[~is_mask]].all()


def test_a_single_word_is_predicted(tokenizer):
    word = int(np.flatnonzero(tokenizer.is_word)[0])
    alone = TokenTable.from_rows([[tokenizer.cls, tokenizer.sep], [tokenizer.cls, word, tokenizer.sep]])
    assert MaskedWords.mask(alone, tokenizer, np.random.default_rng(0)).answers.tolist() == [word]


def test_the_caller_s_table_does_not_change(sequences, tokenizer):
    before = sequences.ids.copy()
    MaskedWords.mask(sequences, tokenizer, np.random.default_rng(2))
    assert np.array_equal(sequences.ids, before)
