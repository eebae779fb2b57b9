"""A mapping: which columns of a shop's files are what, as a TOML file says it.

[log]                                # several kinds of files: [[log]] with `files` each
each = "items"                       # one event for each entry of a list; its fields are `items.…`

[log.csv]
separator = ";"

[log.columns]
session_id = ["user", "visit"]       # joined
timestamp = "time"
action = "event.type"                # a path into records, or into JSON text
product_id = {first = ["sku", "id"]} # the first that is not empty
price = {path = "price", type = "price", invalid = "null"}

[log.columns.attributes]
colour = "colour"

[log.actions]
detail = "view"                      # theirs = ours, or "drop"

[catalogue.columns]                  # the same for a file of products; further columns are kept
product_id = "id"
title = "name"
"""

from __future__ import annotations

import enum
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from ubm_embed.data.tables.formats import CsvFormat, TimeFormat
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.validation import TomlModel, invalid_data

DROP = "drop"
_Name = Annotated[str, Field(min_length=1)]


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
            without those that are empty. A column whose own name has dots is found first.
        first: paths of which the first that is not empty counts.
        value: the same for all rows.
        join: between joined values; None is ` > ` for a category, `-` for an id and a blank otherwise.
        type: what the values are; None is the type of our column, and for a further column of a catalogue whatever
            all its values fit.
        invalid: what a value does that does not fit: stop with an error that names its row, or become null and counted.
        optional: whether a file may lack the column.
        values: replacements, theirs to ours.
    """

    path: tuple[_Name, ...] = ()
    first: tuple[_Name, ...] = ()
    value: str | None = None
    join: str | None = None
    type: ColumnType | None = None
    invalid: Literal["error", "null"] = "error"
    optional: bool = False
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


class Drop(TomlModel):
    """Rows to leave out, counted as `reason`: those where a value is one of `is_in`, or matches `matches`.

    Attributes:
        path: the column, as in `Column`.
        is_in: texts; an empty one also stands for a missing value.
        matches: a regular expression that occurs in the text.
        unless: leave out the others instead.
        reason: for the report.
    """

    path: _Name
    is_in: tuple[str, ...] = ()
    matches: str | None = None
    unless: bool = False
    reason: str | None = None

    @pydantic.model_validator(mode="after")
    def _one_condition(self) -> Self:
        if bool(self.is_in) == (self.matches is not None):
            raise ValueError("expected exactly one of is_in and matches")
        return self


class Join(TomlModel):
    """A file beside the one that is read, whose columns are added to the rows with the same key.

    Attributes:
        file: its name, in the same folder.
        on: the column that both have.
        right_on: its name in the joined file, if another.
    """

    file: _Name
    on: _Name
    right_on: str | None = None
    csv: CsvFormat = CsvFormat()


class _Part(TomlModel):
    """What a log and a catalogue have in common.

    Attributes:
        files: patterns of the names of its files (`*clicks*.dat`); none is every file.
        each: path of a list (or of JSON text that holds one): a row becomes one for each entry, or stays one without
            entries.
        columns: ours, see `Column`.
    """

    files: tuple[_Name, ...] = ()
    csv: CsvFormat = CsvFormat()
    time: TimeFormat = TimeFormat()
    each: str | None = None
    join: tuple[Join, ...] = ()
    drop: tuple[Drop, ...] = ()


class LogColumns(TomlModel):
    """The columns of a log, in the words of a corpus.

    Attributes:
        anonymous_id: the visitor before a login; one person with the `user_id` it is seen with.
        message_id: events with the same one count once.
        order_id: of a purchase; a product of an order counts once.
        position: puts events of the same time in order.
        attributes: of the product, by name.
    """

    action: Column
    product_id: Column | None = None
    query: Column | None = None
    session_id: Column | None = None
    user_id: Column | None = None
    anonymous_id: Column | None = None
    timestamp: Column | None = None
    position: Column | None = None
    message_id: Column | None = None
    order_id: Column | None = None
    title: Column | None = None
    category: Column | None = None
    price: Column | None = None
    attributes: dict[_Name, Column] = Field(default_factory=dict)


class LogMapping(_Part):
    """How rows of a log become events.

    Attributes:
        actions: theirs to `search`, `view`, `add`, `remove`, `buy` or `drop`; none if they are ours already.
        other_actions: what an action that is not listed does.
        session_gap_minutes: the pause that ends a session without an id; None is the command's.
    """

    columns: LogColumns
    actions: dict[str, Literal["search", "view", "add", "remove", "buy", "drop"]] = Field(default_factory=dict)
    other_actions: Literal["error", "drop"] = "drop"
    session_gap_minutes: Annotated[float, Field(gt=0)] | None = None


class CatalogueMapping(_Part):
    """How rows of a file become products.

    Attributes:
        columns: `product_id`, `title`, `category` and any further ones of the shop.
        attributes: by name.
        keep_others: whether columns that are not named stay as further columns.
    """

    columns: dict[_Name, Column]
    attributes: dict[_Name, Column] = Field(default_factory=dict)
    keep_others: bool = False

    @pydantic.model_validator(mode="after")
    def _has_id(self) -> Self:
        missing = [name for name in ("product_id", "title") if name not in self.columns]
        if missing:
            raise ValueError(f"expected a column {missing[0]}")
        return self


class Mapping(TomlModel):
    """A mapping file.

    Attributes:
        description: what it reads, in a line.
        log: one for each kind of file; the first whose `files` match a file's name reads it.
        catalogue: likewise.
    """

    description: str = ""
    log: tuple[LogMapping, ...] = ()
    catalogue: tuple[CatalogueMapping, ...] = ()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _one_is_a_list(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {
            key: [value] if key in ("log", "catalogue") and isinstance(value, dict) else value
            for key, value in given.items()
        }

    @classmethod
    def read(cls, file: str | Path) -> Mapping:
        """The mapping in a TOML file.

        Raises:
            NotFound: no such file.
            InvalidData: names the file and the field: not TOML, an unknown or missing field, or a value that is wrong.
        """
        try:
            document = tomllib.loads(Path(file).read_text("utf-8"))
        except FileNotFoundError:
            raise NotFound(f"no such file: {file}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
            raise InvalidData(f"not TOML: {error}", file=file) from None
        try:
            return cls.model_validate(document)
        except pydantic.ValidationError as error:
            raise invalid_data(error, file=file) from None
