"""What a command sets for its whole process."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Collect no garbage while libraries load: they leave none, and looking for it takes a tenth of a query."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def set_up_process() -> None:
    """Keep freed memory, send no telemetry, and silence the libraries that convert models."""
    import rich

    from ubm_embed.inference.process import set_up_process as set_up

    set_up()
    rich.reconfigure(quiet=True)  # NNCF draws a progress bar on rich's own console, which is stdout; ours is another
