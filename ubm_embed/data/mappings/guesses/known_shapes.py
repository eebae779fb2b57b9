"""Ready-made mappings that read a file of such columns."""

from __future__ import annotations

from functools import cache
from typing import Final

from ubm_embed.data.mappings.guesses.sample import Sample
from ubm_embed.data.mappings.mapping import CatalogueMapping, LogMapping, Mapping
from ubm_embed.data.mappings.ready_made import mapping_names
from ubm_embed.data.tables.formats import CsvFormat

# What readers in code know their logs by.
_READERS: Final = {
    "ga4": {"event_name", "event_timestamp", "event_params", "items"},
    "segment": {"event", "messageId", "properties", "timestamp"},
    "native": {"session_id", "action", "product_id"},
}
_OURS = {"search", "view", "add", "remove", "buy"}
_MIN_COLUMNS = 3  # that a file must have for its shape to be known by them


def known_shapes(sample: Sample, written: CsvFormat) -> tuple[list[str], list[str]]:
    """The names of what reads the file as a log and as a catalogue, that which knows most of its columns first.

    Args:
        written: how the file is; its sample is UTF-8.
    """
    is_utf8 = written.encoding is None
    logs = {name: len(columns) for name, columns in _READERS.items() if is_utf8 and columns <= set(sample.names)}
    actions = sample.columns.get("action")
    if actions is not None and not set(actions.values) <= _OURS:
        logs.pop("native", None)
    catalogues: dict[str, int] = {}
    for name, mapping in _ready_made().items():
        log, catalogue = mapping.log_of(sample.file), mapping.catalogue_of(sample.file)
        logs[name] = _score(log, sample) if log and (is_utf8 or log.csv.fallback_encoding) else 0
        catalogues[name] = _score(catalogue, sample) if catalogue and is_utf8 else 0
    return _ranked(logs), _ranked(catalogues)


def _ranked(scores: dict[str, int]) -> list[str]:
    return sorted((name for name, score in scores.items() if score), key=lambda name: (-scores[name], name))


@cache
def _ready_made() -> dict[str, Mapping]:
    return {name: Mapping.open(name) for name in mapping_names()}


def _score(part: LogMapping | CatalogueMapping, sample: Sample) -> int:
    """How many of the file's columns the part reads; 0 if it lacks some, or its actions are others."""
    columns = {name.lower(): column for name, column in sample.columns.items()} if part.ignore_case else sample.columns
    known = columns.keys() | ({name.lower() for name in sample.names} if part.ignore_case else set(sample.names))
    if part.lacks([path for path in part.paths() if path not in known]) is not None:
        return 0
    found = [path for path in part.paths() if path in known]
    if isinstance(part, LogMapping) and part.actions:
        theirs = {value for path in part.columns.action.paths if path in columns for value in columns[path].values}
        if not theirs & part.actions.keys():
            return 0
    return len(found) if len(found) >= _MIN_COLUMNS else 0
