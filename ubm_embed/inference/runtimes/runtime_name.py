"""The names of the runtimes. Light, so that the command line can offer them without torch."""

from __future__ import annotations

import enum


class RuntimeName(enum.StrEnum):
    """What reads the texts of products."""

    AUTO = "auto"
    """The fastest of the others on this machine that agrees with float32."""
    TORCH = "torch"
    """PyTorch in float32."""
    ONNX = "onnx"
    """ONNX Runtime in float32 on a CPU: as `TORCH`, without PyTorch."""
    TORCH_BFLOAT16 = "torch-bfloat16"
    OPENVINO = "openvino"
    """OpenVINO in bfloat16 if the CPU computes in it, else in float32."""
    ONNX_INT8 = "onnx-int8"
    OPENVINO_INT8 = "openvino-int8"
