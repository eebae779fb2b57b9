"""Item embeddings are found without PyTorch as with it, from weights of today and of version 0.1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ubm_embed.data.batches.packing import TokenBatch
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.inference.runtimes.item_vectors import ItemVectors, text_keys
from ubm_embed.model import item_embeddings
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.folder import ModelFolder
from ubm_embed.model.user_behavior_model import UserBehaviorModel

MARKS = [2, 3, 5]


@pytest.fixture
def texts(tokenizer: InteractionTokenizer) -> TokenTable:
    """Three texts."""
    words = np.flatnonzero(tokenizer.is_word)
    return TokenTable.from_rows([words[:1], words[:50], words[[1, 1]]])


@pytest.fixture
def sequences(tokenizer: InteractionTokenizer, texts: TokenTable) -> TokenTable:
    """The first and the second text, with and without an action, and two others, of which one is empty."""
    cls, sep, view = tokenizer.cls, tokenizer.sep, tokenizer.actions[0]
    other = np.flatnonzero(tokenizer.is_word)[2]
    first, second = texts.row(0), texts.row(1)
    return TokenTable.from_rows(
        [[cls, *first, sep], [cls, view, *first, sep], [cls, other, sep], [cls, *second, sep], [cls, sep]]
    )


@given(st.lists(st.lists(st.integers(0, 2**31 - 2), min_size=1, max_size=20), min_size=1, max_size=20))
def test_keys_are_pytorchs_bit_for_bit(rows: list[list[int]]) -> None:
    table = TokenTable.from_rows(rows)
    expected = item_embeddings.text_keys(TokenBatch.from_table(table), torch.tensor(MARKS)).numpy()
    found = text_keys(table, np.array(MARKS))
    assert found.dtype == expected.dtype == np.int64
    assert found.tolist() == expected.tolist()


@pytest.fixture
def folder(tmp_path: Path, tokenizer: InteractionTokenizer, texts: TokenTable) -> Path:
    sizes = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 0, "session_heads": 2}
    model = UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size, **sizes)
    model.add_item_embeddings(texts, tokenizer, torch.randn(3, 16, generator=torch.Generator().manual_seed(0)))
    save_checkpoint(tmp_path, model.eval(), tokenizer, {})
    return tmp_path


def test_vectors_are_those_of_the_model_and_0_for_other_texts(folder: Path, sequences: TokenTable) -> None:
    embeddings = Checkpoint.from_pretrained(folder).model.interaction_encoder.item_embeddings
    assert embeddings is not None
    with torch.inference_mode():
        expected = embeddings(TokenBatch.from_table(sequences)).numpy()
    stored = ItemVectors.from_folder(ModelFolder.open(folder))
    assert stored is not None
    found = stored.find(sequences)
    assert found.any(axis=1).tolist() == [True, True, False, True, False]
    assert np.array_equal(found, expected)


def test_weights_of_version_01_are_read(folder: Path, sequences: TokenTable) -> None:
    weights = load_file(folder / "model.safetensors")
    old = {name.replace(".item_embeddings.", ".known."): tensor for name, tensor in weights.items()}
    now = ItemVectors.from_folder(ModelFolder.open(folder))
    (folder / "training.json").unlink()
    save_file(old, folder / "model.safetensors")
    then = ItemVectors.from_folder(ModelFolder.open(folder))
    assert now is not None
    assert then is not None
    assert np.array_equal(now.find(sequences), then.find(sequences))


def test_a_model_without_them_has_none(tmp_path: Path, tokenizer: InteractionTokenizer) -> None:
    sizes = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 0, "session_heads": 2}
    model = UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size, **sizes)
    save_checkpoint(tmp_path, model.eval(), tokenizer, {})
    assert ItemVectors.from_folder(ModelFolder.open(tmp_path)) is None
