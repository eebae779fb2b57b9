"""The number format that a model computes in. bfloat16 halves the work only where the hardware has it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from ubm_embed.model.precision import Precision


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context to run a model in.

    Args:
        precision: one of `Precision`.

    Raises:
        ValueError: an unknown precision.
    """
    if precision not in list(Precision):
        raise ValueError(f"precision must be one of {', '.join(Precision)}, got {precision!r}")
    in_bfloat16 = computes_bfloat16(device) if precision == Precision.AUTO else precision == Precision.BFLOAT16
    return torch.autocast(device.type, torch.bfloat16) if in_bfloat16 else nullcontext()


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """The context for scores and losses inside `autocast`: a score of 20 is known to an eighth in bfloat16."""
    return torch.autocast(device.type, enabled=False)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is fast here. A CPU without AVX512-BF16 or AMX emulates it, 100 times slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("sve_bf16"))
