"""Libraries that only some runtimes need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ubm_embed.errors import NotFound


def load_library(module: str, *, extra: str) -> Any:
    """A module of a library that comes with an extra of this package.

    Raises:
        NotFound: it is not installed or does not load; with the line to type.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise NotFound(f"{module} does not load ({error}); type: pip install 'ubm-embed[{extra}]'") from error
