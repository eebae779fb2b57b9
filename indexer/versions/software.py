"""Which version of ubm-embed runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of


def software() -> str:
    """The version of ubm-embed that runs."""
    try:
        return version_of("ubm-embed")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"
