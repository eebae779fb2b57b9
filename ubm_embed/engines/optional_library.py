"""Libraries that only some engines need."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from ubm_embed.errors import NotFound


def load_library(module: str, *, extra: str) -> Any:
    """A module of a library that an extra of this package brings.

    Raises:
        NotFound: it is not installed, or does not load; with the line to type.
    """
    try:
        with unheard():
            return import_module(module)
    except ImportError as error:
        raise NotFound(f"{module} does not load ({error}); type: pip install 'ubm-embed[{extra}]'") from error


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Without what a library prints, logs and warns of while it converts a model: stdout is ours, for data."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
