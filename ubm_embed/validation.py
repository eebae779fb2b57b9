"""Checked values: a frozen base for settings and manifests, and pydantic's errors as ours.

A `FrozenModel` is checked whenever it is made. Its constructor raises ValueError, for values that code passes;
`from_json` raises InvalidData, for values from a file. Both say "FIELD must be at least 1, got 0".
"""

from __future__ import annotations

import difflib
import re
import reprlib
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, get_args

import pydantic
from pydantic_core import ErrorDetails

from ubm_embed.errors import InvalidData, NotFound

# What a value must be, by pydantic's type of the error; the braces are filled from its context.
_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "enum": "{expected}",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "int_type": "an integer",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "mapping_type": "an object",
    "model_type": "an object",
    "string_type": "a string",
    "tuple_type": "a list",
}
# The end of an error that is not about damage.
NEWER = "written by newer software; upgrade ubm-embed"
_MAX_TOML_BYTES = 1 << 20
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100


class FrozenModel(pydantic.BaseModel):
    """Values that are checked when they are made and never change after.

    Unknown fields are refused, and so are `true` for an integer, "1" for a number, and NaN.
    """

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
    )

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except pydantic.ValidationError as error:
            raise value_error(error) from None

    # Without it pydantic would parse documents through this constructor, and the names of fields would be lost.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def from_json(cls, data: bytes, *, file: str | Path) -> Self:
        """The values in a JSON object that was read from `file`.

        Raises:
            InvalidData: names the file and the first field that is missing, unknown or invalid.
        """
        try:
            return cls.model_validate_json(data)
        except pydantic.ValidationError as error:
            raise invalid_data(error, file=file) from None

    def replace(self, **changes: Any) -> Self:
        """A copy with other values for some fields, checked like any other.

        Raises:
            ValueError: as the constructor.
        """
        return type(self)(**(dict(self) | changes))


class TomlModel(FrozenModel):
    """A table of a TOML file, or all of it; lists may be tuples here."""

    model_config = pydantic.ConfigDict(strict=False)

    @classmethod
    def read(cls, file: str | Path) -> Self:
        """The document in a TOML file.

        Raises:
            NotFound: no such file.
            InvalidData: names the file and the field: not TOML, an unknown or missing field, or a value that is wrong.
        """
        document = read_toml(file)
        try:
            return cls.model_validate(document)
        except pydantic.ValidationError as error:
            raise invalid_data(error, file=file, model=cls) from None


def read_toml(file: str | Path) -> dict[str, Any]:
    """The document in a TOML file.

    Raises:
        NotFound: no such file.
        InvalidData: a folder, too large, or not TOML in UTF-8; names the file.
    """
    path = Path(file)
    try:
        if path.stat().st_size > _MAX_TOML_BYTES:
            raise InvalidData(f"too large; expected TOML of at most {_MAX_TOML_BYTES >> 20} MiB", file=file)
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise NotFound(f"no such file: {file}") from None
    except IsADirectoryError:
        raise InvalidData("not TOML but a folder; expected a file", file=file) from None
    except UnicodeDecodeError as error:
        position = f"it has the byte {error.object[error.start]:#04x} at position {error.start + 1:,}"
        raise InvalidData(f"not TOML: it must be UTF-8, and {position}", file=file) from None
    except RecursionError:
        raise InvalidData("not TOML that can be read: too many brackets within one another", file=file) from None
    except ValueError as error:
        raise InvalidData(f"not TOML: {error}", file=file) from None


def invalid_data(
    error: pydantic.ValidationError, *, file: str | Path, model: type[pydantic.BaseModel] | None = None
) -> InvalidData:
    """The first fault of a document as an error that names the file, the field and what was expected.

    Args:
        model: of a document that a person wrote: where a key is unknown, those that it has are named.
    """
    first = error.errors()[0]
    if model is not None and first["type"] == "extra_forbidden":
        return InvalidData(_unknown_key(first["loc"], model), file=file, field=_field(first))
    if first["type"] == "json_invalid":
        return InvalidData(f"not JSON: {first['ctx']['error']}", file=file)
    return InvalidData(_problem(first), file=file, field=_field(first) or None)


def value_error(error: pydantic.ValidationError) -> ValueError:
    """The first fault of values that code passed: "FIELD must be at least 1, got 0"."""
    first = error.errors()[0]
    field, problem = _field(first), _problem(first)
    if first["type"] in ("missing", "extra_forbidden"):
        problem = f"is {problem.partition(':')[0]}"
    return ValueError(f"{field} {problem}" if field else problem)


def _field(fault: ErrorDetails) -> str:
    """Where it is, such as `files.ids.bytes` or `history[2]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]).removeprefix(".")


def _unknown_key(location: Sequence[str | int], model: type[pydantic.BaseModel]) -> str:
    for name in location[:-1]:
        field = model.model_fields.get(str(name))
        model = next(_models(field.annotation), model) if field else model
    similar = difflib.get_close_matches(str(location[-1]), model.model_fields, 1)
    guess = f"; did you mean {similar[0]!r}?" if similar else ""
    return f"unknown{guess}; expected {', '.join(model.model_fields)}"


def _models(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _problem(fault: ErrorDetails) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "missing":
        return "missing"
    if kind == "extra_forbidden":
        return f"unknown: {NEWER}"
    if kind == "value_error":  # raised by a validator, which says it all
        return str(context["error"])
    if kind in _EXPECTED:
        bounds = {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}
        expected = f"must be {_EXPECTED[kind].format(**bounds)}"
    else:
        expected = re.sub(r"^(Input|String|Dictionary|Tuple|List) should", "must", fault["msg"])
    return f"{expected}, got {_SHORT.repr(fault['input'])}"
