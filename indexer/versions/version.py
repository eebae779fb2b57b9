"""A version of a store: one immutable state of the products and the index built from it.

versions/<number>/manifest.json    what the version is; its index and ids lie beside it
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from indexer.index.index_request import IndexRequest
from indexer.index.kinds import IndexSpec
from indexer.storage.json_record import read_record
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.versions.live import live_number, version_numbers
from ubm_embed.errors import InvalidData, NotFound

MANIFEST_FILE = "manifest.json"
METRIC = "inner_product"

_NUMBER, _NONE = (float, int), (type(None),)
_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "str": (str,),
    "float": _NUMBER,
    "int | None": (int, *_NONE),
    "str | None": (str, *_NONE),
    "float | None": (*_NUMBER, *_NONE),
    "Mapping[str, Any]": (dict,),
}


@dataclass(frozen=True, kw_only=True)
class StoreVersion:
    """What a version is: the manifest. What has a default is not in manifests of older software.

    Attributes:
        version: its number; a later one has a higher number.
        table_version: the version of the LanceDB table that its rows and vectors are read from.
        model_id: the model that reads sessions, and the only one that may ask it.
        dimension: width of the vectors, D.
        kind: of the index, one of `indexer.index.kinds.KINDS`.
        metric: inner product; higher is better.
        products: rows of the table.
        indexed: vectors of the index.
        recall_at_10: share of the exact ten nearest that the index finds, measured on a sample.
        created: UTC, ISO 8601.
        software: the version of ubm-embed that built it.
        source: name of the file that the products came from.
        product_model_id: the model that made the vectors, where it is another one than reads sessions.
        runtime: what read the texts of its products, a `RuntimeName`; several, where a refresh had another one.
        parameters: of the index, by name: its form, how fast it was, and what was asked for.
        base: the version that it was made from, or None where it was made anew.
        changes: products that were new, changed, updated, unchanged, removed, and how many were encoded.
        uniformity: of a sample of its vectors (paper 4.6), or None of fewer than two.
        alignment: of a sample of products that sessions hold next to each other, where sessions were given.
        gates: what each gate measured, its limit, and whether it was passed or allowed.
        files: bytes and SHA-256 of each file beside the manifest.
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
    product_model_id: str | None = None
    runtime: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    base: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    uniformity: float | None = None
    alignment: float | None = None
    gates: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("version", "table_version", "dimension", "products", "indexed"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        _ = self.index_spec, self.index_request  # which say what is wrong with the kind or a parameter
        if self.metric != METRIC:
            raise ValueError(f"metric must be {METRIC!r}, got {self.metric!r}")
        if self.products != self.indexed:
            raise ValueError(f"{self.indexed} of {self.products} products are indexed, expected all")
        if not 0 <= self.recall_at_10 <= 1:  # also false for NaN
            raise ValueError(f"recall_at_10 must be in [0, 1], got {self.recall_at_10}")
        # It names a folder of the store, and must not lead out of it.
        if not self.model_id.isalnum():
            raise ValueError(f"model_id must be letters and digits, got {self.model_id!r}")
        for name, found in self.files.items():
            if Path(name).name != name or not isinstance(found, Mapping) or found.keys() != {"bytes", "sha256"}:
                raise ValueError(f"files must have names with bytes and sha256, got {name!r}: {found!r}")

    @property
    def index_spec(self) -> IndexSpec:
        """What the index is made of, and how it is searched."""
        return IndexSpec.from_manifest(self.kind, self.parameters)

    @property
    def index_request(self) -> IndexRequest:
        """What was asked of the index; nothing, by older software."""
        return IndexRequest.from_manifest(self.parameters)

    def to_bytes(self) -> bytes:
        """The manifest as a file has it."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode("utf-8")

    def write(self, folder: Path) -> None:
        """Write the manifest into a version's folder."""
        (folder / MANIFEST_FILE).write_bytes(self.to_bytes())


def parse_version(document: Mapping[str, Any], *, file: str) -> StoreVersion:
    """The manifest in a JSON object that was read from `file`.

    Raises:
        InvalidData: names the manifest: a field missing, unknown or of another type, or a value that contradicts
            another.
    """
    if "encoder" in document and "runtime" not in document:  # its name in manifests of version 0.1
        document = {"runtime" if name == "encoder" else name: value for name, value in document.items()}
    known = {one.name: one for one in fields(StoreVersion)}
    required = {name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING}
    for name in sorted((document.keys() - known.keys()) | (required - document.keys())):
        problem = "unknown; a newer ubm-embed may have written it" if name in document else "missing"
        raise InvalidData(problem, file=file, field=name)
    for name, value in document.items():
        kind = str(known[name].type)
        if isinstance(value, bool) or not isinstance(value, _TYPES[kind]):
            raise InvalidData(f"expected {kind}, got {value!r}", file=file, field=name)
    try:
        return StoreVersion(**document)
    except ValueError as error:
        raise InvalidData(str(error), file=file) from None


def manifest_of(number: int) -> str:
    """Name of a version's manifest in its store."""
    return f"{version_folder(number)}/{MANIFEST_FILE}"


def read_version(store: EmbeddingStore, number: int | None = None) -> StoreVersion:
    """A version by its number, or the live one.

    Raises:
        NotFound: there is no version of that number.
        InvalidData: its manifest or live.json is damaged.
    """
    number = live_number(store) if number is None else number
    numbers = version_numbers(store)
    if number not in numbers:
        known = ", ".join(map(str, numbers)) or "none"
        raise NotFound(f"no version {number} in {store.uri}; there is: {known}")
    name = manifest_of(number)
    file = f"{store.uri}/{name}"
    version = parse_version(read_record(store.storage, name), file=file)
    if version.version != number:
        raise InvalidData(f"is version {version.version}, but stands in {number}", file=file, field="version")
    return version


def digests(folder: Path) -> dict[str, dict[str, Any]]:
    """Bytes and SHA-256 of each file of a version but its manifest."""
    return {file.name: _digest(file) for file in sorted(folder.iterdir()) if file.name != MANIFEST_FILE}


def require_files(version: StoreVersion, folder: Path) -> None:
    """Check that the files of a version are those that its manifest describes, to the last bit.

    Raises:
        InvalidData: names the file that is missing, truncated or damaged.
    """
    for name, expected in version.files.items():
        if not (folder / name).is_file():
            raise InvalidData("missing; the store is damaged", file=folder / name)
        size = (folder / name).stat().st_size
        if size != expected["bytes"]:
            raise InvalidData(
                f"truncated or damaged: {size:,} bytes, expected {expected['bytes']:,}", file=folder / name
            )
        if _digest(folder / name) != expected:
            raise InvalidData("damaged: its contents are not those that were published", file=folder / name)


def _digest(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
