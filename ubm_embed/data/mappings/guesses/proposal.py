"""A mapping proposed for some files: samples of each kind, and a part for each."""

from __future__ import annotations

import contextlib
import csv
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ubm_embed.data.mappings.guesses.known_shapes import known_shapes
from ubm_embed.data.mappings.guesses.part import PartGuess, guess_part
from ubm_embed.data.mappings.guesses.sample import Sample, read_sample
from ubm_embed.data.mappings.guesses.sample_files import sample_file
from ubm_embed.data.mappings.guesses.toml_text import toml_text
from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.data.tables.formats import CsvFormat
from ubm_embed.data.tables.table_files import table_kind
from ubm_embed.data.tables.text_stream import utf8_chunks
from ubm_embed.errors import InvalidData

_MAX_FILES = 50  # that are looked at
_MAX_HEADER = 1 << 16  # characters; the parser of the standard library takes fields of twice as many
_NULLS = ("\\N", "NULL", "null", "NaN", "nan", "<NA>")
_DATA = re.compile(r"^-?[0-9]+([.,][0-9]+)?$|^[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}")


@dataclass(frozen=True)
class Proposal:
    """A proposed mapping.

    Attributes:
        text: as TOML, with comments.
        samples: small copies of some of the files, that the mapping was proposed from.
        missing: what was not found, in words.
        known: names of readers and ready-made mappings that know the columns of logs among these files, with their
            samples.
        known_catalogues: likewise of files of products.
        unreadable: why files were left out.
        unseen: how many files were not looked at, since others have the same name but for its numbers.
    """

    text: str
    mapping: Mapping
    samples: tuple[Path, ...]
    missing: tuple[str, ...]
    known: dict[str, list[Path]]
    known_catalogues: dict[str, list[Path]]
    unreadable: tuple[str, ...]
    unseen: int


def propose(files: Sequence[Path], folder: Path) -> Proposal:
    """A mapping for `files`.

    Args:
        folder: for the samples; empty.

    Raises:
        NotFound: no such file.
        InvalidData: none of them is readable.
    """
    seen: list[Path] = []
    samples: list[tuple[Sample, CsvFormat]] = []
    unreadable: list[InvalidData] = []
    looked_at = _of_each_name(files)
    for number, file in enumerate(looked_at):
        try:
            samples.append(_sample(file, folder / str(number)))
            seen.append(file)
        except InvalidData as error:
            unreadable.append(error)
    if not samples:
        raise unreadable[0]
    groups: dict[frozenset[str], list[int]] = {}
    for number, (sample, _) in enumerate(samples):
        groups.setdefault(frozenset(sample.names), []).append(number)
    parts: list[PartGuess] = []
    for numbers in groups.values():
        sample, written = samples[numbers[0]]
        patterns = tuple(dict.fromkeys(_pattern(seen[number].name) for number in numbers)) if len(groups) > 1 else ()
        parts.append(guess_part(sample, written, patterns))
    text = toml_text(parts)
    known: dict[str, list[Path]] = {}
    known_catalogues: dict[str, list[Path]] = {}
    for sample, written in samples:
        for names, found in zip(known_shapes(sample, written), (known, known_catalogues), strict=True):
            for name in names:
                found.setdefault(name, []).append(sample.file)
    return Proposal(
        text,
        Mapping.model_validate(tomllib.loads(text)),
        tuple(sample.file for sample, _ in samples),
        tuple(dict.fromkeys(what for part in parts for what in part.missing)),
        known,
        known_catalogues,
        tuple(map(str, unreadable)),
        len(files) - len(looked_at),
    )


def _of_each_name(files: Sequence[Path]) -> list[Path]:
    """A file of each name, where numbers do not count."""
    by_name: dict[str, Path] = {}
    for file in files:
        by_name.setdefault(_pattern(file.name), file)
    return list(by_name.values())[:_MAX_FILES]


def _pattern(name: str) -> str:
    """The name with `*` for its numbers; what `fnmatch` would read as more than a letter is any letter."""
    return re.sub(r"[0-9]+([-_.T][0-9]+)*", "*", re.sub(r"[\[\]*?]", "?", name))


def _sample(file: Path, folder: Path) -> tuple[Sample, CsvFormat]:
    folder.mkdir()
    is_csv = table_kind(file) == "CSV"
    encoding = None if not is_csv or _is_utf8(file) else "cp1252"
    written = CsvFormat(encoding=encoding)
    try:
        return _read(file, folder, written, is_csv=is_csv)
    except InvalidData as error:
        with contextlib.suppress(InvalidData):
            if is_csv:
                return _read(file, folder, written.replace(quote=""), is_csv=True)
        raise error


def _read(file: Path, folder: Path, written: CsvFormat, *, is_csv: bool) -> tuple[Sample, CsvFormat]:
    copy = sample_file(file, folder, encoding=written.encoding, quote=written.quote)
    if is_csv:
        line = _first_line(copy)
        separator = "::" if "::" in line and not any(one in line for one in ",;\t|") else None
        written = written.replace(separator=separator, names=_names(line, separator, written.quote))
    try:
        sample = read_sample(copy, written.replace(encoding=None))
        nulls = _nulls(sample) if is_csv else ()
        if nulls:
            written = written.replace(nulls=nulls)
            sample = read_sample(copy, written.replace(encoding=None))
    except InvalidData as error:
        raise InvalidData(error.problem, file=file, row=error.row, field=error.field) from None
    if not sample.rows:
        raise InvalidData("no rows; expected at least one", file=file)
    return sample, written


def _nulls(sample: Sample) -> tuple[str, ...]:
    """What programs write for a missing value, as far as it occurs."""
    return tuple(text for text in _NULLS if any(text in column.values for column in sample.columns.values()))


def _is_utf8(file: Path) -> bool:
    text = next(utf8_chunks(file), b"")
    try:
        text[: text.rfind(b"\n") + 1].decode()
    except UnicodeDecodeError:
        return False
    return True


def _first_line(copy: Path) -> str:
    with copy.open(encoding="utf-8", errors="replace", newline="") as lines:
        return next(lines, "")


def _names(line: str, separator: str | None, quote: str) -> tuple[str, ...] | None:
    """Names for the columns of a file whose first row is no header but has numbers or times."""
    if len(line) > _MAX_HEADER:
        return None
    delimiter = separator or max(",;\t|", key=line.count)
    try:
        plain = len(delimiter) > 1 or not quote
        fields = line.split(delimiter) if plain else next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return None  # for the reader to explain
    if not any(_DATA.search(name.strip()) for name in fields):
        return None
    return tuple(f"column_{number}" for number in range(1, len(fields) + 1))
