"""The kinds of index: what each is built of, the memory it takes, and the parameter that trades time for recall.

Letters: M vectors, D width.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

# Search parameters and keys of a manifest, as FAISS spells them.
NPROBE, EF_SEARCH = "nprobe", "efSearch"
FACTORY, MEDIAN_MS = "factory", "median_ms"

# FAISS warns when it trains a list with fewer vectors than these.
_MIN_VECTORS_PER_LIST = 39
# With fewer lists hardly any vector could be skipped, so a search may as well compare them all.
_MIN_NLIST = 8
# More training vectors for each list no longer raise the recall, only the time.
_TRAINING_VECTORS_PER_LIST = 64
_MIN_TRAINING_VECTORS, _MAX_TRAINING_VECTORS = 16_384, 262_144


@dataclass(frozen=True, kw_only=True)
class IndexKind:
    """A kind of index, before it is known how many vectors it will hold.

    Attributes:
        name: as in `--index` and in a manifest.
        factory: FAISS's factory string, or one like it; {nlist} and {m} stand for numbers that depend on M and D.
        exact: whether a search compares the query with every vector as it is stored.
        search_parameter: name of the parameter that trades time for recall; None if there is nothing to trade.
        refine_factor: candidates scored again in a finer copy, for each one that is wanted; 1 without such a copy.
        bytes_per_value: stored for each of the M * D values; None if that is unknown until the index is built.
        bytes_per_vector: stored for each vector besides.
    """

    name: str
    factory: str
    exact: bool = False
    search_parameter: str | None = None
    refine_factor: int = 1
    bytes_per_value: float | None = None
    bytes_per_vector: int = 0

    def spec_for(self, count: int, dimension: int) -> IndexSpec:
        """How this kind is built for `count` vectors. Too few to train it become half precision."""
        nlist = nlist_for(count)
        if "{nlist}" in self.factory and nlist < _MIN_NLIST:
            return FP16.spec_for(count, dimension)
        m = dimension // 2 if dimension % 2 == 0 else dimension
        factory = self.factory.replace("{nlist}", str(nlist)).replace("{m}", str(m))
        untuned = {NPROBE: max(1, nlist // 16), EF_SEARCH: 64, None: 1}
        return IndexSpec(kind=self, factory=factory, search_value=untuned[self.search_parameter])

    def matches(self, factory: str) -> bool:
        """Whether a factory string is this kind's, with its numbers filled in."""
        pattern = re.sub(r"\\\{\w+\\\}", r"\\d+", re.escape(self.factory))
        return re.fullmatch(pattern, factory) is not None

    def estimate_bytes(self, count: int, dimension: int) -> float | None:
        """About how many bytes `count` vectors take in memory; None if that is unknown until the index is built."""
        if self.bytes_per_value is None:
            return None
        return count * (self.bytes_per_value * dimension + self.bytes_per_vector)


@dataclass(frozen=True, kw_only=True)
class IndexSpec:
    """How an index was built and is searched: the part of a manifest from which it can be opened again.

    Attributes:
        factory: FAISS's factory string, with its numbers.
        search_value: value of the kind's search parameter (`nprobe` or `efSearch`); 1 if the kind has none.
    """

    kind: IndexKind
    factory: str
    search_value: int = 1

    @classmethod
    def from_manifest(cls, kind: str, parameters: Mapping[str, Any]) -> IndexSpec:
        """The spec that a manifest records.

        Raises:
            ValueError: the kind is unknown, or a parameter is missing or invalid.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        default = None if kind == FACTORY or "{" in KINDS[kind].factory else KINDS[kind].factory
        factory = parameters.get("factory", default)  # older software only had flat indexes, and wrote no factory
        if not isinstance(factory, str):
            raise ValueError(f"parameters of the kind {kind!r} must have a FAISS factory string, got {factory!r}")
        built = factory_kind(factory) if kind == FACTORY else KINDS[kind]
        if kind != FACTORY and not built.matches(factory):
            raise ValueError(f"parameters of the kind {kind!r} must have a factory string of it, got {factory!r}")
        if built.search_parameter is None:
            return cls(kind=built, factory=factory)
        value = parameters.get(built.search_parameter)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            wanted = f"{built.search_parameter} of at least 1"
            raise ValueError(f"parameters of the kind {kind!r} must have {wanted}, got {value!r}")
        return cls(kind=built, factory=factory, search_value=value)

    def to_parameters(self) -> dict[str, Any]:
        """The parameters that a manifest records."""
        parameter = self.kind.search_parameter
        return {"factory": self.factory} | ({parameter: self.search_value} if parameter else {})

    def with_search_value(self, value: int) -> IndexSpec:
        """The same index, searched more or less thoroughly."""
        return replace(self, search_value=value)

    @property
    def nlist(self) -> int:
        """Number of lists that the vectors are divided into; 1 if they are not."""
        number = re.search(r"IVF(\d+)", self.factory)
        return int(number[1]) if number else 1

    @property
    def training_vectors(self) -> int:
        """How many vectors are enough to train it."""
        wanted = max(_TRAINING_VECTORS_PER_LIST * self.nlist, _MIN_TRAINING_VECTORS)
        return max(min(wanted, _MAX_TRAINING_VECTORS), _MIN_VECTORS_PER_LIST * self.nlist)


FLAT = IndexKind(name="flat", factory="Flat", exact=True, bytes_per_value=4)
FP16 = IndexKind(name="fp16", factory="SQfp16", exact=True, bytes_per_value=2)
# Besides its values each vector has an id of 8 bytes in its list, and 8 bytes that say in which list it is.
IVF_FP16 = IndexKind(
    name="ivf-fp16",
    factory="IVF{nlist},SQfp16",
    search_parameter=NPROBE,
    bytes_per_value=2,
    bytes_per_vector=16,
)
# The small one, without a finer copy: one in half precision would take more than ivf-fp16, which needs no copy.
IVF_SQ8 = IndexKind(
    name="ivf-sq8", factory="IVF{nlist},SQ8", search_parameter=NPROBE, bytes_per_value=1, bytes_per_vector=16
)
# Four bits for two values, looked up in registers; candidates are scored again in half precision. 64 for each match:
# a few bits hardly tell similar products apart, and with 8 the recall stayed below 0.81.
IVF_PQ = IndexKind(
    name="ivf-pq",
    factory="IVF{nlist},PQ{m}x4fs,Refine(SQfp16)",
    search_parameter=NPROBE,
    refine_factor=64,
    bytes_per_value=2.25,
    bytes_per_vector=8,
)
# 64 links of 4 bytes on the lowest level, and a few above.
HNSW = IndexKind(
    name="hnsw", factory="HNSW32,SQfp16", search_parameter=EF_SEARCH, bytes_per_value=2, bytes_per_vector=280
)

# LanceDB's own, a byte a value, beside the table; candidates are scored again by the stored vectors. In memory there
# is only each row's id. Not by product quantisation: LanceDB takes ten times as long to build that, and finds less.
DISK = IndexKind(
    name="disk",
    factory="LanceDB IVF{nlist},SQ8",
    search_parameter=NPROBE,
    refine_factor=4,
    bytes_per_value=0,
    bytes_per_vector=8,
)

_NAMED = (FLAT, FP16, IVF_FP16, IVF_SQ8, IVF_PQ, HNSW, DISK)
KINDS = {kind.name: kind for kind in (*_NAMED, IndexKind(name=FACTORY, factory=""))}


def kind_from_name(name: str) -> IndexKind:
    """The kind of a name; any other name is taken for a FAISS factory string, such as "IVF1024,SQ8"."""
    return KINDS[name] if name in KINDS and name != FACTORY else factory_kind(name)


def factory_kind(factory: str) -> IndexKind:
    """The kind of an explicit FAISS factory string."""
    parameter = NPROBE if "IVF" in factory else EF_SEARCH if "HNSW" in factory else None
    refine_factor = 16 if re.search(r"Refine\(|RFlat", factory) else 1
    return IndexKind(name=FACTORY, factory=factory, search_parameter=parameter, refine_factor=refine_factor)


def nlist_for(count: int) -> int:
    """The number of lists for `count` vectors: a power of two near 4 sqrt(count), as far as they can train it.

    A query is compared with the centre of every list, then with the vectors of the nearest lists. At the same recall,
    with vectors of a trained model: four times the square root took half the time of the root itself at 300,000, and
    twice as many again no less.
    """
    wanted = round(math.log2(4 * math.sqrt(max(count, 1))))
    trainable = math.floor(math.log2(max(count // _MIN_VECTORS_PER_LIST, 1)))
    return int(2 ** min(wanted, trainable))
