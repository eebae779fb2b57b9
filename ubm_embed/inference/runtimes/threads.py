"""How many threads a runtime computes with."""

from __future__ import annotations

import os
import sys


def thread_count() -> int:
    """PyTorch's setting where PyTorch is loaded, else OMP_NUM_THREADS, else the cores that this process may use."""
    if (torch := sys.modules.get("torch")) is not None:
        return int(torch.get_num_threads())
    # The variable may hold a list, one number for each level of nesting.
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if first.isdecimal() and int(first) > 0:
        return int(first)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
