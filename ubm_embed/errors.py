"""Errors a user can act on. `cli` turns each into one message and an exit code.

    UbmError
    ├── InvalidData        exit 3  a file, row or field is not what was expected
    ├── NotFound           exit 4  a file, store, version or product that is not there
    ├── Conflict           exit 5  it is there already, another writer holds it, or two models do not belong together
    └── QualityGateFailed  exit 6  a check before publishing failed; nothing was published

Anything else that escapes is a bug.
"""
# ruff: noqa: N818 - each name says what happened; `UbmError` says that it is an error

from __future__ import annotations

from pathlib import Path


class UbmError(Exception):
    """Base of every error that is the caller's to mend."""

    exit_code = 1


class InvalidData(UbmError):
    """Data that is not what was expected; the message names where.

    Args:
        problem: what is wrong and what was expected, a clause without a full stop.
        file: the file it was read from, where there is one.
        row: 1-based row (or line) of that file, where known.
        field: the column or key, where known.
    """

    exit_code = 3

    def __init__(
        self, problem: str, *, file: str | Path | None = None, row: int | None = None, field: str | None = None
    ) -> None:
        self.problem, self.file, self.row, self.field = problem, file, row, field
        where = [str(file)] if file is not None else []
        if row is not None:
            where.append(f"row {row}")
        if field is not None:
            where.append(f"field {field!r}")
        super().__init__(f"{', '.join(where)}: {problem}" if where else problem)


class NotFound(UbmError):
    """Something named by the caller does not exist."""

    exit_code = 4


class Conflict(UbmError):
    """What was asked for contradicts what is already there."""

    exit_code = 5


class QualityGateFailed(UbmError):
    """A check before publishing failed. Nothing was published; what was live still is."""

    exit_code = 6
