"""OpenVINO on the CPU, in the number format that it is fast in, or with 8-bit weights.

Letters: N sequences, D width.
"""

from __future__ import annotations

from typing import Any, cast

import torch

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.inference.runtimes.dense_model import dense_inputs
from ubm_embed.inference.runtimes.onnx_graphs import onnx_products
from ubm_embed.inference.runtimes.optional_library import load_library
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.model.user_behavior_model import UserBehaviorModel

_EXTRA = "openvino"


class OpenVinoRuntime:
    """A `TextRuntime` over a compiled model.

    OpenVINO and NNCF report their use to Intel unless `inference.process.disable_telemetry` was called first, as the
    commands do.
    """

    by_length = True
    tokens_per_batch = 1_024  # some 8% faster than 8,192

    def __init__(self, compiled: Any, model: UserBehaviorModel, name: RuntimeName) -> None:
        self._compiled, self._model, self.name = compiled, model, name

    @classmethod
    def from_model(cls, model: UserBehaviorModel) -> OpenVinoRuntime:
        """A runtime with the weights of a model: in bfloat16 if this CPU computes in it, else in float32.

        Raises:
            NotFound: OpenVINO or what it needs to read the model is not installed.
        """
        return cls(_compiled(_read(model)), model, RuntimeName.OPENVINO)

    @classmethod
    def from_model_in_int8(cls, model: UserBehaviorModel) -> OpenVinoRuntime:
        """A runtime with the weights of a model in 8 bits, one scale per output of a layer.

        Activations get one scale per token at run time, so that a vector depends neither on a calibration sample nor
        on the other texts of its batch.

        Raises:
            NotFound: as `from_model`.
        """
        uncompressed = _read(model)
        nncf = load_library("nncf", extra=_EXTRA)
        compressed = nncf.compress_weights(uncompressed, mode=nncf.CompressWeightsMode.INT8_SYM)
        return cls(_compiled(compressed, DYNAMIC_QUANTIZATION_GROUP_SIZE=64), model, RuntimeName.OPENVINO_INT8)

    def encode(self, sequences: TokenTable) -> FloatArray:
        """As `TextRuntime.encode`: [N, D]."""
        inputs = dense_inputs(self._model, sequences)
        # Calling the compiled model would share one request between threads, and mix up their batches.
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
    return load_library("openvino", extra=_EXTRA).Core()
