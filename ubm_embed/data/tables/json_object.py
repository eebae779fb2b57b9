"""A small JSON file that holds one object: settings, a record, a vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ubm_embed.errors import InvalidData


def read_json_object(file: Path) -> dict[str, Any]:
    """The object in a file.

    Raises:
        InvalidData: names the file; it is not JSON, or something other than an object.
    """
    try:
        document = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"not JSON: {error}", file=file) from None
    if not isinstance(document, dict):
        raise InvalidData("expected a JSON object", file=file)
    return document
