"""What a refresh may be told in a file: its gates, what is kept, how it cuts its work.

shard_rows = 20000

[gates]
most_lost = 0.2

[keep]
versions = 2
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from indexer.indexes.request import IndexRequest
from indexer.update.gates import GateLimits
from indexer.update.ray_workers import RayWorkers
from indexer.versions.pruning import KeepPolicy
from ubm_embed.errors import InvalidData, NotFound

_KINDS: dict[str, type] = {"int": int, "int | None": int, "float": float, "float | None": float}

_Part = TypeVar("_Part", GateLimits, KeepPolicy, RayWorkers)


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
        parts = {"gates": GateLimits, "keep": KeepPolicy, "ray": RayWorkers}
        _require_known(document, {"shard_rows", *parts}, file, "")
        found: dict[str, Any] = {
            name: _part(part, document[name], file, name) for name, part in parts.items() if name in document
        }
        if "shard_rows" in document:
            found["shard_rows"] = _number(document, "shard_rows", int, file, "")
        try:
            return cls(**found)
        except ValueError as error:
            raise InvalidData(str(error), file=file, field="shard_rows") from None


def _part(part: type[_Part], document: Any, file: str | Path, name: str) -> _Part:
    if not isinstance(document, Mapping):
        raise InvalidData(f"expected a section [{name}], got {document!r}", file=file, field=name)
    # All are numbers, but for the address of a cluster, which the environment has.
    kinds = {one.name: _KINDS[str(one.type)] for one in fields(part) if str(one.type) in _KINDS}
    _require_known(document, set(kinds), file, f"{name}.")
    values = {key: _number(document, key, kinds[key], file, f"{name}.") for key in document}
    try:
        return part(**values)
    except ValueError as error:
        raise InvalidData(str(error), file=file, field=f"{name}.{str(error).split()[0]}") from None


def _require_known(document: Mapping[str, Any], known: set[str], file: str | Path, where: str) -> None:
    for key in sorted(document.keys() - known):
        raise InvalidData(f"unknown; expected one of {', '.join(sorted(known))}", file=file, field=f"{where}{key}")


def _number(document: Mapping[str, Any], key: str, kind: type, file: str | Path, where: str) -> Any:
    value = document[key]
    fits = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    if not fits:
        expected = "a whole number" if kind is int else "a number"
        raise InvalidData(f"expected {expected}, got {value!r}", file=file, field=f"{where}{key}")
    return value
