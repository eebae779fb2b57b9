"""A version of a store: one immutable state of the products and the index built from it, and which one is live.

versions/<number>/manifest.json    what the version is; its index and ids lie beside it
live.json                          {"version": number}; replacing this file is what publishes
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from indexer.store import LIVE_FILE, VERSIONS, EmbeddingStore
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.outputs import output_file

MANIFEST_FILE = "manifest.json"
KINDS = ("flat",)
METRIC = "inner_product"

_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "str": (str,), "float": (float, int)}


@dataclass(frozen=True, kw_only=True)
class StoreVersion:
    """What a version is: the manifest.

    Attributes:
        version: its number; a later build has a higher one.
        table_version: the version of the LanceDB table that its rows and vectors are read from.
        model_id: the model that made every vector of it, and the only one that may ask it.
        dimension: width of the vectors, D.
        kind: of the index, one of `KINDS`.
        metric: inner product; higher is better.
        products: rows of the table.
        indexed: vectors of the index.
        recall_at_10: share of the exact ten nearest that the index finds, measured on a sample.
        created: UTC, ISO 8601.
        software: the version of ubm-embed that built it.
        source: name of the file that the products came from.
    """

    version: int
    table_version: int
    model_id: str
    dimension: int
    kind: str
    metric: str
    products: int
    indexed: int
    recall_at_10: float
    created: str
    software: str
    source: str

    def __post_init__(self) -> None:
        for name in ("version", "table_version", "dimension", "products", "indexed"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.metric != METRIC:
            raise ValueError(f"metric must be {METRIC!r}, got {self.metric!r}")
        if self.products != self.indexed:
            raise ValueError(f"{self.indexed} of {self.products} products are indexed, expected all")
        if not 0 <= self.recall_at_10 <= 1:  # also false for NaN
            raise ValueError(f"recall_at_10 must be in [0, 1], got {self.recall_at_10}")
        # It names a folder of the store, and must not lead out of it.
        if not self.model_id.isalnum():
            raise ValueError(f"model_id must be letters and digits, got {self.model_id!r}")

    def write(self, folder: Path) -> None:
        """Write the manifest into a version's folder."""
        (folder / MANIFEST_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest of a version's folder.

        Raises:
            InvalidData: names the manifest: not JSON, a field missing, unknown or of another type, or a value that
                contradicts another or the folder's name.
        """
        file = folder / MANIFEST_FILE
        document = _read_object(file)
        for name in sorted({field.name for field in fields(cls)} ^ document.keys()):
            problem = "unknown; a newer ubm-embed may have written it" if name in document else "missing"
            raise InvalidData(problem, file=file, field=name)
        for field in fields(cls):
            value = document[field.name]
            if isinstance(value, bool) or not isinstance(value, _TYPES[str(field.type)]):
                raise InvalidData(f"expected {field.type}, got {value!r}", file=file, field=field.name)
        try:
            found = cls(**document)
        except ValueError as error:
            raise InvalidData(str(error), file=file) from None
        if str(found.version) != folder.name:
            raise InvalidData(f"is version {found.version}, but stands in {folder}", file=file, field="version")
        return found


def version_numbers(store: EmbeddingStore) -> list[int]:
    """Numbers of the versions that are whole, published or not, in order."""
    folders = (store.folder / VERSIONS).glob("*")
    return sorted(int(folder.name) for folder in folders if folder.name.isdecimal() and folder.is_dir())


def next_number(store: EmbeddingStore) -> int:
    """A number that no version has had: a crashed build may have left one that was never live."""
    live = [live_number(store)] if (store.folder / LIVE_FILE).exists() else []
    return max([0, *version_numbers(store), *live]) + 1


def live_number(store: EmbeddingStore) -> int:
    """Number of the version that answers.

    Raises:
        InvalidData: live.json is not what it should be.
    """
    file = store.folder / LIVE_FILE
    number = _read_object(file).get("version")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise InvalidData(f"expected a version number, got {number!r}", file=file, field="version")
    return number


def read_version(store: EmbeddingStore, number: int | None = None) -> StoreVersion:
    """A version by its number, or the live one.

    Raises:
        NotFound: there is no version of that number.
        InvalidData: its manifest or live.json is damaged.
    """
    number = live_number(store) if number is None else number
    folder = store.version_folder(number)
    if not folder.is_dir():
        known = ", ".join(map(str, version_numbers(store))) or "none"
        raise NotFound(f"no version {number} in {store.folder}; there is: {known}")
    return StoreVersion.read(folder)


def make_live(store: EmbeddingStore, version: StoreVersion) -> None:
    """Publish a version that is whole on disk, in one step: a reader who opens the store sees the old one or this."""
    with output_file(store.folder / LIVE_FILE) as aside:
        aside.write_text(json.dumps({"version": version.version}) + "\n", "utf-8")


def _read_object(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidData("missing; the store is damaged", file=file) from None
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"not JSON: {error}", file=file) from None
    if not isinstance(document, dict):
        raise InvalidData("expected a JSON object", file=file)
    return document
