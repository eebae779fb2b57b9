"""Which number format to compute in. bfloat16 halves the work only where the hardware has it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

PRECISIONS = ("auto", "float32", "bfloat16")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context to run the model in.

    Raises:
        ValueError: an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    wanted = computes_bfloat16(device) if precision == "auto" else precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16) if wanted else nullcontext()


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Inside `autocast`, for scores and losses: of a score of 20, bfloat16 keeps an eighth."""
    return torch.autocast(device.type, enabled=False)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is fast here. A CPU without AVX512-BF16 or AMX emulates it, 100 times slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("sve_bf16"))
