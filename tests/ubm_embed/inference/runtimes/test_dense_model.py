"""The dense form has the packed model's vectors, whatever the model is like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import ElectraConfig

from tests.rounding import LAYER, rounding_error
from ubm_embed.data.batches.packing import Packing
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.inference.runtimes.dense_model import DenseProducts, DenseSessions, dense_inputs, padded
from ubm_embed.inference.runtimes.torch_runtime import TorchRuntime
from ubm_embed.model.config import UBMConfig
from ubm_embed.model.user_behavior_model import InteractionEncoder, UserBehaviorModel

# Both encoders, two layers each, and no sum of more than 128 terms.
ATOL = rounding_error(4 * LAYER, 128)

SEQUENCES = TokenTable.from_rows([[2, 7, 3], [2, 3], [2, *range(10, 40), 3], [2, 8, 9, 3]])


def bert(**sizes: Any) -> UserBehaviorModel:
    return UserBehaviorModel.from_scratch(vocab_size=50, layers=2, dimension=16, session_heads=2, **sizes)


def knowing() -> UserBehaviorModel:
    model = bert(width=16, session_layers=1)
    tokenizer = InteractionTokenizer.train(["red shoe", "blue hat"], [], vocab_size=50)
    texts = TokenTable.from_rows([[7], [*range(10, 40)]])
    model.add_item_embeddings(texts, tokenizer)
    return model


def electra() -> UserBehaviorModel:
    encoder = ElectraConfig(
        vocab_size=50,
        embedding_size=8,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    config = UBMConfig(dimension=16, session_layers=1, session_heads=2, interaction_encoder=encoder.to_dict())
    return UserBehaviorModel(config, InteractionEncoder(encoder, 16))


@pytest.mark.parametrize(
    "make",
    [
        lambda: bert(width=16, session_layers=2),
        lambda: bert(width=32, session_layers=2),
        lambda: bert(width=16, session_layers=0),
        electra,
        lambda: bert(width=16, session_layers=2, causal=True),
        lambda: bert(width=32, session_layers=1, mean_of_tokens=True),
        knowing,
    ],
    ids=[
        *("as the paper's", "with a projection", "without a session encoder", "ELECTRA"),
        *("causal", "mean of tokens", "known texts"),
    ],
)
def test_vectors_are_those_of_the_packed_model(make: Any, stir: Any) -> None:
    torch.manual_seed(0)
    model = make().eval()
    stir(model)
    inputs = {name: torch.from_numpy(array) for name, array in dense_inputs(model, SEQUENCES).items()}
    with torch.inference_mode():
        found = DenseProducts(model)(**inputs).numpy()
    assert np.abs(found - TorchRuntime(model).encode(SEQUENCES)).max() < ATOL


@pytest.mark.parametrize("causal", [False, True])
def test_sessions_are_those_of_the_packed_model(causal: bool, stir: Any) -> None:
    torch.manual_seed(0)
    model = bert(width=16, session_layers=2, causal=causal).eval()
    stir(model)
    lengths = np.array([3, 1, 5])
    interactions, mask = torch.randn(3, 5, 16), torch.arange(5) < torch.from_numpy(lengths)[:, None]
    with torch.inference_mode():
        found = DenseSessions(model)(interactions, mask.long())
        expected = model.session_encoder(interactions[mask], Packing.from_lengths(lengths))
    torch.testing.assert_close(found, torch.nn.functional.normalize(expected, dim=1), atol=ATOL, rtol=0)


def test_padding_is_marked_and_nothing_else() -> None:
    ids, mask = padded(SEQUENCES)
    assert ids.shape == mask.shape == (4, 32)
    assert mask.sum(axis=1).tolist() == SEQUENCES.lengths.tolist()
    assert ids[0].tolist() == [2, 7, 3] + [0] * 29
