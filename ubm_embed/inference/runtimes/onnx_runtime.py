"""ONNX Runtime on the CPU, in 8-bit numbers.

Letters: N sequences, D width.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

import torch

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.inference.runtimes.dense_model import dense_inputs
from ubm_embed.inference.runtimes.onnx_graphs import onnx_products
from ubm_embed.inference.runtimes.optional_library import load_library
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.model.user_behavior_model import UserBehaviorModel


class OnnxRuntime:
    """A `TextRuntime` that multiplies 8-bit weights by 8-bit activations.

    The activations of a batch share one scale, which the largest of them sets: the vectors of a text, read alone and
    read with others, have a cosine of at least 0.9997.
    """

    name = RuntimeName.ONNX_INT8
    by_length = True
    tokens_per_batch = 1_024  # every step goes through memory; 4,096 do not fit the cache and take a third longer

    def __init__(self, session: Any, model: UserBehaviorModel) -> None:
        self._session, self._model = session, model

    @classmethod
    def from_model(cls, model: UserBehaviorModel) -> OnnxRuntime:
        """A runtime with the weights of a model.

        Raises:
            NotFound: ONNX Runtime or what it needs to read the model is not installed.
        """
        library = load_library("onnxruntime", extra="onnx")
        settings = library.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        # With spinning on, our own threads would wait for the cores that its threads keep busy.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = _quantized(onnx_products(model))
        # This fusion makes a batch take 1.4 times as long.
        unfused = ["SkipLayerNormFusion"]
        session = library.InferenceSession(
            graph, settings, providers=["CPUExecutionProvider"], disabled_optimizers=unfused
        )
        return cls(session, model)

    def encode(self, sequences: TokenTable) -> FloatArray:
        """As `TextRuntime.encode`: [N, D]."""
        return cast(FloatArray, self._session.run(None, dense_inputs(self._model, sequences))[0])


def _quantized(graph: bytes) -> bytes:
    """The graph with 8-bit weights, one scale per output of a layer. Activations are scaled at run time."""
    quantization = load_library("onnxruntime.quantization", extra="onnx")
    model = load_library("onnx", extra="onnx").load_from_string(graph)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        quantization.quantize_dynamic(model, file, weight_type=quantization.QuantType.QInt8, per_channel=True)
        return file.read_bytes()
