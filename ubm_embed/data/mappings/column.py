"""The entries of a mapping: where a column comes from, which rows to leave out, what to join."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from ubm_embed.data.tables.formats import CsvFormat
from ubm_embed.validation import TomlModel

MAX_NAMES = 32  # of a path
Name = Annotated[str, Field(min_length=1, max_length=1000)]


def _short(path: str) -> str:
    if path.count(".") >= MAX_NAMES:
        raise ValueError(f"expected a path of at most {MAX_NAMES} names")
    return path


Path = Annotated[Name, pydantic.AfterValidator(_short)]


def _reason(error: Exception) -> str:
    """The line of the message of polars that says why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if line.startswith("error:")), lines[0]).removeprefix("error: ")


def _is_pattern(pattern: str) -> str:
    import polars as pl  # only here: the command line reads this module for its help

    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"not a regular expression: {_reason(error)}") from None
    return pattern


Pattern = Annotated[Name, pydantic.AfterValidator(_is_pattern)]


class ColumnType(enum.StrEnum):
    """What the values of a column are."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    PRICE = "price"
    """A number that may have a currency and separators of thousands, as `$1,299.00` or `19,90`."""
    BOOLEAN = "boolean"
    TIME = "time"


class Column(TomlModel):
    """Where the values of one of our columns come from: exactly one of `path`, `first` and `value`.

    Attributes:
        path: a column, or a path into a record or JSON text (`properties.product.id`). Several are joined by `join`,
            without those that are empty; an id is empty if one of its parts is. A column whose own name has dots is
            found first.
        first: paths of which the first that is not empty counts.
        value: the same for all rows.
        join: between joined values; None is ` > ` for a category, `-` for an id and a blank otherwise.
        type: what the values are; None is the type of our column, and for a further column of a catalogue whatever
            all its values fit.
        invalid: what a value does that does not fit: stop with an error that names its row, or become null and counted.
        optional: whether a file may lack the column.
        remove: a regular expression; what it matches is taken out of a value, such as the prefix of an id.
        values: replacements after that, theirs to ours, before values are joined; an empty one stands for a missing
            value.
    """

    path: tuple[Path, ...] = ()
    first: tuple[Path, ...] = ()
    value: str | None = None
    join: str | None = None
    type: ColumnType | None = None
    invalid: Literal["error", "null"] = "error"
    optional: bool = False
    remove: Pattern | None = None
    values: dict[str, str] = Field(default_factory=dict)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_shorthand(cls, given: Any) -> Any:
        if isinstance(given, str | list):
            given = {"path": given}
        if isinstance(given, dict):
            given = {
                key: [value] if key in ("path", "first") and isinstance(value, str) else value
                for key, value in given.items()
            }
        return given

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum((bool(self.path), bool(self.first), self.value is not None)) != 1:
            raise ValueError("expected exactly one of path, first and value")
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that it reads."""
        return self.path or self.first


class Each(TomlModel):
    """A list of which each entry becomes a row.

    Attributes:
        path: as in `Column`.
        optional: whether a file may lack it; its rows then stay as they are.
    """

    path: Path
    optional: bool = False

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_shorthand(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, str) else given


class Drop(TomlModel):
    """Rows to leave out, counted as `reason`: those where a value is one of `is_in`, or matches `matches`.

    Attributes:
        path: the column, as in `Column`.
        is_in: texts; an empty one also stands for a missing value.
        matches: a regular expression that occurs in the text.
        unless: leave out the others instead.
        reason: for the report; None names the path and the condition.
        optional: whether a file may lack the column; its values are then missing.
    """

    path: Path
    is_in: tuple[str, ...] = ()
    matches: Pattern | None = None
    unless: bool = False
    reason: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    optional: bool = False

    @pydantic.model_validator(mode="after")
    def _one_condition(self) -> Self:
        if bool(self.is_in) == (self.matches is not None):
            raise ValueError("expected exactly one of is_in and matches")
        return self


class Fill(TomlModel):
    """Columns whose values stand only in the first of the rows that belong together, as in lines of an order.

    Attributes:
        by: the column that these rows share.
        columns: an empty value is that of an earlier row with the same `by`. A file may lack them.
    """

    by: Name
    columns: tuple[Name, ...]


def _in_the_same_folder(name: str) -> str:
    if "/" in name or "\\" in name:
        raise ValueError(f"expected the name of a file in the same folder, got {name!r}")
    return name


FileName = Annotated[Name, pydantic.AfterValidator(_in_the_same_folder)]


class Join(TomlModel):
    """A file beside the one that is read, whose columns are added to the rows with the same key.

    Attributes:
        file: its name, in the same folder; its own columns that the rows have already are left out.
        on: the column that both have. A key occurs once in the joined file.
        right_on: its name in the joined file, if another.
    """

    file: FileName
    on: Name
    right_on: str | None = None
    csv: CsvFormat = CsvFormat()
