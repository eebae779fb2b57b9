"""One line of the log for each request, with where its time went and nothing about whom."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from indexer.search.query import Timings

LOGGER = logging.getLogger("ubm_embed.access")
_PARTS = tuple((f"{field.name}_ms", field.name) for field in dataclasses.fields(Timings))


def log_request(
    *,
    method: str,
    route: str,
    status: int,
    seconds: float,
    request_id: str,
    sessions: int,
    version: int | None,
    key: str | None,
    error_type: str | None,
    timings: Timings | None,
) -> None:
    """Write the line, if the level of the log lets it through.

    Args:
        route: as it is declared, such as `/v1/products/{product_id}/similar`; ids in paths are not logged.
        key: its name.
    """
    if not LOGGER.isEnabledFor(logging.INFO):
        return
    fields: dict[str, Any] = {
        "method": method,
        "route": route,
        "status": status,
        "request_id": request_id,
        "sessions": sessions,
        "total_ms": round(seconds * 1_000, 3),
    }
    if timings is not None:
        for name, part in _PARTS:
            fields[name] = round(getattr(timings, part) * 1_000, 3)
    for name, value in (("version", version), ("key", key), ("error_type", error_type)):
        if value is not None:
            fields[name] = value
    LOGGER.info("request", extra={"fields": fields})
