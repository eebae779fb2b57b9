"""Which device to compute on, decided without PyTorch where there is no GPU."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ubm_embed.errors import NotFound

# Of NVIDIA's driver, of AMD's, and of the Windows Subsystem for Linux.
_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))


def device_name(name: str) -> str:
    """A device by PyTorch's name for it, such as "cpu" or "cuda:1"; "auto" is a GPU if there is one, else the CPU.

    Raises:
        NotFound: PyTorch, which computes on GPUs, is not installed.
        ValueError: no such device, or not on this machine.
    """
    if name == "cpu" or (name == "auto" and not _may_have_gpu()):
        return "cpu"
    if find_spec("torch") is None:
        raise NotFound(f"the device {name!r} needs PyTorch; type: pip install 'ubm-embed[train]', or --device cpu")
    from ubm_embed.model.device import choose_device

    return str(choose_device(name))


def _may_have_gpu() -> bool:
    return any(driver.exists() for driver in _DRIVERS) and find_spec("torch") is not None
