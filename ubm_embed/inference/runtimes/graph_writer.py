"""Writing a model's graphs, once they are shown to compute what PyTorch computes.

Letters: N sequences, B sessions, D width.
"""

from __future__ import annotations

import json
import shutil
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import MAX_TOKENS
from ubm_embed.errors import NotFound
from ubm_embed.inference.runtimes.encoder_graphs import interactions_graph, sessions_graph
from ubm_embed.inference.runtimes.graphs import (
    DESCRIPTION_FILE,
    HEAD_FILE,
    INTERACTIONS_FILE,
    SESSIONS_FILE,
    GraphFile,
    Graphs,
    GraphsDescription,
)
from ubm_embed.inference.runtimes.head_graph import head_graph
from ubm_embed.inference.runtimes.item_vectors import ItemVectors
from ubm_embed.inference.runtimes.model_runtime import ModelRuntime
from ubm_embed.inference.runtimes.onnx_model import open_onnx_model
from ubm_embed.inference.runtimes.optional_library import load_library
from ubm_embed.inference.runtimes.torch_model import TorchModel
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.folder import GRAPHS
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.outputs import output_folder

# Two computations in float32 stay well within it; another formula does not.
_MIN_COSINE = 0.99999
# A prediction is a sum of a few thousand products.
_PREDICTION_TOLERANCE = 1e-4
_SAMPLE_SEQUENCES, _MAX_SAMPLE_SESSION = 64, 64
# Smaller weights stay inside the graph: there are many, and mapping each costs more than its bytes.
_MIN_WEIGHTS_APART = 1 << 16


class _DisagreementError(Exception):
    """The graphs compute something else than PyTorch."""


def write_graphs(folder: str | Path) -> bool:
    """Write the graphs of a model folder into it, and those of its product tower; returns whether all are there.

    If that fails, such as for an encoder without a counterpart in ONNX, it warns and leaves the folder without graphs:
    PyTorch reads the model then.

    Raises:
        NotFound, InvalidData, Conflict: as `Checkpoint.from_pretrained`.
    """
    return _write_all(Checkpoint.from_pretrained(folder))


def graphs_in(folder: Path, checkpoint: Checkpoint) -> Graphs:
    """Write the graphs of a model in memory, its product tower left out, into an existing empty folder.

    Raises:
        NotFound: the library that writes ONNX is not installed.
        InvalidData: as `interactions_graph`.
    """
    model = checkpoint.model
    graphs = {INTERACTIONS_FILE: interactions_graph(model), SESSIONS_FILE: sessions_graph(model)}
    if model.head is not None:
        graphs[HEAD_FILE] = head_graph(model.head, model.config.dimension)
    for name, graph in graphs.items():
        _save(graph, folder / name)
    files = {file.name: GraphFile.from_file(file) for file in sorted(folder.iterdir())}
    software = f"ubm-embed {version('ubm-embed')}"
    description = GraphsDescription(model_id=checkpoint.model_id, software=software, files=files)
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description.model_dump(), indent=2) + "\n", "utf-8")
    return Graphs(folder, description)


def _write_all(checkpoint: Checkpoint) -> bool:
    tower_written = checkpoint.product_tower is None or _write_all(checkpoint.product_tower)
    assert checkpoint.folder is not None, "it was opened from a folder"
    try:
        with output_folder(checkpoint.folder / GRAPHS, overwrite=True) as aside:
            written = open_onnx_model(graphs_in(aside, checkpoint), item_vectors_in(checkpoint.model))
            _require_agreement(written, TorchModel(checkpoint.model), checkpoint)
    except Exception as error:  # of a library or the disk; the model is whole without its graphs
        reason = str(error) if isinstance(error, NotFound) else f"{type(error).__name__}: {error}".splitlines()[0][:300]
        warnings.warn(f"{checkpoint.folder} is left without graphs, so PyTorch must read it: {reason}", stacklevel=2)
        return False
    return tower_written


def item_vectors_in(model: UserBehaviorModel) -> ItemVectors | None:
    """The item embeddings of a model in memory, if it has some."""
    embeddings = model.interaction_encoder.item_embeddings
    if embeddings is None:
        return None
    keys, marks, vectors = (
        tensor.detach().cpu().numpy() for tensor in (embeddings.keys, embeddings.marks, embeddings.vectors)
    )
    return ItemVectors(keys, marks, vectors)


def _save(graph: Any, file: Path) -> None:
    weights = file.with_suffix(".weights")
    load_library("onnx", extra="onnx").save_model(
        graph, file, save_as_external_data=True, location=weights.name, size_threshold=_MIN_WEIGHTS_APART
    )
    if weights.exists():
        shutil.copymode(file, weights)  # the library lets nobody else read them


def _require_agreement(graphs: ModelRuntime, exact: ModelRuntime, checkpoint: Checkpoint) -> None:
    """Raise unless both make the same vectors and predictions of random texts and sessions of every length."""
    config, random = checkpoint.model.config, np.random.default_rng(0)
    lengths = np.linspace(3, MAX_TOKENS, _SAMPLE_SEQUENCES).astype(np.int64)
    tokens = random.integers(checkpoint.tokenizer.vocab_size, size=lengths.sum())
    sequences = TokenTable.from_rows(np.split(tokens, np.cumsum(lengths)[:-1]))
    interactions = exact.encode_interactions(sequences)
    _require_near(graphs.encode_interactions(sequences), interactions)
    sessions: IntArray = np.unique([1, 2, 3, min(config.max_interactions, _MAX_SAMPLE_SESSION)])
    sessions = sessions[sessions <= config.max_interactions]
    read = interactions[random.integers(len(interactions), size=sessions.sum())]
    vectors = exact.encode_sessions(read, sessions)
    _require_near(graphs.encode_sessions(read, sessions), vectors)
    if checkpoint.model.head is not None:
        features = random.gamma(1.0, size=(len(vectors), config.head_features)).astype(np.float32)
        vectors = np.concatenate([vectors, features], axis=1)
        expected, found = exact.predict(vectors), graphs.predict(vectors)
        if not np.allclose(expected, found, rtol=_PREDICTION_TOLERANCE, atol=_PREDICTION_TOLERANCE):
            raise _DisagreementError(f"expected predictions {expected}, got {found}")


def _require_near(found: FloatArray, expected: FloatArray) -> None:
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    cosine = float((np.einsum("nd,nd->n", found, expected) / lengths).min())
    if not cosine >= _MIN_COSINE:  # which NaN is not
        raise _DisagreementError(
            f"expected vectors with a cosine of at least {_MIN_COSINE} to PyTorch's, got {cosine:.6f}"
        )
