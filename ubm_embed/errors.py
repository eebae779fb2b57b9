"""Errors that a user can act on. `cli` turns each into one message and an exit code.

    UbmError
    ├── InvalidData        exit 3  a file, row or field is not as expected
    ├── NotFound           exit 4  a file, store, version or product does not exist
    ├── Conflict           exit 5  it exists already, another writer holds it, or two models do not belong together
    └── QualityGateFailed  exit 6  a check before publishing failed; nothing was published

Any other exception that escapes is a bug.
"""
# ruff: noqa: N818 - each name says what happened; `UbmError` says that it is an error

from __future__ import annotations

from pathlib import Path


class UbmError(Exception):
    """Base of every error that the caller can fix."""

    exit_code = 1


class InvalidData(UbmError):
    """Data that is not as expected; the message says where.

    Args:
        problem: what is wrong and what was expected, a clause without a full stop.
        file: the file it was read from, if any.
        row: 1-based row or line of that file, if known.
        field: the column or key, if known.
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
    """Something that the caller named does not exist."""

    exit_code = 4


class Conflict(UbmError):
    """The request contradicts what already exists."""

    exit_code = 5


class QualityGateFailed(UbmError):
    """A check before publishing failed. Nothing was published; the live version stays live."""

    exit_code = 6
