"""What the vectors of a model depend on besides its files: the libraries that compute them, and the processor."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Of each, the first that is installed: FAISS comes under several names.
_LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "numpy": ("numpy",),
    "tokenizers": ("tokenizers",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "torch": ("torch",),
    "faiss": ("faiss-cpu", "faiss-gpu-cuvs", "faiss-gpu"),
    "lance": ("pylance",),
}
_CPU_INFO = Path("/proc/cpuinfo")
_ABSENT = "(not installed)"


def environment(runtime: str, device: str) -> dict[str, str]:
    """By name, what the vectors of this process depend on.

    Args:
        runtime: what reads the model, a `RuntimeName`.
        device: where.
    """
    libraries = {name: _installed(packages) for name, packages in _LIBRARIES.items()}
    return {"runtime": str(runtime), "device": device, "processor": processor(), **libraries}


def processor() -> str:
    """The name of the processor, such as `x86_64 Intel(R) Xeon(R) Platinum 8481C`."""
    try:
        lines = _CPU_INFO.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{platform.machine()} {next(names, platform.processor())}".strip()


def environment_changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """What differs between two environments, such as "onnxruntime 1.22.0 is now 1.23.1"."""
    for name, value in before.items():
        if now.get(name, _ABSENT) != value:
            yield f"{name} {value} is now {now.get(name, _ABSENT)}"


def _installed(packages: tuple[str, ...]) -> str:
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return _ABSENT
