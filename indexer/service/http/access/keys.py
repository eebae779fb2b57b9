"""The keys of a service, and which one a request comes with."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from indexer.service.http.access.key import Key
from indexer.service.http.access.key_sources import VARIABLE, keys_of_file, keys_of_variable
from ubm_embed.errors import InvalidData, UbmError

MAX_KEYS = 256
_LOG = logging.getLogger(__name__)


class Keys:
    """The keys that requests may come with.

    Args:
        fixed: those that stay.
        file: TOML with others, which `reload` reads again.

    Raises:
        NotFound, InvalidData: as `read`.
    """

    def __init__(self, fixed: tuple[Key, ...] = (), file: Path | None = None) -> None:
        self._fixed, self._file = fixed, file
        self._keys = self._read()

    @classmethod
    def read(cls, file: Path | None, environment: Mapping[str, str]) -> Keys:
        """The keys of a TOML file, and those of `UBM_EMBED_API_KEYS`.

        Raises:
            NotFound: no such file.
            InvalidData: a key is too short, has no role or the name of another one, or everybody can read the file.
        """
        return cls(tuple(keys_of_variable(environment.get(VARIABLE, ""))), file)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def find(self, token: bytes) -> Key | None:
        """The key that this is; how much of it is right makes no difference to the time that it takes."""
        digest, found = sha256(token).digest(), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def reload(self) -> None:
        """Read the file again. If that fails the keys stay as they are, and the log says why."""
        try:
            keys = self._read()
            if self._keys and not keys:
                raise InvalidData("no keys any more; a service that asks for keys goes on to", file=self._file)
        except (UbmError, OSError) as error:
            _LOG.error("the keys stay as they were: %s", error)
        else:
            self._keys = keys

    def _read(self) -> tuple[Key, ...]:
        keys = (*self._fixed, *(keys_of_file(self._file) if self._file else ()))
        if len(keys) > MAX_KEYS:
            raise InvalidData(f"expected at most {MAX_KEYS} keys, got {len(keys)}", file=self._file)
        _require_distinct("names", [key.name for key in keys], self._file)
        _require_distinct("keys", [key.digest for key in keys], self._file)
        return keys


def _require_distinct(what: str, values: list[str] | list[bytes], file: Path | None) -> None:
    if len(set(values)) < len(values):
        raise InvalidData(f"two keys are the same; expected different {what}", file=file)
