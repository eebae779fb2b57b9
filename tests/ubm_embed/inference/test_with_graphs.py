"""A model folder with graphs: the vectors and predictions of PyTorch, without importing it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from tests.rounding import LAYER, rounding_error
from ubm_embed.data.corpus import iter_products
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.predictor import Predictor
from ubm_embed.inference.runtimes.graph_writer import write_graphs
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.folder import ModelFolder
from ubm_embed.model.user_behavior_model import UserBehaviorModel

# Both encoders of the tiny model and a head, and no sum of more than 64 terms.
ATOL = rounding_error(4 * LAYER + 3, 64)

NEW = Product("green hat", "hats", (("colour", "green"),))


@pytest.fixture
def sessions(products: pl.DataFrame) -> list[Session]:
    views = [Interaction(Action.VIEW, product=product) for product in iter_products(products)]
    search = Interaction(Action.SEARCH, query="red shoes")
    return [Session((search, *views[:3])), Session((views[4],)), Session((*views, *views))]


def saved(
    model: UserBehaviorModel, tokenizer: InteractionTokenizer, folder: Path, tower: Checkpoint | None = None
) -> Path:
    folder.mkdir()
    save_checkpoint(folder, model, tokenizer, {}, tower)
    assert write_graphs(folder)
    return folder


@pytest.fixture
def towers(
    model: UserBehaviorModel, tokenizer: InteractionTokenizer, tmp_path: Path, stir: Callable[[nn.Module], None]
) -> Path:
    """A model that reads sessions, with a product tower; both with graphs."""
    base = Checkpoint.from_pretrained(saved(model, tokenizer, tmp_path / "base"))
    tuned = model.fine_tuned(task=Task.NIP, product_tower=base.model_id)
    stir(tuned)
    return saved(tuned, tokenizer, tmp_path / "towers", base)


def test_vectors_are_those_of_pytorch(towers: Path, products: pl.DataFrame, sessions: list[Session]) -> None:
    found = Embedder.from_pretrained(towers, device="cpu")
    exact = Embedder(Checkpoint.from_pretrained(towers), device="cpu")
    assert (found.model_runtime.name, exact.model_runtime.name) == ("onnx", "torch")
    for vectors, expected in (
        (found.embed_sessions(sessions), exact.embed_sessions(sessions)),
        (found.embed_products(products), exact.embed_products(products)),
        (found.embed_product(NEW), exact.embed_product(NEW)),
        (found.encode_product_as_session(NEW), exact.encode_product_as_session(NEW)),
    ):
        assert vectors.dtype == np.float32
        assert vectors == pytest.approx(expected, abs=ATOL)
    assert (found.runtime, exact.runtime) == ("onnx", "torch")


@pytest.mark.parametrize("task", [Task.PIP, Task.RLP])
def test_predictions_are_those_of_pytorch(
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    tmp_path: Path,
    sessions: list[Session],
    task: Task,
    stir: Callable[[nn.Module], None],
) -> None:
    tuned = model.fine_tuned(task=task).eval()
    assert tuned.head is not None
    stir(tuned.head)
    with torch.no_grad():
        for buffer in tuned.head.buffers():
            buffer.fill_(0.2)
    folder = saved(tuned, tokenizer, tmp_path / "model")
    found, exact = (
        Predictor.from_pretrained(folder, device="cpu"),
        Predictor.from_checkpoint(Checkpoint.from_pretrained(folder), device="cpu"),
    )
    assert found.embedder.model_runtime.name == "onnx"
    assert found.predict(sessions) == pytest.approx(exact.predict(sessions), abs=ATOL)
    assert found.predict_product(NEW) == pytest.approx(exact.predict_product(NEW), abs=ATOL)
    assert (found.task, found.threshold) == (exact.task, exact.threshold)
    assert found.predict([]).shape == (0,)


# Imports of these fail as if they were not installed.
_SCRIPT = """
import json, sys

for name in ("torch", "transformers", "polars", "scipy", "sklearn", "lance", "lancedb"):
    sys.modules[name] = None
from ubm_embed import Action, Embedder, Interaction, Product, Session
from ubm_embed.model.folder import ModelFolder

model_id = sys.argv[2] if len(sys.argv) > 2 else None
embedder = Embedder(ModelFolder.open(sys.argv[1], model_id=model_id))
product = Product("red running shoes", "shoes", (("colour", "red"),))
session = Session((Interaction(Action.SEARCH, query="red shoes"), Interaction(Action.VIEW, product=product)))
readable = embedder.readable_session(session)
vectors = [*embedder.embed_sessions([readable]), embedder.embed_product(product)]
heavy = {"pandas", "pyarrow.compute", "pyarrow.dataset", "safetensors.torch", "faiss"} & sys.modules.keys()
print(json.dumps({"heavy": sorted(heavy), "vectors": [vector.tolist() for vector in vectors]}))
"""


def test_reads_where_neither_pytorch_nor_polars_is_installed(towers: Path) -> None:
    model_id = ModelFolder.open(towers).model_id
    done = subprocess.run([sys.executable, "-c", _SCRIPT, towers, model_id], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["heavy"] == []
    exact = Embedder(Checkpoint.from_pretrained(towers), device="cpu")
    product = Product("red running shoes", "shoes", (("colour", "red"),))
    search, view = Interaction(Action.SEARCH, query="red shoes"), Interaction(Action.VIEW, product=product)
    expected = [*exact.embed_sessions([Session((search, view))]), exact.embed_product(product)]
    assert np.array(found["vectors"]) == pytest.approx(np.array(expected), abs=ATOL)


def test_without_graphs_and_without_pytorch_says_what_to_install(
    model: UserBehaviorModel, tokenizer: InteractionTokenizer, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, model, tokenizer, {})
    done = subprocess.run([sys.executable, "-c", _SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert "NotFound" in done.stderr.splitlines()[-1]
    assert "pip install" in done.stderr.splitlines()[-1]
