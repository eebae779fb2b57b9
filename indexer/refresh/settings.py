"""What a refresh may be told in a file: its gates, what is kept, which index, how it cuts its work.

shard_rows = 20000

[gates]
most_lost = 0.2

[keep]
versions = 2

[index]
kind = "auto"
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from indexer.index.index_request import IndexRequest
from indexer.refresh.gates import GateLimits
from indexer.refresh.ray_workers import RayWorkers
from indexer.versions.pruning import KeepPolicy
from ubm_embed.errors import InvalidData, NotFound

_NUMBERS: dict[str, type] = {"int": int, "int | None": int, "float": float, "float | None": float}
_EXPECTED: dict[type, str] = {int: "a whole number", float: "a number", str: "a string"}


@dataclass(frozen=True, kw_only=True)
class RefreshSettings:
    """How a refresh goes.

    Attributes:
        shard_rows: products that are encoded and written at once, the unit in which a stopped refresh is taken up
            again. Beyond 20 million products set it to a thousandth of them: a table of many small files is slow.
        gates: limits of the checks before publishing.
        keep: which versions stay.
        ray: what a Ray cluster gives the workers, where one encodes.
        index: which index, and how good it is to be; None is as the live version has it.

    Raises:
        ValueError: fewer than one row a shard.
    """

    shard_rows: int = 20_000
    gates: GateLimits = field(default_factory=GateLimits)
    keep: KeepPolicy = field(default_factory=KeepPolicy)
    ray: RayWorkers = field(default_factory=RayWorkers)
    index: IndexRequest | None = None

    def __post_init__(self) -> None:
        if self.shard_rows < 1:
            raise ValueError(f"shard_rows must be at least 1, got {self.shard_rows}")

    @classmethod
    def read(cls, file: str | Path) -> RefreshSettings:
        """Settings of a TOML file; what it leaves out is as the class has it.

        Raises:
            NotFound: no such file.
            InvalidData: names the file and the field: not TOML, an unknown field, or a value outside its range.
        """
        try:
            document = tomllib.loads(Path(file).read_text("utf-8"))
        except FileNotFoundError:
            raise NotFound(f"no such file: {file}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
            raise InvalidData(f"not TOML: {error}", file=file) from None
        _require_known(document, {"shard_rows", *_SECTIONS}, file, "")
        found = {name: _section(name, document[name], file) for name in _SECTIONS if name in document}
        if "shard_rows" in document:
            found["shard_rows"] = _value(document, "shard_rows", int, file, "")
        try:
            return cls(**found)
        except ValueError as error:
            raise InvalidData(str(error), file=file, field="shard_rows") from None


def _index_request(kind: str | None = None, **target: float) -> IndexRequest:
    """What the option `--index` says is `kind` in the section [index]."""
    try:
        return IndexRequest(index=kind, **target)
    except ValueError as error:
        raise ValueError(str(error).replace("index must", "kind must")) from None


def _numbers(part: type) -> dict[str, type]:
    """Its fields that are numbers. What the others hold the environment has, or a section by another name."""
    return {one.name: _NUMBERS[str(one.type)] for one in fields(part) if str(one.type) in _NUMBERS}


# What each section makes, and the kinds of its fields.
_SECTIONS: dict[str, tuple[Callable[..., Any], dict[str, type]]] = {
    "gates": (GateLimits, _numbers(GateLimits)),
    "keep": (KeepPolicy, _numbers(KeepPolicy)),
    "ray": (RayWorkers, _numbers(RayWorkers)),
    "index": (_index_request, {"kind": str, **_numbers(IndexRequest)}),
}


def _section(name: str, document: Any, file: str | Path) -> Any:
    make, kinds = _SECTIONS[name]
    if not isinstance(document, Mapping):
        raise InvalidData(f"expected a section [{name}], got {document!r}", file=file, field=name)
    _require_known(document, set(kinds), file, f"{name}.")
    values = {key: _value(document, key, kinds[key], file, f"{name}.") for key in document}
    try:
        return make(**values)
    except ValueError as error:
        raise InvalidData(str(error), file=file, field=f"{name}.{str(error).split()[0]}") from None


def _require_known(document: Mapping[str, Any], known: set[str], file: str | Path, where: str) -> None:
    for key in sorted(document.keys() - known):
        raise InvalidData(f"unknown; expected one of {', '.join(sorted(known))}", file=file, field=f"{where}{key}")


def _value(document: Mapping[str, Any], key: str, kind: type, file: str | Path, where: str) -> Any:
    value = document[key]
    fits = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
    if not fits:
        raise InvalidData(f"expected {_EXPECTED[kind]}, got {value!r}", file=file, field=f"{where}{key}")
    return value
