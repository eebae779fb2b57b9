"""Work that should not hold up answers: its thread gets less of a core that others want."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

# A third of the share of a thread at 0, and all of what nobody else wants.
_NICE = 5


def yield_to_others() -> None:
    """Lower the priority of the calling thread, for good; only Linux has priorities of threads."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
