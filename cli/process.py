"""What a command sets for its whole process before it converts a model for another runtime."""

from __future__ import annotations


def set_up_process() -> None:
    """Keep freed memory, send no telemetry, and silence the libraries that convert models."""
    import rich

    from ubm_embed.inference.process import set_up_process as set_up

    set_up()
    rich.reconfigure(quiet=True)  # NNCF draws a progress bar on rich's own console, which is stdout; ours is another
