"""Both float32 runtimes read every kind of model alike: ONNX Runtime what PyTorch reads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import ElectraConfig, PreTrainedConfig

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.batches.packing import Packing, TokenBatch
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.inference.runtimes.graph_writer import write_graphs
from ubm_embed.inference.runtimes.model_runtime import ModelRuntime
from ubm_embed.inference.runtimes.opening import open_model_runtime, open_torch_model
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.model.bert import bert_config
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.config import UBMConfig
from ubm_embed.model.counting_logit import CountingLogit
from ubm_embed.model.folder import ModelFolder
from ubm_embed.model.heads import LengthDistributionHead, PurchaseIntentionHead, RemainingLengthHead
from ubm_embed.model.user_behavior_model import InteractionEncoder, UserBehaviorModel

MIN_COSINE = 0.99999
# Of values near 1 after some hundred sums of up to 64 terms.
TOLERANCE = 1e-4
MAX_INTERACTIONS = 8
KNOWN = [[7], [*range(10, 40)]]

Make = Callable[[InteractionTokenizer], UserBehaviorModel]


def bert(**settings: Any) -> Make:
    def make(tokenizer: InteractionTokenizer) -> UserBehaviorModel:
        sizes: dict[str, Any] = {"layers": 2, "width": 16, "dimension": 16, "session_layers": 2, "session_heads": 2}
        sizes |= {"vocab_size": tokenizer.vocab_size, "max_interactions": MAX_INTERACTIONS}
        return UserBehaviorModel.from_scratch(**{**sizes, **settings})

    return make


def around(encoder: PreTrainedConfig) -> UserBehaviorModel:
    config = UBMConfig(
        dimension=16,
        session_layers=1,
        session_heads=2,
        max_interactions=MAX_INTERACTIONS,
        interaction_encoder=encoder.to_dict(),
    )
    return UserBehaviorModel(config, InteractionEncoder(encoder, 16))


def encoder_of(activation: str) -> Make:
    def make(tokenizer: InteractionTokenizer) -> UserBehaviorModel:
        encoder = bert_config(vocab_size=tokenizer.vocab_size, layers=1, width=16, heads=2)
        encoder.hidden_act = activation
        return around(encoder)

    return make


def electra(tokenizer: InteractionTokenizer) -> UserBehaviorModel:
    encoder = ElectraConfig(
        vocab_size=tokenizer.vocab_size,
        embedding_size=8,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    return around(encoder)


def with_item_embeddings(tokenizer: InteractionTokenizer) -> UserBehaviorModel:
    model = bert(causal=True, mean_of_tokens=True)(tokenizer)
    model.add_item_embeddings(TokenTable.from_rows(KNOWN), tokenizer)
    return model


def stir_trees(counting: CountingLogit) -> None:
    """Each tree splits by its first split alone: two leaves, the left one first."""
    counting.columns.copy_(torch.randint(counting.weights.numel(), counting.columns.shape))
    counting.paths[:, 0, :2] = torch.tensor([1.0, -1.0])
    counting.lefts[:, :2] = torch.tensor([1.0, 0.0])
    for buffer in (counting.weights, counting.bias, counting.thresholds, counting.values):
        torch.nn.init.normal_(buffer)


def with_head(task: Task, features: int = 0, trees: int = 0, **settings: Any) -> Make:
    def make(tokenizer: InteractionTokenizer) -> UserBehaviorModel:
        model = bert(**settings)(tokenizer).fine_tuned(task=task, head_features=features, head_trees=trees)
        if features:
            torch.nn.init.normal_(model.head.layers[-1].weight)
            model.head.features.std.fill_(2)
        if isinstance(model.head, LengthDistributionHead):
            model.head.fit(np.array([1, 2, 2, 5, 30]))
        if isinstance(model.head, PurchaseIntentionHead):
            model.head.purchase_share.fill_(0.07)
            if model.head.counting is not None:
                stir_trees(model.head.counting)
        if isinstance(model.head, RemainingLengthHead):
            model.head.mean.fill_(0.1)
            model.head.std.fill_(3)
        return model

    return make


MODELS: dict[str, Make] = {
    "as the paper's": bert(),
    "with a projection": bert(width=32),
    "causal": bert(causal=True),
    "mean of tokens": bert(mean_of_tokens=True, width=32),
    "without a session encoder": bert(session_layers=0),
    "causal without a session encoder": bert(session_layers=0, causal=True),
    "one interaction": bert(max_interactions=1),
    "ELECTRA": electra,
    "item embeddings": with_item_embeddings,
    "purchase intention": with_head(Task.PIP),
    "remaining length": with_head(Task.RLP, causal=True),
    "purchase intention with features": with_head(Task.PIP, features=5),
    "purchase intention with trees": with_head(Task.PIP, features=5, trees=3),
    "distribution of lengths": with_head(Task.RLP, features=5),
    **{activation: encoder_of(activation) for activation in ("gelu_new", "gelu_pytorch_tanh", "relu", "silu")},
}


def saved(model: UserBehaviorModel, tokenizer: InteractionTokenizer, folder: Path) -> ModelFolder:
    folder.mkdir()
    save_checkpoint(folder, model, tokenizer, {})
    assert write_graphs(folder)
    return ModelFolder.open(folder)


@pytest.fixture(scope="module", params=MODELS)
def folder(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: InteractionTokenizer,
    removal_tokenizer: InteractionTokenizer,
) -> ModelFolder:
    """A model folder with graphs, in which every layer does something."""
    torch.manual_seed(0)
    words = removal_tokenizer if request.param == "item embeddings" else tokenizer
    model = MODELS[request.param](words)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return saved(model.eval(), words, tmp_path_factory.mktemp("models") / "model")


@pytest.fixture(scope="module")
def model(folder: ModelFolder) -> UserBehaviorModel:
    """The model itself."""
    return Checkpoint.from_folder(folder).model


@pytest.fixture(scope="module", params=["torch", "onnx"])
def runtime(request: pytest.FixtureRequest, folder: ModelFolder) -> ModelRuntime:
    """Both runtimes."""
    opened = open_model_runtime(folder, "cpu") if request.param == "onnx" else open_torch_model(folder, "cpu")
    assert opened.name == request.param
    return opened


@pytest.fixture(scope="module")
def sequences(folder: ModelFolder) -> TokenTable:
    """Texts of all lengths, some with an action, some with a vector of their own."""
    words, random = folder.tokenizer, np.random.default_rng(0)
    texts = [*KNOWN, *(random.integers(7, words.vocab_size, size) for size in (1, 2, 5, 20, 40, 61, 3, 3))]
    view = int(words.actions[0])
    rows = [[words.cls, *([view] if number % 3 else []), *text, words.sep] for number, text in enumerate(texts)]
    return TokenTable.from_rows(rows)


@pytest.fixture(scope="module")
def lengths(folder: ModelFolder) -> IntArray:
    """Of sessions, up to the longest that the model reads."""
    return np.minimum(np.array([3, 1, MAX_INTERACTIONS, 2, 1]), folder.config.max_interactions)


@pytest.fixture(scope="module")
def interactions(folder: ModelFolder, lengths: IntArray) -> FloatArray:
    """Of those sessions."""
    return np.random.default_rng(1).standard_normal((lengths.sum(), folder.config.dimension)).astype(np.float32)


def require_equal(found: FloatArray, expected: FloatArray) -> None:
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    cosines = np.einsum("nd,nd->n", found, expected)
    cosines /= np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert cosines.min() > MIN_COSINE
    assert np.abs(found - expected).max() < TOLERANCE


class TestEveryRuntime:
    def test_interactions_are_the_models(
        self, runtime: ModelRuntime, model: UserBehaviorModel, sequences: TokenTable
    ) -> None:
        with torch.inference_mode():
            expected = model.interaction_encoder(TokenBatch.from_table(sequences)).numpy()
        require_equal(runtime.encode_interactions(sequences), expected)

    def test_sessions_are_the_models(
        self, runtime: ModelRuntime, model: UserBehaviorModel, interactions: FloatArray, lengths: IntArray
    ) -> None:
        with torch.inference_mode():
            expected = model.session_encoder(torch.from_numpy(interactions), Packing.from_lengths(lengths)).numpy()
        require_equal(runtime.encode_sessions(interactions, lengths), expected)

    def test_products_are_sessions_of_one(self, runtime: Any, sequences: TokenTable) -> None:
        alone = np.ones(len(sequences), np.int64)
        expected = runtime.encode_sessions(runtime.encode_interactions(sequences), alone)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        require_equal(runtime.encode(sequences), expected)

    def test_an_element_of_a_batch_is_read_as_alone(
        self, runtime: ModelRuntime, sequences: TokenTable, interactions: FloatArray, lengths: IntArray
    ) -> None:
        alone = [runtime.encode_interactions(sequences.take(np.array([row]))) for row in range(len(sequences))]
        require_equal(np.concatenate(alone), runtime.encode_interactions(sequences))
        parts = zip(np.split(interactions, np.cumsum(lengths)[:-1]), lengths, strict=True)
        sessions = [runtime.encode_sessions(part, np.array([length])) for part, length in parts]
        require_equal(np.concatenate(sessions), runtime.encode_sessions(interactions, lengths))

    def test_predictions_are_the_heads(
        self, runtime: ModelRuntime, model: UserBehaviorModel, interactions: FloatArray
    ) -> None:
        if model.head is None:
            with pytest.raises(ValueError, match="the model has no head"):
                runtime.predict(interactions)
            return
        features = np.random.default_rng(0).normal(0, 5, size=(len(interactions), model.config.head_features))
        inputs = np.concatenate([interactions, features.astype(np.float32)], axis=1)
        found = runtime.predict(inputs)
        with torch.inference_mode():
            expected = model.head.predict(torch.from_numpy(inputs)).numpy()
        assert (found.dtype, found.shape) == (np.float32, expected.shape)
        np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=TOLERANCE)

    def test_several_threads_may_read_at_once(
        self, runtime: ModelRuntime, sequences: TokenTable, interactions: FloatArray, lengths: IntArray
    ) -> None:
        texts, sessions = runtime.encode_interactions(sequences), runtime.encode_sessions(interactions, lengths)

        def read(_: int) -> tuple[FloatArray, FloatArray]:
            return runtime.encode_interactions(sequences), runtime.encode_sessions(interactions, lengths)

        with ThreadPoolExecutor(4) as pool:
            for found_texts, found_sessions in pool.map(read, range(20)):
                require_equal(found_texts, texts)
                require_equal(found_sessions, sessions)


def test_many_texts_and_sessions_are_read_in_parts(tmp_path: Path, tokenizer: InteractionTokenizer) -> None:
    torch.manual_seed(0)
    folder = saved(bert(causal=True)(tokenizer).eval(), tokenizer, tmp_path / "model")
    random = np.random.default_rng(0)
    rows = [[2, *random.integers(7, 100, size), 3] for size in random.integers(1, 62, 200)]
    lengths = random.integers(1, MAX_INTERACTIONS + 1, 600)
    interactions = random.standard_normal((lengths.sum(), 16)).astype(np.float32)
    exact, runtime = open_torch_model(folder, "cpu"), open_model_runtime(folder, "cpu")
    assert runtime.name is RuntimeName.ONNX
    sequences = TokenTable.from_rows(rows)
    require_equal(runtime.encode_interactions(sequences), exact.encode_interactions(sequences))
    require_equal(runtime.encode_sessions(interactions, lengths), exact.encode_sessions(interactions, lengths))
