"""Libraries that only some engines need."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from ubm_embed.errors import NotFound

# Those that log of what is as it should be; the root for onnxruntime, which has none of its own.
_TALKATIVE = ("torch", "onnxscript", "nncf")
# Neither PyTorch's exporter nor Python's filters of warnings are for several threads.
_ONE_AT_A_TIME = threading.RLock()


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
    """Without what the libraries log and warn of while they convert a model; one thread at a time."""
    with _ONE_AT_A_TIME, warnings.catch_warnings(), contextlib.ExitStack() as undo:
        warnings.simplefilter("ignore")
        for name in _TALKATIVE:
            logger = logging.getLogger(name)
            undo.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        others = _others_or_errors(threading.get_ident())
        logging.root.addFilter(others)
        undo.callback(logging.root.removeFilter, others)
        yield


def _others_or_errors(thread: int) -> Callable[[logging.LogRecord], bool]:
    """What is logged to the root is not only ours: all of other threads, and errors of this one, are let through."""
    return lambda record: record.thread != thread or record.levelno >= logging.ERROR
