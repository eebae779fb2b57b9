"""ONNX Runtime on the CPU: in float32, and in 8-bit numbers."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from ubm_embed.inference.runtimes.graph_model import GraphModel
from ubm_embed.inference.runtimes.graph_session import GraphSession
from ubm_embed.inference.runtimes.graphs import Graphs
from ubm_embed.inference.runtimes.item_vectors import ItemVectors
from ubm_embed.inference.runtimes.optional_library import load_library
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.threads import thread_count

# One run uses the thread that calls it: a session is too short to share, and many texts are cut into several runs.
_open = partial(GraphSession, threads=1)


def open_onnx_model(graphs: Graphs, item_vectors: ItemVectors | None) -> GraphModel:
    """A model in float32.

    Args:
        item_vectors: the model's item embeddings, if it has some.

    Raises:
        NotFound: ONNX Runtime is not installed.
        InvalidData: a file is no graph.
    """
    return GraphModel(
        RuntimeName.ONNX,
        # It reads new texts only, which takes 2% longer like this (a single short one 10%) and spares 13 MB in each
        # process. The other graph reads every session, of which short ones would take twice as long.
        _open(graphs.interactions, prepack=False),
        _open(graphs.sessions),
        open_head=None if graphs.head is None else partial(_open, graphs.head),
        item_vectors=item_vectors,
        watch=graphs.weights,
        threads=thread_count(),
    )


def open_int8_model(graphs: Graphs, item_vectors: ItemVectors | None) -> GraphModel:
    """A model with 8-bit weights and activations; `item_vectors` as `open_onnx_model`.

    The activations of a batch share one scale, which the largest of them sets: the vectors of a text, read alone and
    read with others, have a cosine of at least 0.9997.

    Raises:
        NotFound: ONNX Runtime or what it needs to convert a graph is not installed.
    """
    # With this fusion a batch takes 1.4 times as long.
    interactions, sessions = (
        _open(_quantized(file), disabled=["SkipLayerNormFusion"]) for file in (graphs.interactions, graphs.sessions)
    )
    return GraphModel(RuntimeName.ONNX_INT8, interactions, sessions, item_vectors=item_vectors, threads=thread_count())


def _quantized(file: Path) -> bytes:
    """A graph with 8-bit weights, one scale per output of a layer. Activations are scaled at run time."""
    quantization = load_library("onnxruntime.quantization", extra="onnx")
    model = load_library("onnx", extra="onnx").load(file)
    with tempfile.TemporaryDirectory() as folder:
        quantized = Path(folder) / "model.onnx"
        quantization.quantize_dynamic(model, quantized, weight_type=quantization.QuantType.QInt8, per_channel=True)
        return quantized.read_bytes()
