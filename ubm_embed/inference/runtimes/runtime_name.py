"""The names of the engines, for those who only ask for one."""

from __future__ import annotations

import enum


class RuntimeName(enum.StrEnum):
    """What reads the texts of products."""

    AUTO = "auto"  # the fastest of those below that agrees with the first of them, measured
    TORCH = "torch"  # PyTorch in float32: what every other one is held against
    TORCH_BFLOAT16 = "torch-bfloat16"
    OPENVINO = "openvino"  # in the format that the CPU is fast in: bfloat16 where it has it, else float32
    ONNX_INT8 = "onnx-int8"
    OPENVINO_INT8 = "openvino-int8"
