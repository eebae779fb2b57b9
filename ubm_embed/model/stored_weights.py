"""The weights of a model folder as arrays that stay on disk, read without PyTorch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES: Mapping[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8")}
# Names of version 0.1.
_RENAMED = (
    (re.compile(r"^interaction_encoder\.known\."), "interaction_encoder.item_embeddings."),
    (re.compile(r"^head\.spread$"), "head.std"),
)


def current_name(stored: str) -> str:
    """The name of weights today, from the one that they were stored under."""
    for pattern, name in _RENAMED:
        stored = pattern.sub(name, stored)
    return stored


def map_weights(file: Path) -> Mapping[str, NDArray[Any]]:
    """The float32 and int64 weights in a safetensors file by their names, mapped into memory: read only.

    The file must be whole, as `ModelFolder.open` checks.
    """
    with open(file, "rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
    data = np.asarray(np.memmap(file, np.uint8, "r", offset=8 + size))
    weights = {}
    for name, entry in header.items():
        if (dtype := _DTYPES.get(entry.get("dtype"))) is not None:
            begin, end = entry["data_offsets"]
            weights[current_name(name)] = data[begin:end].view(dtype).reshape(entry["shape"])
    return weights
