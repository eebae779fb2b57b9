"""Continued pre-training on a shop's interactions."""

import itertools

import numpy as np
import pytest
import torch
from transformers import BertForMaskedLM, ElectraConfig

from benchmarks.quality.baselines.domain_adaptation import (
    WordPrediction,
    adapt_to_domain,
    has_word,
    interaction_batches,
)
from benchmarks.quality.baselines.masked_words import MaskedWords
from ubm_embed.data.arrays import offsets_of
from ubm_embed.data.batches.distinct_batches import interaction_sequences
from ubm_embed.data.batches.packing import TokenBatch
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.model.bert import bert_config
from ubm_embed.model.user_behavior_model import InteractionEncoder

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def texts(products, tokenizer):
    """Eight products, two search phrases, and a text without a word."""
    phrases = tokenizer.search_phrases(["red shoes", "blue shirt"])
    return TokenTable.concatenate([tokenizer.product_texts(products), phrases, TokenTable.from_rows([[]])])


@pytest.fixture(scope="module")
def sessions():
    """Forty sessions of 2 to 6 interactions, some of them a search."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(2, 7, 40)
    rows = rng.integers(0, 11, lengths.sum()).astype(np.int32)
    actions = np.where(rows < 8, rng.integers(1, 4, rows.size), 0).astype(np.uint8)
    return SessionTable(actions, rows, offsets_of(lengths))


def bert(tokenizer, dropout=0.1):
    torch.manual_seed(0)
    config = bert_config(vocab_size=tokenizer.vocab_size, layers=1, width=16, heads=2, dropout=dropout)
    return InteractionEncoder(config, 16)


def electra(tokenizer):
    torch.manual_seed(0)
    config = ElectraConfig(vocab_size=tokenizer.vocab_size, embedding_size=8, max_position_embeddings=64, **SIZES)
    return InteractionEncoder(config, 16)


@pytest.fixture
def sequences(tokenizer, texts):
    return interaction_sequences(tokenizer, texts, np.array([1, 0, -1, 2]), np.array([0, 8, 5, 10]))


@pytest.mark.parametrize("make", [bert, electra])
def test_the_loss_falls_and_the_encoder_stays_usable(make, tokenizer, texts, sessions, sequences):
    encoder = make(tokenizer).eval()
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    losses = adapt_to_domain(encoder, tokenizer, texts, sessions, steps=80, batch=32, learning_rate=5e-3)
    assert len(losses) == 80
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    assert not encoder.training
    assert encoder.state_dict().keys() == before.keys()
    changed = {name for name, weight in encoder.state_dict().items() if not torch.equal(weight, before[name])}
    assert {"encoder.embeddings.word_embeddings.weight", "encoder.encoder.layer.0.output.dense.weight"} <= changed
    assert not any(name.startswith("projection") for name in changed)
    with torch.no_grad():
        vectors = encoder(TokenBatch.from_table(sequences))
    assert vectors.shape == (4, 16)
    assert vectors.isfinite().all()


def test_equal_seeds_give_equal_weights_and_leave_the_global_random_state_alone(tokenizer, texts, sessions):
    def run(seed):
        encoder = bert(tokenizer)
        torch.manual_seed(int(torch.randint(1000, ()) + seed))
        state = torch.get_rng_state()
        losses = adapt_to_domain(encoder, tokenizer, texts, sessions, steps=4, batch=8, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return losses, encoder.encoder.embeddings.word_embeddings.weight.detach()

    first, second, other = run(3), run(3), run(4)
    assert first[0] == second[0] != other[0]
    assert torch.equal(first[1], second[1])


def test_a_step_reads_interactions_with_their_actions(tokenizer, texts, sessions, monkeypatch):
    read = []
    mask = MaskedWords.mask
    monkeypatch.setattr(MaskedWords, "mask", lambda sequences, *rest: read.append(sequences) or mask(sequences, *rest))
    chosen = np.flatnonzero(sessions.rows != 10)
    adapt_to_domain(bert(tokenizer), tokenizer, texts, sessions, steps=1, batch=chosen.size)
    actions, rows = sessions.actions[chosen].astype(np.int64), sessions.rows[chosen]
    expected = interaction_sequences(tokenizer, texts, actions, rows)
    assert sorted(map(list, rows_of(read[0]))) == sorted(map(list, rows_of(expected)))


def rows_of(table):
    return [table.row(index) for index in range(len(table))]


def test_logits_are_those_of_berts_own_head(tokenizer, sequences):
    encoder = bert(tokenizer, dropout=0.0)
    task = WordPrediction(encoder, 1e-3)
    theirs = BertForMaskedLM(encoder.encoder.config)
    theirs.set_attn_implementation("eager")
    theirs.bert.load_state_dict(encoder.encoder.state_dict())
    head = theirs.cls.predictions
    torch.nn.init.normal_(task.head.bias)
    head.transform.dense.load_state_dict(task.head.dense.state_dict())
    head.transform.LayerNorm.load_state_dict(task.head.norm.state_dict())
    head.bias.data.copy_(task.head.bias.data)
    alone = TokenTable.from_rows([sequences.row(0)])
    words = MaskedWords.mask(alone, tokenizer, np.random.default_rng(0))
    with torch.no_grad():
        expected = theirs.eval()(input_ids=words.tokens.ids.unsqueeze(0)).logits[0][words.predicted]
        torch.testing.assert_close(task.logits(words), expected)


def test_progress_is_reported_every_step(tokenizer, texts, sessions):
    calls = []
    losses = adapt_to_domain(
        bert(tokenizer), tokenizer, texts, sessions, steps=2, batch=4, progress=lambda *call: calls.append(call)
    )
    assert calls == [("domain adaptation", step + 1, 2, f"loss {losses[step]:.3f}") for step in range(2)]


def test_sessions_without_a_word_are_an_error(tokenizer, texts):
    wordless = SessionTable(np.array([1], np.uint8), np.array([10], np.int32), np.array([0, 1]))
    with pytest.raises(ValueError, match="no interaction has a word"):
        adapt_to_domain(bert(tokenizer), tokenizer, texts, wordless, steps=1)


def test_a_text_is_readable_if_it_has_a_word(tokenizer):
    word = int(np.flatnonzero(tokenizer.is_word)[0])
    table = TokenTable.from_rows([[], [word], [tokenizer.cls], [tokenizer.cls, word], []])
    assert has_word(table, tokenizer).tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("batch", [2, 3, 4, 9])
def test_every_epoch_reads_each_interaction_once(batch):
    wanted = np.array([True, False, True, True, True, True])
    batches = interaction_batches(wanted, batch, np.random.default_rng(0))
    drawn = list(itertools.islice(batches, 20))
    assert all(indexes.size == batch for indexes in drawn)
    stream = np.concatenate(drawn)
    for start in range(0, stream.size - 5 + 1, 5):
        assert sorted(stream[start : start + 5].tolist()) == [0, 2, 3, 4, 5]
