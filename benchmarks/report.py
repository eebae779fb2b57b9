"""A benchmark's report: raw figures with the machine, versions, date and settings they belong to.

Runners save what they timed and compute their tables from it, so that a table can be made again from a saved report.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ubm_embed.outputs import output_file

RESULTS = Path(__file__).parent / "results"

# What decides how fast a CPU multiplies matrices; see `ubm_embed.model.device`.
_FEATURES = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")
_PACKAGES = ("ubm-embed", "torch", "transformers", "tokenizers", "numpy", "polars")


def report_header(benchmark: str, settings: Mapping[str, Any], *, packages: Sequence[str] = ()) -> dict[str, Any]:
    """The part of a report that is known before the measurement; call it then, for its load average.

    Args:
        settings: of the run; no paths, since reports are published.
        packages: more packages whose versions matter.
    """
    return {
        "benchmark": benchmark,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions((*_PACKAGES, *packages)),
        "settings": dict(settings),
    }


def machine() -> dict[str, Any]:
    """What figures depend on in this machine; not its name."""
    cpu = _cpu()
    return {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "cpu_features": [name for name in _FEATURES if name in (cpu.get("flags") or cpu.get("Features", "")).split()],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Python's version and those of the installed ones of these packages."""
    installed = {"python": platform.python_version()}
    for name in packages:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def write_report(report: Mapping[str, Any], file: str | Path | None = None) -> Path:
    """Write a report to `file`, else to `results/NAME.json`, atomically; returns the path.

    Raises:
        Conflict: the path exists and is not a file.
    """
    path = Path(file) if file is not None else RESULTS / f"{report['benchmark']}.json"
    with output_file(path) as aside:
        aside.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    return path


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, aligned so that it also reads well in a terminal; numbers to the right."""
    lines = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    aligned = [
        [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in (lines[0], rule, *lines[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in aligned)


def _cpu() -> dict[str, str]:
    """The first core's entry in Linux's /proc/cpuinfo; empty on other systems."""
    file = Path("/proc/cpuinfo")
    if not file.is_file():
        return {}
    first = file.read_text("utf-8").split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _gpus() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
