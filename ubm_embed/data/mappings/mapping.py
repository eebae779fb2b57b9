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

from abc import abstractmethod
from collections.abc import Collection, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import pydantic
from pydantic import Field

from ubm_embed.data.mappings.column import Column, ColumnType, Drop, Each, Fill, Join, Name
from ubm_embed.data.mappings.column import Path as ColumnPath
from ubm_embed.data.mappings.ready_made import named_mapping
from ubm_embed.data.tables.formats import CsvFormat, TimeFormat
from ubm_embed.validation import TomlModel

_Action = Literal["search", "view", "add", "remove", "buy", "drop"]
OUR_ACTIONS: tuple[str, ...] = get_args(_Action)[:-1]
ATTRIBUTE = "attributes."  # before the name of an attribute, among columns
LATEST = "\0latest"  # the time of a row of a catalogue; no file has a column of this name
_LOG_TYPES = {"timestamp": ("time",), "position": ("integer",), "price": ("price", "number")}  # the others are texts
_MAX_COLUMNS = 1000


class _Part(TomlModel):
    """What a log and a catalogue have in common.

    Attributes:
        files: patterns of the names of its files (`*clicks*.dat`); none is every file that no other part names.
        each: a list (or JSON text that holds one): a row becomes one for each entry, or stays one without entries.
        ignore_case: find columns in any case, as warehouses export them; names are then in lower case here.
        fill: columns that only the first of several rows has.
        drop: rows to leave out; the first condition that holds is counted.
    """

    files: tuple[Name, ...] = ()
    csv: CsvFormat = CsvFormat()
    time: TimeFormat = TimeFormat()
    each: Each | None = None
    ignore_case: bool = False
    join: tuple[Join, ...] = ()
    fill: Fill | None = None
    drop: tuple[Drop, ...] = ()
    _ready_made: str | None = pydantic.PrivateAttr(None)

    @property
    def ready_made(self) -> str | None:
        """The name of the ready-made mapping that it is of."""
        return self._ready_made

    def names(self, file: str | Path) -> bool:
        """Whether a pattern of `files` matches the file's name."""
        return any(fnmatch(Path(file).name.lower(), pattern.lower()) for pattern in self.files)

    @abstractmethod
    def our_columns(self) -> dict[str, Column]:
        """Every column by its name here, attributes as `attributes.NAME`."""

    def paths(self) -> list[str]:
        """Every path that is read."""
        columns = self.our_columns().values()
        return list(
            dict.fromkeys([drop.path for drop in self.drop] + [path for column in columns for path in column.paths])
        )

    def alternatives(self) -> list[tuple[str, ...]]:
        """Paths of which a file must have at least one."""
        required: list[tuple[str, ...]] = [(drop.path,) for drop in self.drop if not drop.optional]
        if self.each is not None and not self.each.optional:
            required.append((self.each.path,))
        for column in self.our_columns().values():
            if not column.optional:
                required += [column.first] if column.first else [(path,) for path in column.path]
        return required

    def lacks(self, missing: Collection[str]) -> str | None:
        """A path that a file without the `missing` ones would have to have, or None."""
        return next((paths[0] for paths in self.alternatives() if all(path in missing for path in paths)), None)


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
    attributes: dict[Name, Column] = Field(default_factory=dict, max_length=_MAX_COLUMNS)


class LogMapping(_Part):
    """How rows of a log become events.

    Attributes:
        actions: theirs to `search`, `view`, `add`, `remove`, `buy` or `drop`; none if they are ours already.
        other_actions: what an action that is not listed does.
        session_gap_minutes: the pause that ends a session without an id; None is the command's.
    """

    columns: LogColumns
    actions: dict[str, _Action] = Field(default_factory=dict)
    other_actions: Literal["error", "drop"] = "drop"
    session_gap_minutes: Annotated[float, Field(gt=0)] | None = None

    @pydantic.model_validator(mode="after")
    def _has_types_of_ours(self) -> Self:
        for name, column in self.our_columns().items():
            types = _LOG_TYPES.get(name, ("text",))
            if column.type is not None and column.type not in types:
                raise ValueError(f"columns.{name}.type must be {' or '.join(types)} in a log, got {str(column.type)!r}")
        return self

    @pydantic.model_validator(mode="after")
    def _knows_its_action(self) -> Self:
        constant, known = self.columns.action.value, tuple(self.actions) or OUR_ACTIONS
        if constant is not None and constant not in known:
            raise ValueError(f"columns.action.value must be one of {', '.join(known)}, got {constant!r}")
        return self

    def our_columns(self) -> dict[str, Column]:
        """See `_Part.our_columns`."""
        columns = {name: column for name, column in self.columns if isinstance(column, Column)}
        return columns | _attributes(self.columns.attributes)


class CatalogueMapping(_Part):
    """How rows of a file become products.

    Attributes:
        columns: `product_id`, `title`, `category` and any further ones of the shop. `attributes` is a column that holds
            all of them, as `{"colour": "red"}` or `[{"name": "colour", "value": "red"}]`.
        attributes: by name.
        keep_others: whether columns that are not named stay as further columns.
        latest: path of a time: of the rows of a product the latest counts, as in a history of changes.
    """

    columns: dict[Name, Column] = Field(max_length=_MAX_COLUMNS)
    attributes: dict[Name, Column] = Field(default_factory=dict, max_length=_MAX_COLUMNS)
    keep_others: bool = False
    latest: ColumnPath | None = None

    @pydantic.model_validator(mode="after")
    def _has_id(self) -> Self:
        missing = [name for name in ("product_id", "title") if name not in self.columns]
        if missing:
            raise ValueError(f"expected a column {missing[0]}")
        return self

    def our_columns(self) -> dict[str, Column]:
        """See `_Part.our_columns`, and the time of a row as `LATEST`."""
        columns = self.columns | _attributes(self.attributes)
        return columns | {LATEST: Column(path=(self.latest,), type=ColumnType.TIME)} if self.latest else columns


def _attributes(columns: dict[str, Column]) -> dict[str, Column]:
    return {f"{ATTRIBUTE}{name}": column for name, column in columns.items()}


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

    @pydantic.model_validator(mode="after")
    def _each_part_reads_files(self) -> Self:
        for name, parts in (("log", self.log), ("catalogue", self.catalogue)):
            without = [f"{name}[{number}]" for number, part in enumerate(parts) if not part.files]
            if len(without) > 1:
                raise ValueError(f"expected `files` in all but one [[{name}]]; {' and '.join(without)} have none")
        return self

    @classmethod
    def open(cls, name_or_file: str | Path) -> Mapping:
        """A ready-made mapping by its name, or the one in a file: what ends in `.toml` or has a folder is a file.

        Raises:
            NotFound: no such name or file.
            InvalidData: see `read`.
        """
        path = Path(name_or_file)
        if path.suffix.lower() == ".toml" or path.name != str(name_or_file):
            return cls.read(path)
        mapping = cls.read(named_mapping(str(name_or_file)))
        for part in (*mapping.log, *mapping.catalogue):
            part._ready_made = path.name
        return mapping

    def log_of(self, file: str | Path) -> LogMapping | None:
        """The part that reads a file of events; None for a file that no part names, or one of the catalogue."""
        return _part_of(file, self.log, self.catalogue)

    def catalogue_of(self, file: str | Path) -> CatalogueMapping | None:
        """The part that reads a file of products, if there is one."""
        return _part_of(file, self.catalogue, ())

    def names_catalogue(self, file: str | Path) -> bool:
        """Whether a file among those of a log is one of products, by the patterns of both."""
        of_log, of_catalogue = (any(part.names(file) for part in parts) for parts in (self.log, self.catalogue))
        return of_catalogue and not of_log

    def joins(self, file: str | Path) -> bool:
        """Whether a part joins a file of this name to the rows of another one."""
        return any(join.file == Path(file).name for part in (*self.log, *self.catalogue) for join in part.join)

    @property
    def session_gap_minutes(self) -> float | None:
        """The pause that ends a session without an id, if the mapping says it."""
        return next((log.session_gap_minutes for log in self.log if log.session_gap_minutes), None)


_AnyPart = TypeVar("_AnyPart", bound=_Part)


def _part_of(file: str | Path, parts: Sequence[_AnyPart], others: Sequence[_Part]) -> _AnyPart | None:
    """The part that names the file, or, if no other does either, one that names none."""
    named = next((part for part in parts if part.names(file)), None)
    if named or any(part.names(file) for part in others):
        return named
    return next((part for part in parts if not part.files), None)
