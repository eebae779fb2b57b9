"""Checks of a configuration's fields; each error names the field and its value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any


def require_at_least_1(config: object, *names: str) -> None:
    """Raise ValueError naming the first of these fields that is below 1; None is no limit."""
    _require(config, names, lambda value: value >= 1, "be at least 1")


def require_positive(config: object, *names: str) -> None:
    """Raise ValueError naming the first of these fields that is not above 0; None is a default."""
    _require(config, names, lambda value: value > 0, "be positive")


def require_share(config: object, *names: str) -> None:
    """Raise ValueError naming the first of these fields that is no share of a whole."""
    _require(config, names, lambda value: 0 <= value < 1, "be in [0, 1)")


def require_not_negative(config: object, *names: str) -> None:
    """Raise ValueError naming the first of these fields that is below 0."""
    _require(config, names, lambda value: value >= 0, "not be negative")


def require_one_of(name: str, value: str, known: Sequence[str]) -> None:
    """Raise ValueError unless `value` is known."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def _require(config: object, names: Iterable[str], holds: Callable[[Any], bool], rule: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not holds(value):  # NaN holds nothing
            raise ValueError(f"{name} must {rule}, got {value}")
