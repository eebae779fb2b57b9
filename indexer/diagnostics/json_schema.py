"""The JSON Schema of a report, as docs/diagnosis.schema.json has it. It follows `Diagnosis.to_dict`."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Any

from indexer.diagnostics.finding import Fault, Severity
from indexer.diagnostics.metric_names import METRIC_NEEDS
from indexer.diagnostics.report import SCHEMA_VERSION, Better

_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_NOTES = {"type": "array", "items": _TEXT}


def document_schema() -> dict[str, Any]:
    """The schema, of draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A report of ubm-embed diagnose",
        **_object(
            schema_version={"const": SCHEMA_VERSION, "description": "A change that breaks readers raises it."},
            subject=_subject(),
            created={"type": "string", "format": "date-time", "description": "UTC."},
            software={"type": "string", "description": "The version of ubm-embed."},
            findings={"type": "array", "items": _finding(), "description": "The worst first."},
            notes=_NOTES | {"description": "Which sections are missing, and the option that adds each."},
            sections={"type": "object", "additionalProperties": _section(), "description": "By name."},
        ),
    }


def schema_text() -> str:
    """The content of the published file."""
    return json.dumps(document_schema(), indent=2, ensure_ascii=False) + "\n"


def _subject() -> dict[str, Any]:
    number = {"type": ["integer", "null"]}
    return {
        "type": "object",
        "properties": {
            "kind": {"enum": ["version", "model", "run"]},
            "name": {"type": "string", "description": "In words."},
            "store": {"type": "string", "description": "Of a version: the store's URI."},
            "version": number | {"description": "Its number."},
            "against": number | {"description": "The number of the version that it is compared with."},
            "model_id": {"type": "string", "description": "Of a version or a model: the model that reads sessions."},
            "models": {"type": "array", "items": _TEXT, "description": "The names of the models; the first counts."},
            "folder": {"type": "string", "description": "Of a run."},
        },
        "required": ["kind", "name"],
        "additionalProperties": False,
    }


def _finding() -> dict[str, Any]:
    return _object(
        fault=_one_of(Fault),
        severity=_one_of(Severity),
        section=_TEXT | {"description": "The name of a section."},
        problem=_TEXT | {"description": "What was seen, with its figure."},
        remedy=_TEXT | {"description": "What to do."},
    )


def _section() -> dict[str, Any]:
    return _object(
        title=_TEXT,
        metrics={
            "type": "object",
            "propertyNames": {"enum": sorted(METRIC_NEEDS)},
            "additionalProperties": _metric(),
            "description": "By name, unique in the report; a figure that could not be measured is missing.",
        },
        tables={"type": "object", "additionalProperties": _table(), "description": "By name."},
        notes=_NOTES,
    )


def _metric() -> dict[str, Any]:
    interval = {"type": ["array", "null"], "items": _NUMBER, "minItems": 2, "maxItems": 2}
    return _object(
        value=_NUMBER,
        interval=interval | {"description": "95%; null where everything was measured or no interval is known."},
        measured_on=_TEXT,
        better={"enum": [*map(str, Better), None], "description": "Which way it improves."},
        meaning=_TEXT,
    )


def _table() -> dict[str, Any]:
    return _object(
        caption=_TEXT,
        columns={"type": "array", "items": _TEXT},
        rows={"type": "array", "items": {"type": "array", "description": "One value for each column."}},
    )


def _one_of(choices: type[enum.StrEnum]) -> dict[str, Any]:
    return {"enum": [*map(str, choices)]}


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """An object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }
