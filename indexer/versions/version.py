"""A version of a store: one immutable state of the products and the index built from it.

versions/<number>/manifest.json    describes the version; its index and products lie beside it
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from indexer.counts.count_summary import CountSummary
from indexer.index.index_request import IndexRequest
from indexer.index.kinds import IndexSpec
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.versions.live import VersionNumber, live_number, version_numbers
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.validation import NEWER, FrozenModel

MANIFEST_FILE = "manifest.json"
# Texts with the vectors that they had; versions of older software lack it.
CANARIES_FILE = "canaries.json"
# Products of which only columns changed that no model reads, since the version whose files this one shares.
PATCH_FILE = "patch.arrow"
# Which files lie beside the manifest. 1: ids.parquet; 2: those of `indexer.catalogue`; 3: hashes and popularity, too.
LAYOUT = 3
METRIC: Literal["inner_product"] = "inner_product"

_Count = Annotated[int, Field(ge=1)]


class FileDigest(FrozenModel):
    """The size of a file, and the SHA-256 of its content in hexadecimal."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: str


class ColumnSummary(FrozenModel):
    """A column of the shop: its type, and the share of the products that have no value."""

    type: str
    empty: Annotated[float, Field(ge=0, le=1)]


class StoreVersion(FrozenModel):
    """The manifest of a version. Fields with a default are missing in manifests of older software.

    Attributes:
        layout: which files lie beside the manifest, at most `LAYOUT`.
        version: its number; later versions have higher numbers.
        table_version: the version of the LanceDB table that has its rows and vectors.
        model_id: the model that reads sessions, the only one whose vectors may search it.
        dimension: width of the vectors, D.
        kind: of the index, one of `indexer.index.kinds.KINDS`.
        metric: inner product; higher is better.
        products: rows of the table.
        indexed: vectors of the index.
        recall_at_10: share of the exact ten nearest that the index finds, measured on a sample.
        created: UTC, ISO 8601.
        software: the version of ubm-embed that built it.
        source: name of the file that the products came from.
        product_model_id: the model that made the vectors, if it is not the one that reads sessions.
        runtime: what read the texts of its products, a `RuntimeName`; several, joined, if a refresh used another one.
        parameters: of the index, by name: how it is built, how fast it was, and what was requested.
        base: the version that it was refreshed from; None if it was built from nothing.
        changes: how many products were new, changed, updated, unchanged, removed, and how many were encoded.
        uniformity: of a sample of its vectors (paper 4.6); None if there are fewer than two.
        alignment: of a sample of neighbouring products in sessions; None if no sessions were given.
        columns: the shop's columns, by name.
        gates: what each gate measured, its limit, and whether it passed or was allowed to fail.
        files: of each file beside the manifest, by name.
        shares_files_of: the version in whose folder its index and products are, if only columns changed since that no
            model reads; what is beside this manifest comes before the files there. Never one that shares files itself.
        index_update: how its index was made: `action` (`trained`, `kept_up` or `shared`), `reason`, and `nights`, how
            many versions its lists have been kept up for.
        counts: what its counts were counted from; None of a version without counts. They are in `counts.arrow`, beside
            this manifest or among the files that it shares.

    Raises:
        ValueError: an invalid value, or two values that contradict each other.
    """

    # First, as its error is the reason for all others.
    layout: _Count = 1
    version: VersionNumber
    table_version: _Count
    model_id: str
    dimension: _Count
    kind: str
    metric: Literal["inner_product"]
    products: _Count
    indexed: _Count
    recall_at_10: Annotated[float, Field(ge=0, le=1)]
    created: str
    software: str
    source: str
    product_model_id: str | None = None
    # Version 0.1 called it the encoder.
    runtime: str | None = Field(default=None, validation_alias=pydantic.AliasChoices("runtime", "encoder"))
    parameters: Mapping[str, Any] = Field(default_factory=dict)
    base: int | None = None
    changes: Mapping[str, Any] = Field(default_factory=dict)
    uniformity: float | None = None
    alignment: float | None = None
    columns: Mapping[str, ColumnSummary] = Field(default_factory=dict)
    gates: Mapping[str, Any] = Field(default_factory=dict)
    files: Mapping[str, FileDigest] = Field(default_factory=dict)
    shares_files_of: VersionNumber | None = None
    index_update: Mapping[str, Any] = Field(default_factory=dict)
    counts: CountSummary | None = None

    @pydantic.field_validator("layout")
    @classmethod
    def _require_known_layout(cls, layout: int) -> int:
        if layout > LAYOUT:
            raise ValueError(f"must be at most {LAYOUT}, got {layout}: {NEWER}")
        return layout

    @pydantic.field_validator("model_id")
    @classmethod
    def _require_name(cls, model_id: str) -> str:
        # It names a folder of the store, and must not lead out of it.
        if not model_id.isalnum():
            raise ValueError(f"must be letters and digits, got {model_id!r}")
        return model_id

    @pydantic.field_validator("files")
    @classmethod
    def _require_file_names(cls, files: Mapping[str, FileDigest]) -> Mapping[str, FileDigest]:
        for name in files:
            if Path(name).name != name:
                raise ValueError(f"must have names of files in the version's folder, got {name!r}")
        return files

    @pydantic.model_validator(mode="after")
    def _require_agreement(self) -> Self:
        _ = self.index_spec, self.index_request  # raise for an invalid kind or parameter
        if self.products != self.indexed:
            raise ValueError(f"{self.indexed} of {self.products} products are indexed, expected all")
        return self

    @property
    def index_spec(self) -> IndexSpec:
        """How the index was built and is searched."""
        return IndexSpec.from_manifest(self.kind, self.parameters)

    @property
    def index_request(self) -> IndexRequest:
        """The index that was requested; an empty request in manifests of older software."""
        return IndexRequest.from_manifest(self.parameters)

    @property
    def files_version(self) -> int:
        """The version in whose folder its index and products are."""
        return self.shares_files_of or self.version

    @property
    def vectors_model_id(self) -> str:
        """The model that made the vectors: those of two models have no common coordinates."""
        return self.product_model_id or self.model_id

    def to_dict(self) -> dict[str, Any]:
        """The manifest as JSON."""
        return self.model_dump()

    def to_bytes(self) -> bytes:
        """The content of the manifest's file."""
        return (json.dumps(self.to_dict(), indent=2) + "\n").encode("utf-8")

    def write(self, folder: Path) -> None:
        """Write the manifest into a version's folder."""
        (folder / MANIFEST_FILE).write_bytes(self.to_bytes())


def manifest_name(number: int) -> str:
    """Name of a version's manifest in its store."""
    return f"{version_folder(number)}/{MANIFEST_FILE}"


def read_version(store: EmbeddingStore, number: int | None = None) -> StoreVersion:
    """The version with this number, or the live one.

    Raises:
        NotFound: there is no version with this number.
        InvalidData: its manifest or live.json is damaged.
    """
    number = live_number(store) if number is None else number
    numbers = version_numbers(store)
    if number not in numbers:
        known = ", ".join(map(str, numbers)) or "(none)"
        raise NotFound(f"no version {number} in {store.uri}; known versions: {known}")
    file = f"{store.uri}/{manifest_name(number)}"
    try:
        version = StoreVersion.from_json(store.storage.read(manifest_name(number)), file=file)
    except FileNotFoundError:
        raise InvalidData("missing; the store is damaged", file=file) from None
    if version.version != number:
        raise InvalidData(f"is {version.version}, but the folder's number is {number}", file=file, field="version")
    return version


def digests(folder: Path) -> dict[str, FileDigest]:
    """The digest of each file of a version but its manifest, by name."""
    files = sorted(file for file in folder.iterdir() if file.name != MANIFEST_FILE)
    return dict(zip([file.name for file in files], _digests(files), strict=True))


def digest_of(content: bytes) -> FileDigest:
    """The digest of a file with this content."""
    return FileDigest(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def require_files(version: StoreVersion, folder: Path) -> None:
    """Compare the files of a version with the sizes in its manifest: in moments, however large they are.

    Raises:
        InvalidData: names the file that is missing or truncated.
    """
    for name, expected in version.files.items():
        file = folder / name
        if not file.is_file():
            raise InvalidData("missing; the store is damaged", file=file)
        size = file.stat().st_size
        if size != expected.bytes:
            raise InvalidData(f"truncated or damaged: {size:,} bytes, expected {expected.bytes:,}", file=file)


def require_digests(version: StoreVersion, folder: Path) -> None:
    """Read the files of a version and compare them with the digests in its manifest.

    Raises:
        InvalidData: names the file that is missing, truncated or damaged.
    """
    require_files(version, folder)
    files = [folder / name for name in version.files]
    for file, expected, found in zip(files, version.files.values(), _digests(files), strict=True):
        if found != expected:
            raise InvalidData("damaged: its content is not what was published", file=file)


def _digests(files: Sequence[Path]) -> list[FileDigest]:
    """The digests of files, made two at a time: most bytes are in two of them."""
    from concurrent.futures import ThreadPoolExecutor  # queries do without it

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(_digest, files))


def _digest(file: Path) -> FileDigest:
    with file.open("rb") as stream:
        return FileDigest(bytes=file.stat().st_size, sha256=hashlib.file_digest(stream, "sha256").hexdigest())
