"""The device and the number format to compute on. bfloat16 halves the work only where the hardware has it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from ubm_embed.model.precision import Precision


def choose_device(name: str) -> torch.device:
    """A device by name; "auto" is a GPU if there is one, else the CPU.

    Raises:
        ValueError: no such device, or not on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    try:
        device = torch.device(name)
    except RuntimeError:  # it lists all devices that PyTorch may be built for
        device = None
    if device is None or device.type not in ("cpu", "cuda") or (device.type == "cuda" and (device.index or 0) >= count):
        raise ValueError(f"expected cpu, or one of the {count} CUDA devices of this machine, got {name!r}")
    return device


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
    """The context for scores and losses inside `autocast`: a score of 20 is rounded to an eighth in bfloat16."""
    return torch.autocast(device.type, enabled=False)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is fast here. A CPU without AVX512-BF16 or AMX emulates it, 100 times slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    # ATEN_CPU_CAPABILITY may keep PyTorch to older instructions, with which parts of it refuse bfloat16.
    has_kernels = torch.backends.cpu.get_cpu_capability() == "AVX512"
    on_x86 = has_kernels and (capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return bool(on_x86 or capabilities.get("sve_bf16"))
