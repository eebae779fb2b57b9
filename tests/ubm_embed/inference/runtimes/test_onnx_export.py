"""An exported model makes the same vectors in another runtime, at every shape, and describes its inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch.nn.functional import normalize

from tests.rounding import LAYER, rounding_error
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.batches.packing import Packing, TokenBatch
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import Conflict, NotFound
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.runtimes.encoder_graphs import sessions_graph
from ubm_embed.inference.runtimes.onnx_export import export_onnx
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.item_embeddings import text_keys
from ubm_embed.model.user_behavior_model import UserBehaviorModel

# Both encoders, three layers in all, and no sum of more than 128 terms.
ATOL = rounding_error(3 * LAYER, 128)

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

SHOE = Product("red running shoes", "shoes", (("colour", "red"),))


@pytest.fixture(scope="module", params=["as the paper's", "as our recipe's"])
def folders(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tokenizer: InteractionTokenizer
) -> tuple[Path, Path]:
    """A model folder, and its export."""
    ours = request.param == "as our recipe's"
    home = tmp_path_factory.mktemp("exported")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"layers": 1, "width": 32, "dimension": 16, "session_layers": 2, "session_heads": 2}
    sizes |= {"causal": ours, "mean_of_tokens": ours}
    model = UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size, max_interactions=8, **sizes)
    if ours:
        texts = [tokenizer.product_text(one) for one in (SHOE, Product("a lamp"))]
        model.add_item_embeddings(TokenTable.from_rows(texts), tokenizer)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    (home / "model").mkdir()
    save_checkpoint(home / "model", model.eval(), tokenizer, {})
    export_onnx(home / "model", home / "onnx")
    return home / "model", home / "onnx"


def run(folder: Path, graph: str, **inputs: Any) -> FloatArray:
    session = onnxruntime.InferenceSession(folder / graph, providers=["CPUExecutionProvider"])
    found: FloatArray = session.run(["vectors"], inputs)[0]
    return found


def inputs(exported: Path, rows: list[IntArray]) -> dict[str, Any]:
    """The inputs of token sequences; item vectors by the keys that lie beside the graphs."""
    file = exported / "item_embeddings.safetensors"
    if not file.is_file():
        return padded(rows)
    embeddings = load_file(file)
    keys = text_keys(TokenBatch.from_table(TokenTable.from_rows(rows)), embeddings["marks"])
    is_key = (keys[:, None] == embeddings["keys"]).float()
    assert is_key.sum() > 0
    return {**padded(rows), "item_vectors": (is_key @ embeddings["vectors"]).numpy()}


def padded(rows: list[IntArray]) -> dict[str, IntArray]:
    mask = np.arange(max(map(len, rows))) < np.array([[len(row)] for row in rows])
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = np.concatenate(rows)
    return {"ids": ids, "mask": mask.astype(np.int64)}


def test_a_product_is_the_embedders(folders: tuple[Path, Path]) -> None:
    model, exported = folders
    embedder = Embedder.from_pretrained(model, device="cpu")
    about = json.loads((exported / "model.json").read_text("utf-8"))
    assert (about["model_id"], about["dimension"]) == (embedder.model_id, embedder.dimension)
    products = [SHOE, Product("socks"), Product("walking boots " * 20, "shoes")]
    for some in (products, products[:1], products[:1] * 7):
        texts = [embedder.tokenizer.product_text(product) for product in some]
        rows = [np.array([about["cls"], *text, about["sep"]]) for text in texts]
        found = run(exported, "products.onnx", **inputs(exported, rows))
        expected = np.stack([embedder.embed_product(product) for product in some])
        assert np.abs(found - expected).max() < ATOL


def test_a_session_is_the_embedders(folders: tuple[Path, Path]) -> None:
    model, exported = folders
    embedder = Embedder.from_pretrained(model, device="cpu")
    about = json.loads((exported / "model.json").read_text("utf-8"))
    views = [SHOE, Product("socks"), Product("blue shirt", "shirts")]
    view = about["actions"]["[VIEW]"]
    rows = [np.array([about["cls"], view, *embedder.tokenizer.product_text(one), about["sep"]]) for one in views]
    vectors = run(exported, "interactions.onnx", **inputs(exported, rows))
    # Of one and of three interactions, with empty slots.
    interactions = np.full((2, 5, 16), 7, np.float32)
    interactions[0, :1], interactions[1, :3] = vectors[:1], vectors
    mask = np.array([[1, 0, 0, 0, 0], [1, 1, 1, 0, 0]])
    found = run(exported, "sessions.onnx", interactions=interactions, mask=mask)
    sessions = [Session(tuple(Interaction(Action.VIEW, product=one) for one in some)) for some in (views[:1], views)]
    assert np.abs(found - embedder.embed_sessions(sessions)).max() < ATOL


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (3, 5), (40, 2)])
def test_sessions_of_every_shape(folders: tuple[Path, Path], shape: tuple[int, int]) -> None:
    model, exported = folders
    encoder = Checkpoint.from_pretrained(model).model.session_encoder
    interactions = np.random.default_rng(0).standard_normal((*shape, 16)).astype(np.float32)
    lengths = np.full(shape[0], shape[1])
    with torch.inference_mode():
        flat = torch.from_numpy(interactions).flatten(0, 1)
        expected = normalize(encoder(flat, Packing.from_lengths(lengths)), dim=1).numpy()
    found = run(exported, "sessions.onnx", interactions=interactions, mask=np.ones(shape, np.int64))
    assert np.abs(found - expected).max() < ATOL


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_sessions_of_a_model_that_reads_few_interactions(limit: int, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 1, "session_heads": 2}
    model = UserBehaviorModel.from_scratch(vocab_size=50, max_interactions=limit, **sizes).eval()
    (tmp_path / "sessions.onnx").write_bytes(sessions_graph(model, unit=True).SerializeToString())
    for slots in range(1, limit + 1):
        interactions = np.random.default_rng(0).standard_normal((2, slots, 16)).astype(np.float32)
        found = run(tmp_path, "sessions.onnx", interactions=interactions, mask=np.ones((2, slots), np.int64))
        with torch.inference_mode():
            flat = torch.from_numpy(interactions).flatten(0, 1)
            encoded = model.session_encoder(flat, Packing.from_lengths(np.full(2, slots)))
        assert np.abs(found - normalize(encoded, dim=1).numpy()).max() < ATOL


def test_the_tokenizer_goes_along(folders: tuple[Path, Path]) -> None:
    _, exported = folders
    words = Tokenizer.from_file(str(exported / "tokenizer.json")).encode("red shoes").tokens
    assert words[0].startswith("r")


def test_nothing_is_written_over_and_nothing_is_left_half_done(folders: tuple[Path, Path], tmp_path: Path) -> None:
    model, exported = folders
    with pytest.raises(Conflict, match="onnx"):
        export_onnx(model, exported)
    with pytest.raises(NotFound, match="no model"):
        export_onnx(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
