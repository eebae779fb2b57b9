"""OpenVINO on the CPU, in the number format that it is fast in, or with 8-bit weights.

OpenVINO and NNCF report their use to Intel unless `inference.process.disable_telemetry` was called first, as the
commands do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray
from ubm_embed.inference.runtimes.graph_model import GraphModel
from ubm_embed.inference.runtimes.graphs import Graphs
from ubm_embed.inference.runtimes.item_vectors import ItemVectors
from ubm_embed.inference.runtimes.optional_library import load_library
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.threads import thread_count

_EXTRA = "openvino"


def open_openvino_model(graphs: Graphs, item_vectors: ItemVectors | None) -> GraphModel:
    """A model in bfloat16 if this CPU computes in it, else in float32; its head is left out.

    Args:
        item_vectors: the model's item embeddings, if it has some.

    Raises:
        NotFound: OpenVINO is not installed.
    """
    interactions, sessions = (_Compiled(_read(file)) for file in (graphs.interactions, graphs.sessions))
    return GraphModel(RuntimeName.OPENVINO, interactions, sessions, item_vectors=item_vectors)


def open_openvino_int8_model(graphs: Graphs, item_vectors: ItemVectors | None) -> GraphModel:
    """As `open_openvino_model`, with weights in 8 bits, one scale per output of a layer.

    Activations get one scale per token at run time, so that a vector depends neither on a calibration sample nor on the
    other texts of its batch.

    Raises:
        NotFound: OpenVINO or NNCF is not installed.
    """
    nncf = load_library("nncf", extra=_EXTRA)

    def compress(file: Path) -> _Compiled:
        compressed = nncf.compress_weights(_read(file), mode=nncf.CompressWeightsMode.INT8_SYM)
        return _Compiled(compressed, DYNAMIC_QUANTIZATION_GROUP_SIZE=64)

    interactions, sessions = map(compress, (graphs.interactions, graphs.sessions))
    return GraphModel(RuntimeName.OPENVINO_INT8, interactions, sessions, item_vectors=item_vectors)


class _Compiled:
    """A graph, compiled for this CPU. Several threads may run it."""

    def __init__(self, model: Any, **settings: object) -> None:
        self._model = _core().compile_model(
            model, "CPU", {"INFERENCE_NUM_THREADS": thread_count(), "PERFORMANCE_HINT": "LATENCY", **settings}
        )

    def run(self, inputs: dict[str, NDArray[Any]]) -> FloatArray:
        """As `Graph.run`."""
        # Calling the compiled model would share one request between threads, and mix up their batches.
        return cast(FloatArray, self._model.create_infer_request().infer(inputs, share_inputs=True)[0])


def _read(file: Path) -> Any:
    return _core().read_model(file)


def _core() -> Any:
    return load_library("openvino", extra=_EXTRA).Core()
