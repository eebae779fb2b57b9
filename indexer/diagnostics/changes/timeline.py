"""How the versions of a store went, from their manifests alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from indexer.diagnostics.report import Chart, ChartKind, Section, Table
from indexer.refresh.gates import Gate
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import live_number, version_numbers
from indexer.versions.version import StoreVersion, read_version
from ubm_embed.errors import InvalidData, NotFound

# A manifest is a request to an object store; half a year of nights is enough to see a drift.
_MAX_VERSIONS = 200

_Value = Callable[[StoreVersion], float | None]


def timeline_section(store: EmbeddingStore) -> Section:
    """The versions that the store still has, the newest 200 at most, oldest first.

    Raises:
        NotFound: the store has no live version.
        InvalidData: live.json is damaged.
    """
    live, numbers = live_number(store), version_numbers(store)
    versions, notes = _read(store, numbers[-_MAX_VERSIONS:])
    if len(numbers) > _MAX_VERSIONS:
        notes.append(f"only the newest {_MAX_VERSIONS} of {len(numbers):,} versions were read")
    return Section(
        name="timeline",
        title="The versions of the store",
        tables=(_table(versions, live),),
        charts=(_chart(versions, live),),
        notes=tuple(notes),
    )


def _read(store: EmbeddingStore, numbers: Sequence[int]) -> tuple[list[StoreVersion], list[str]]:
    versions, notes = [], []
    for number in numbers:
        try:
            versions.append(read_version(store, number))
        except NotFound:  # pruned just now
            continue
        except InvalidData as error:
            notes.append(f"version {number} is left out: {error}")
    return versions, notes


def _gate(version: StoreVersion, gate: Gate) -> float | None:
    """What a gate measured when the version was published; None if it was not measured."""
    result = version.gates.get(gate)
    return float(result["value"]) if isinstance(result, Mapping) and "value" in result else None


_PANELS: Mapping[str, _Value] = {
    "products": lambda version: version.products,
    "recall@10 of the index": lambda version: version.recall_at_10,
    "uniformity": lambda version: version.uniformity,
    "alignment": lambda version: version.alignment,
    "neighbours kept": lambda version: _gate(version, Gate.NEIGHBOURS),
    "centroid moved by": lambda version: _gate(version, Gate.CENTROID),
    "products encoded": lambda version: version.changes.get("encoded"),
}


def _points(versions: Sequence[StoreVersion], live: int) -> Iterator[dict[str, Any]]:
    for panel, measure in _PANELS.items():
        for version in versions:
            value = measure(version)
            if value is not None:
                place = {"panel": panel, "version": version.version, "created": version.created}
                yield place | {"value": float(value), "is_live": version.version == live}


def _chart(versions: Sequence[StoreVersion], live: int) -> Chart:
    return Chart(
        name="timeline",
        kind=ChartKind.TIMELINE,
        title="The versions of the store",
        rows=tuple(_points(versions, live)),
        good="every line is level but for the products; recall stays at or above its target",
        remedy="at a step, compare that version with the one before: `ubm-embed diagnose --store DIR --version N "
        "--against M`",
        x="version",
    )


def _table(versions: Sequence[StoreVersion], live: int) -> Table:
    columns = ("version", "created (UTC)", "vectors by", "products", "new", "changed", "removed")
    measured = ("recall@10", "uniformity", "alignment", "neighbours kept")
    rows = [_row(version, live) for version in versions]
    caption = "What each version was when it was published; the live one is marked."
    return Table("versions", caption, (*columns, *measured), rows)


def _row(version: StoreVersion, live: int) -> tuple[Any, ...]:
    return (
        f"{version.version} (live)" if version.version == live else str(version.version),
        version.created[:16].replace("T", " "),
        version.product_model_id or version.model_id,
        version.products,
        *(version.changes.get(name) for name in ("new", "changed", "removed")),
        version.recall_at_10,
        version.uniformity,
        version.alignment,
        _gate(version, Gate.NEIGHBOURS),
    )
