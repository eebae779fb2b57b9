"""JSON values made to fit the types that are declared for them, and what is said of those that do not."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import polars as pl
from polars.datatypes import DataTypeClass

# Between the texts of a list where one text is declared, as between the levels of a category.
LIST_SEPARATOR = " > "

_SHOWN = 40
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(text: str) -> Any:
    """The value of a JSON text; a number beyond the range of floats stays text.

    Raises:
        json.JSONDecodeError: not JSON.
        ValueError: NaN or infinity.
        RecursionError: nested too deeply.
    """
    return json.loads(text, parse_constant=refuse_constant, parse_float=_number)


def json_problem(error: json.JSONDecodeError) -> str:
    """What is wrong with a JSON text, to be followed by " at" and where: some of Python's messages end in it."""
    return error.msg.removesuffix(" at")


def refuse_constant(constant: str) -> NoReturn:
    """Raise for `NaN` and the like, which Python's parser takes for JSON."""
    raise ValueError(f"{constant} is not a JSON value")


def whole_text(text: str) -> str:
    """`text` with U+FFFD for each half of a pair of surrogates that is alone, as where an emoji was cut in two."""
    return _LONE_SURROGATE.sub("\ufffd", text)


def _number(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


@dataclass(frozen=True)
class Misfit:
    """A value that does not fit: the path of its field, and what was expected."""

    field: str
    problem: str


@dataclass
class Fitting:
    """Makes objects fit a schema, and notes what does not.

    Attributes:
        schema: types of text, lists and records.
        json_text: columns of text that hold lists and objects as their JSON text.
        misfits: of the objects so far.
    """

    schema: Mapping[str, pl.DataType]
    json_text: Collection[str]
    misfits: list[Misfit] = field(default_factory=list)

    def fit(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of the schema that the object has; what does not fit is null.

        Text that is JSON fits where its value does; a list of plain values is joined where text is declared; an empty
        list or text is null where a record is declared, as PHP writes an empty map.
        """
        fitted = {}
        for name, dtype in self.schema.items():
            value = row.get(name)
            if name in self.json_text and isinstance(value, dict | list):
                fitted[name] = json.dumps(_with_whole_numbers(value), ensure_ascii=False)
            elif value is not None:
                fitted[name] = self._value(value, dtype, name)
        return fitted

    def _value(self, value: Any, dtype: pl.DataType | DataTypeClass, path: str) -> Any:
        if value is None:
            return None
        if isinstance(dtype, pl.List):
            return self._list(value, dtype, path)
        if isinstance(dtype, pl.Struct):
            return self._record(value, dtype, path)
        return self._text(value, path) if isinstance(value, dict | list) else value

    def _list(self, value: Any, dtype: pl.List, path: str) -> list[Any] | None:
        decoded = _decoded(value, list)
        if isinstance(decoded, list):
            return [self._value(one, dtype.inner, f"{path}[{at}]") for at, one in enumerate(decoded)]
        if decoded is not None:
            self._note(path, "a list", value)
        return None

    def _record(self, value: Any, dtype: pl.Struct, path: str) -> dict[str, Any] | None:
        decoded = _decoded(value, dict)
        if isinstance(decoded, dict):
            fields = ((each.name, each.dtype) for each in dtype.fields)
            return {name: self._value(decoded.get(name), inner, f"{path}.{name}") for name, inner in fields}
        if decoded is not None and decoded != []:
            self._note(path, "an object", value)
        return None

    def _text(self, value: dict[str, Any] | list[Any], path: str) -> str | None:
        if isinstance(value, dict) or any(isinstance(one, dict | list) for one in value):
            self._note(path, "text", value)
            return None
        texts = [one if isinstance(one, str) else json.dumps(one) for one in value if one is not None]
        return LIST_SEPARATOR.join(texts) if texts else None

    def _note(self, path: str, expected: str, value: Any) -> None:
        self.misfits.append(Misfit(path, f"expected {expected}, got {shown(value)}"))


def shown(value: Any) -> str:
    """The beginning of a value's JSON."""
    text = whole_text(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _with_whole_numbers(value: Any) -> Any:
    """The value with 1 for 1.0, as polars writes it."""
    if isinstance(value, dict):
        return {key: _with_whole_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _decoded(value: Any, kind: type) -> Any:
    """The list or object in a JSON text, None for an empty text, and any other value as it is."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        decoded = parse_json(value)
    except (ValueError, RecursionError):
        return value
    return decoded if decoded is None or isinstance(decoded, kind | list) else value
