"""Settings of the whole process, for commands and workers to make before they train or embed.

The library itself makes none of them: memory, environment, imports, loggers and warnings belong to the program that
calls it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys

# Their numbers in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MAX_MMAP_THRESHOLD = 32 << 20  # glibc takes no larger one
_NEVER = (1 << 31) - 1


def set_up_process() -> None:
    """Make every setting of this module."""
    keep_freed_memory()
    disable_telemetry()
    quiet_converters()


def keep_freed_memory() -> bool:
    """Ask the C library to keep up to 2 GB of freed memory for the next step; returns whether it agreed.

    A training step on a CPU allocates and frees the same few hundred megabytes each time. glibc returns such blocks to
    the system at once, and touching them again costs a page fault per 4 kB: about a sixth of a step in bfloat16. Does
    nothing except on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl has none
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _MAX_MMAP_THRESHOLD)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))


def set_threads(count: int) -> None:
    """Let the libraries that read models use `count` threads each. Call it before a model is opened."""
    os.environ["OMP_NUM_THREADS"] = str(count)  # read by ONNX Runtime's sessions, and by PyTorch when it is imported
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def disable_telemetry() -> None:
    """Keep ONNX Runtime, OpenVINO and NNCF from reporting their use to their makers. Call it before their import."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("NNCF_CI", "1")
    # Both go without telemetry if its module cannot be imported, and OpenVINO has no other switch.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def quiet_converters() -> None:
    """Hide what ONNX Runtime and NNCF log while they convert a model."""
    logging.getLogger("nncf").addFilter(_is_error)  # its import sets the level
    logging.root.addFilter(_is_no_quantization_advice)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _is_no_quantization_advice(record: logging.LogRecord) -> bool:
    # ONNX Runtime logs to the root logger.
    return _is_error(record) or "onnxruntime" not in record.pathname
