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
from ubm_embed.inference.runtimes.dense_form import dense_inputs
from ubm_embed.inference.runtimes.onnx_graphs import onnx_products
from ubm_embed.inference.runtimes.optional_library import load_library, unheard
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.model.user_behavior_model import UserBehaviorModel


class OnnxRuntime:
    """A `TextRuntime` that multiplies 8-bit weights with 8-bit activations.

    Activations share one scale a batch, which its largest value decides: a text's vectors, read alone and read with
    others, have a cosine of 0.9997 or more.
    """

    name = RuntimeName.ONNX_INT8
    by_length = True
    tokens_at_once = 1_024  # every step goes through memory: with 4,096 that is no cache, and a third slower

    def __init__(self, session: Any, model: UserBehaviorModel) -> None:
        self._session, self._model = session, model

    @classmethod
    def of(cls, model: UserBehaviorModel) -> OnnxRuntime:
        """From the weights of a model.

        Raises:
            NotFound: ONNX Runtime is not installed, or what it needs to read the model.
        """
        runtime = load_library("onnxruntime", extra="onnx")
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        # Beside it, our own threads would wait for a core that spins.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = _in_8_bits(onnx_products(model))
        # Their fusion is the slower form: with it a batch takes 1.4 times as long.
        unfused = ["SkipLayerNormFusion"]
        return cls(
            runtime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"], disabled_optimizers=unfused),
            model,
        )

    def encode(self, sequences: TokenTable) -> FloatArray:
        """As `TextRuntime.encode`: [N, D]."""
        return cast(FloatArray, self._session.run(None, dense_inputs(self._model, sequences))[0])


def _in_8_bits(graph: bytes) -> bytes:
    """Weights in 8 bits, a scale for each output of a layer; scales of activations are found as they come."""
    quantization = load_library("onnxruntime.quantization", extra="onnx")
    model = load_library("onnx", extra="onnx").load_from_string(graph)
    with tempfile.TemporaryDirectory() as folder, unheard():
        file = Path(folder) / "model.onnx"
        quantization.quantize_dynamic(model, file, weight_type=quantization.QuantType.QInt8, per_channel=True)
        return file.read_bytes()
