"""The floating-point ceiling: the most that a large matrix product does a second on this machine, by number format."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch

# Rows, inner, columns. Square ones, and those that a wide batch of the paper's encoder consists of.
SHAPES = ((2048, 2048, 2048), (4096, 4096, 4096), (16384, 1024, 1024))
GPU_SHAPES = (*SHAPES, (8192, 8192, 8192), (16384, 8192, 8192))
_REPEATS = 7


def ceiling(
    device: torch.device | str, precision: str, shapes: Sequence[Sequence[int]] | None = None
) -> dict[str, Any]:
    """Operations a second of the best shape, and the median seconds of each, by "RxIxC".

    Args:
        precision: "float32" or "bfloat16".
        shapes: rows, inner, columns of each product to try; None for what suits the device.
    """
    device = torch.device(device)
    shapes = shapes or (GPU_SHAPES if device.type == "cuda" else SHAPES)
    seconds = {"x".join(map(str, shape)): _seconds(device, precision, shape) for shape in shapes}
    rates = [2 * rows * inner * columns / seconds[f"{rows}x{inner}x{columns}"] for rows, inner, columns in shapes]
    return {"flops": max(rates), "seconds": seconds}


def _seconds(device: torch.device, precision: str, shape: Sequence[int]) -> float:
    """Of one product, the median of several after one to warm up."""
    rows, inner, columns = shape
    form = {"device": device, "dtype": getattr(torch, precision)}
    left, right, out = torch.randn(rows, inner, **form), torch.randn(inner, columns, **form), None
    taken = []
    for _ in range(1 + _REPEATS):
        wait(device)
        started = time.perf_counter()
        out = torch.matmul(left, right, out=out)
        wait(device)
        taken.append(time.perf_counter() - started)
    return median(taken[1:])


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
