"""OpenVINO on the CPU, in the number format that it is fast in, or with weights in 8 bits.

Letters: N sequences, D width.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, cast

import torch

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.inference.runtimes.dense_form import dense_inputs
from ubm_embed.inference.runtimes.onnx_graphs import onnx_products
from ubm_embed.inference.runtimes.optional_library import load_library, unheard
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.model.user_behavior_model import UserBehaviorModel

_EXTRA = "openvino"


class OpenVinoRuntime:
    """A `TextRuntime` over a compiled model."""

    by_length = True
    tokens_at_once = 1_024  # some 8% faster than 8,192

    def __init__(self, compiled: Any, model: UserBehaviorModel, name: RuntimeName) -> None:
        self._compiled, self._model, self.name = compiled, model, name

    @classmethod
    def of(cls, model: UserBehaviorModel) -> OpenVinoRuntime:
        """From the weights of a model, in bfloat16 where this CPU computes it, else in float32.

        Raises:
            NotFound: OpenVINO is not installed, or what it needs to read the model.
        """
        return cls(_compiled(_read(model)), model, RuntimeName.OPENVINO)

    @classmethod
    def in_8_bits(cls, model: UserBehaviorModel) -> OpenVinoRuntime:
        """From the weights of a model, in 8 bits with a scale for each output of a layer.

        Activations get a scale for each token as they come, so that neither a sample of texts nor what a text is read
        with decides its vector.

        Raises:
            NotFound: as `of`.
        """
        model_in_floats = _read(model)
        compression = load_library("nncf", extra=_EXTRA)
        # Its bar of progress goes to stdout, and nothing turns that off.
        with unheard(), contextlib.redirect_stdout(io.StringIO()):
            compressed = compression.compress_weights(model_in_floats, mode=compression.CompressWeightsMode.INT8_SYM)
        return cls(_compiled(compressed, DYNAMIC_QUANTIZATION_GROUP_SIZE=64), model, RuntimeName.OPENVINO_INT8)

    def encode(self, sequences: TokenTable) -> FloatArray:
        """As `TextRuntime.encode`: [N, D]."""
        inputs = dense_inputs(self._model, sequences)
        # A request of its own: to call the compiled model is to share one, so that a thread gets another's batch.
        request = self._compiled.create_infer_request()
        return cast(FloatArray, request.infer(inputs, share_inputs=True)[0])


def _read(model: UserBehaviorModel) -> Any:
    return _core().read_model(onnx_products(model))


def _compiled(model: Any, **settings: object) -> Any:
    threads = torch.get_num_threads()
    return _core().compile_model(
        model, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", **settings}
    )


def _core() -> Any:
    # It and nncf report to their makers that they are imported and what they convert, unless they are told otherwise
    # or lack the module they do it with. A shop's build is nobody's business.
    os.environ.setdefault("NNCF_CI", "1")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return load_library("openvino", extra=_EXTRA).Core()
