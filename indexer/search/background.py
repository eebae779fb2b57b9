"""Work that should not hold up answers: its thread gets less of a core that others want."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

# Beside a thread at 0 that is always busy they get a quarter and a thirtieth of the core; of an idle one all.
SOMEWHAT, MUCH = 5, 15


def yield_to_others(nice: int = SOMEWHAT) -> None:
    """Lower the priority of the calling thread, for good; only Linux has priorities of threads."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


def in_background(function: Callable[[], T], nice: int) -> T:
    """What a function returns, which a thread of this priority calls."""
    with ThreadPoolExecutor(1, "background", yield_to_others, (nice,)) as thread:
        return thread.submit(function).result()
