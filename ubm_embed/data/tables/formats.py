"""How the values of a text file are written, where a mapping says it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

import polars as pl
import pydantic
from pydantic import Field

from ubm_embed.validation import TomlModel


class CsvFormat(TomlModel):
    """How a CSV file is written.

    Attributes:
        separator: of one character or several, such as `::`. None looks at the header: the one of comma, semicolon,
            tab and bar that it has, or a comma.
        encoding: a name that Python knows, such as `cp1252`; None is UTF-8, or what a byte order mark says.
        fallback_encoding: of files that are neither.
        quote: an empty text if quotes are characters like any other.
        escape: what stands before a tab or line break that is part of a value, and before itself; such a tab or line
            break is read as a blank. For files that are separated by tabs.
        nulls: texts that mean "missing", beside the empty one.
        names: the columns, if there is no header.
    """

    separator: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    encoding: str | None = None
    fallback_encoding: str | None = None
    quote: Annotated[str, Field(max_length=1)] = '"'
    escape: Annotated[str, Field(max_length=1)] = ""
    nulls: tuple[str, ...] = ()
    names: tuple[Annotated[str, Field(min_length=1)], ...] | None = None

    @pydantic.model_validator(mode="after")
    def _one_byte_each(self) -> Self:
        for name, character in (("separator", self.separator), ("quote", self.quote)):
            if character and (not character.isascii() or set(character) & set("\r\n\0")):
                raise ValueError(f"{name} must be an ASCII character other than a line break, got {character!r}")
        if self.escape and (self.separator != "\t" or not self.escape.isascii() or not self.escape.isprintable()):
            raise ValueError('escape must be an ASCII character, and needs separator = "\\t"')
        if self.separator == self.quote:
            raise ValueError(f"separator and quote must differ, both are {self.quote!r}")
        if self.separator and self.quote and self.quote in self.separator:
            raise ValueError(f"separator must not hold the quote {self.quote!r}, got {self.separator!r}")
        return self


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


class TimeFormat(TomlModel):
    """How timestamps are written.

    Attributes:
        format: of strftime, such as `%d/%m/%Y %H:%M`; of several the first that fits a value. None is ISO 8601 or a
            number since 1970.
        zone: of times that name none, such as `Europe/Berlin`.
        unit: of numbers; None goes by their size.
    """

    format: Annotated[tuple[str, ...], Field(min_length=1), pydantic.BeforeValidator(_listed)] | None = None
    zone: str = "UTC"
    unit: Literal["s", "ms", "us", "ns"] | None = None

    @pydantic.model_validator(mode="after")
    def _known(self) -> Self:
        if self.zone == "UTC" and self.format is None:
            return self  # a default, made on import: polars must not start its threads in a process that is yet to fork
        moment = pl.Series([datetime(2021, 12, 31)])
        try:
            moment.dt.replace_time_zone(self.zone)
        except pl.exceptions.PolarsError:
            raise ValueError(f"zone must be a name such as Europe/Berlin, got {self.zone!r}") from None
        for form in self.format or ():
            try:
                text = moment.dt.replace_time_zone("UTC").dt.to_string(form)
                known = text.str.to_datetime(form, strict=False).dt.date().to_list() == moment.dt.date().to_list()
            except pl.exceptions.PolarsError:
                known = False
            if not known:
                raise ValueError(f"format must be one of strftime with a date, such as %d/%m/%Y, got {form!r}")
        return self
