"""Small JSON objects of a store: read with a clear error, changed in one step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from indexer.storage.storage import Storage
from ubm_embed.errors import InvalidData


def read_record(storage: Storage, name: str) -> dict[str, Any]:
    """The JSON object in a file of the store.

    Raises:
        InvalidData: names the file: missing, not JSON, no object.
    """
    try:
        return parse_record(storage.read(name), file=f"{storage.uri}/{name}")
    except FileNotFoundError:
        raise InvalidData("missing; the store is damaged", file=f"{storage.uri}/{name}") from None


def parse_record(data: bytes, *, file: str) -> dict[str, Any]:
    """The JSON object in these bytes.

    Raises:
        InvalidData: names the file: not JSON, no object.
    """
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"not JSON: {error}", file=file) from None
    if not isinstance(document, dict):
        raise InvalidData("expected a JSON object", file=file)
    return document


def as_bytes(document: Mapping[str, Any]) -> bytes:
    """A JSON object as `parse_record` reads it."""
    return (json.dumps(document) + "\n").encode("utf-8")
