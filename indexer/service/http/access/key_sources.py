"""Where keys come from: a TOML file and the environment. No error has a value in it, which might be a key."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import pydantic
from pydantic import Field

from indexer.service.http.access.key import Key, Role
from ubm_embed.errors import InvalidData
from ubm_embed.validation import TomlModel, read_toml

VARIABLE = "UBM_EMBED_API_KEYS"
MIN_LENGTH = 32
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


class _Entry(TomlModel):
    name: Annotated[str, Field(pattern=f"^{_NAME.pattern}$")]
    role: str
    key: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None
    rate: Annotated[float, Field(gt=0)] | None = None
    burst: Annotated[float, Field(ge=1)] | None = None


class _Document(TomlModel):
    keys: tuple[_Entry, ...]


def keys_of_file(file: Path) -> Iterator[Key]:
    """The keys of a TOML file: tables `[[keys]]` of name, role, key or its sha256, and maybe rate and burst.

    Raises:
        NotFound: no such file.
        InvalidData: not as expected, or everybody can read the keys in it.
    """
    try:
        entries = _Document.model_validate(read_toml(file)).keys
    except pydantic.ValidationError as error:
        raise _without_values(error, file) from None
    if any(entry.key for entry in entries) and file.stat().st_mode & stat.S_IROTH:
        raise InvalidData("everybody can read these keys; `chmod 600` it, or give their sha256 instead", file=file)
    return (_key(entry, f"{file}, key {entry.name!r}") for entry in entries)


def keys_of_variable(text: str) -> Iterator[Key]:
    """The keys in a text of `NAME:ROLE:KEY`, with commas or white space between several.

    Raises:
        InvalidData: not as expected.
    """
    for number, entry in enumerate(filter(None, re.split(r"[,\s]+", text)), 1):
        where = f"{VARIABLE}, key {number}"
        name, role, token = (*entry.split(":", 2), "", "")[:3]
        if not token or not _NAME.fullmatch(name):
            raise InvalidData(f"{where}: expected NAME:ROLE:KEY")
        yield Key(name, _role(role, where), _digest(token, where))


def _key(entry: _Entry, where: str) -> Key:
    if (entry.key is None) == (entry.sha256 is None):
        raise InvalidData(f"{where}: expected either key or sha256")
    digest = bytes.fromhex(entry.sha256) if entry.sha256 else _digest(entry.key or "", where)
    return Key(entry.name, _role(entry.role, where), digest, entry.rate, entry.burst or max(1.0, entry.rate or 1.0))


def _role(role: str, where: str) -> Role:
    try:
        return Role[role.upper()]
    except KeyError:
        raise InvalidData(f"{where}: expected the role read, write or admin") from None


def _digest(token: str, where: str) -> bytes:
    if len(token) < MIN_LENGTH or not _TOKEN.fullmatch(token):
        expected = f"at least {MIN_LENGTH} letters, digits or -._~+/= as the key"
        raise InvalidData(f"{where}: expected {expected}; `openssl rand -hex 32` makes one")
    return sha256(token.encode()).digest()


def _without_values(error: pydantic.ValidationError, file: Path) -> InvalidData:
    first = error.errors(include_input=False, include_context=False)[0]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    return InvalidData(first["msg"][:1].lower() + first["msg"][1:], file=file, field=field.removeprefix("."))
