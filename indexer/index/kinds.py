"""Kinds of index: what each is made of, what it takes, and which of its parameters trades time for recall.

Letters: M vectors, D width.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

NPROBE, EF_SEARCH = "nprobe", "efSearch"
FACTORY, MEDIAN_MS = "factory", "median_ms"

# FAISS asks for so many vectors a list to train it, and warns below.
_VECTORS_A_LIST = 39
# With fewer lists than these there is nothing to be left out, and all vectors may as well be looked at.
_FEWEST_LISTS = 8
# More than this many training vectors a list no longer shows in the recall, but it does in the time.
_TRAINED_A_LIST = 64
_FEWEST_TRAINED, _MOST_TRAINED = 16_384, 262_144


@dataclass(frozen=True, kw_only=True)
class IndexKind:
    """One kind.

    Attributes:
        name: as `--index` and a manifest have it.
        factory: FAISS's description, or the like; {lists} and {codes} stand for numbers that depend on M and D.
        exact: whether a search looks at every vector as it is stored.
        breadth: name of the parameter that trades time for recall, None where there is nothing to trade.
        refined: for each candidate that is wanted, so many are looked at again in a finer copy; 1 without one.
        bytes_a_value: what is stored for each of the M * D values; None where nobody knows before it is built.
        bytes_a_vector: what is stored for each vector beside.
    """

    name: str
    factory: str
    exact: bool = False
    breadth: str | None = None
    refined: int = 1
    bytes_a_value: float | None = None
    bytes_a_vector: int = 0

    def form(self, count: int, dimension: int) -> IndexForm:
        """How it is built for so many vectors; too few to train it get half precision."""
        lists = lists_for(count)
        if "{lists}" in self.factory and lists < _FEWEST_LISTS:
            return FP16.form(count, dimension)
        codes = dimension // 2 if dimension % 2 == 0 else dimension
        factory = self.factory.replace("{lists}", str(lists)).replace("{codes}", str(codes))
        first = {NPROBE: max(1, lists // 16), EF_SEARCH: 64, None: 1}
        return IndexForm(kind=self, factory=factory, breadth=first[self.breadth])

    def describes(self, factory: str) -> bool:
        """Whether a factory string is this kind's, with numbers."""
        pattern = re.sub(r"\\\{\w+\\\}", r"\\d+", re.escape(self.factory))
        return re.fullmatch(pattern, factory) is not None

    def takes(self, count: int, dimension: int) -> float | None:
        """About how many bytes in memory, None where nobody knows."""
        if self.bytes_a_value is None:
            return None
        return count * (self.bytes_a_value * dimension + self.bytes_a_vector)


@dataclass(frozen=True, kw_only=True)
class IndexForm:
    """A kind as it was built and is searched: what a manifest keeps of it.

    Attributes:
        factory: FAISS's description, with its numbers.
        breadth: value of the kind's parameter of that name; nothing where it has none.
    """

    kind: IndexKind
    factory: str
    breadth: int = 1

    @classmethod
    def of_manifest(cls, kind: str, parameters: Mapping[str, Any]) -> IndexForm:
        """The form that a manifest tells.

        Raises:
            ValueError: an unknown kind, or a parameter is missing or has a value that is none.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        default = None if kind == FACTORY or "{" in KINDS[kind].factory else KINDS[kind].factory
        factory = parameters.get("factory", default)  # older software knew flat indexes only, and said nothing of them
        if not isinstance(factory, str):
            raise ValueError(f"parameters of the kind {kind!r} must have a FAISS factory string, got {factory!r}")
        found = factory_kind(factory) if kind == FACTORY else KINDS[kind]
        if kind != FACTORY and not found.describes(factory):
            raise ValueError(f"parameters of the kind {kind!r} must have a factory string of it, got {factory!r}")
        if found.breadth is None:
            return cls(kind=found, factory=factory)
        breadth = parameters.get(found.breadth)
        if not isinstance(breadth, int) or isinstance(breadth, bool) or breadth < 1:
            raise ValueError(
                f"parameters of the kind {kind!r} must have {found.breadth} of at least 1, got {breadth!r}"
            )
        return cls(kind=found, factory=factory, breadth=breadth)

    def to_parameters(self) -> dict[str, Any]:
        """As a manifest has it."""
        return {"factory": self.factory} | ({self.kind.breadth: self.breadth} if self.kind.breadth else {})

    def with_breadth(self, breadth: int) -> IndexForm:
        """The same, searched more or less widely."""
        return replace(self, breadth=breadth)

    @property
    def lists(self) -> int:
        """Lists that the vectors are divided into; 1 where they are not."""
        found = re.search(r"IVF(\d+)", self.factory)
        return int(found[1]) if found else 1

    @property
    def trained_with(self) -> int:
        """How many vectors are enough to train it."""
        enough = min(max(_TRAINED_A_LIST * self.lists, _FEWEST_TRAINED), _MOST_TRAINED)
        return max(enough, _VECTORS_A_LIST * self.lists)


FLAT = IndexKind(name="flat", factory="Flat", exact=True, bytes_a_value=4)
FP16 = IndexKind(name="fp16", factory="SQfp16", exact=True, bytes_a_value=2)
# Beside its values each vector has an id of 8 bytes in its list, and 8 bytes that say where it stands.
IVF_FP16 = IndexKind(name="ivf-fp16", factory="IVF{lists},SQfp16", breadth=NPROBE, bytes_a_value=2, bytes_a_vector=16)
# The small one. Without a finer copy: one in half precision takes more than ivf-fp16 does, which needs none.
IVF_SQ8 = IndexKind(name="ivf-sq8", factory="IVF{lists},SQ8", breadth=NPROBE, bytes_a_value=1, bytes_a_vector=16)
# Half a byte for two values, looked up in registers; what seems near is scored again in half precision. Many must be:
# where products are nearly alike, a few bits tell them apart badly.
IVF_PQ = IndexKind(
    name="ivf-pq",
    factory="IVF{lists},PQ{codes}x4fs,Refine(SQfp16)",
    breadth=NPROBE,
    refined=64,
    bytes_a_value=2.25,
    bytes_a_vector=8,
)
# 64 links of 4 bytes on the ground floor, and a few above.
HNSW = IndexKind(name="hnsw", factory="HNSW32,SQfp16", breadth=EF_SEARCH, bytes_a_value=2, bytes_a_vector=280)

# LanceDB's own, one byte a value, beside the table; what comes near is scored again by the vectors themselves. In
# memory there is only each row's id. Not quantised by products: that takes LanceDB ten times as long to build.
DISK = IndexKind(
    name="disk", factory="LanceDB IVF{lists},SQ8", breadth=NPROBE, refined=4, bytes_a_value=0, bytes_a_vector=8
)

_NAMED = (FLAT, FP16, IVF_FP16, IVF_SQ8, IVF_PQ, HNSW, DISK)
KINDS = {kind.name: kind for kind in (*_NAMED, IndexKind(name=FACTORY, factory=""))}


def kind_of(asked: str) -> IndexKind:
    """A kind by its name; anything else is taken for a FAISS factory string, such as "IVF1024,SQ8"."""
    return KINDS[asked] if asked in KINDS and asked != FACTORY else factory_kind(asked)


def factory_kind(factory: str) -> IndexKind:
    """The kind of an explicit FAISS factory string."""
    breadth = NPROBE if "IVF" in factory else EF_SEARCH if "HNSW" in factory else None
    refined = 16 if re.search(r"Refine\(|RFlat", factory) else 1
    return IndexKind(name=FACTORY, factory=factory, breadth=breadth, refined=refined)


def lists_for(count: int) -> int:
    """How many lists so many vectors are divided into: a power of two near 4 sqrt(M), if they are enough to train it.

    A query is compared with every list's centre and then with the vectors of the nearest lists. Of a trained model's
    vectors, at the same recall: four times the root took half the time of the root itself at 300,000, and twice as many
    again no less.
    """
    wanted = round(math.log2(4 * math.sqrt(max(count, 1))))
    enough = math.floor(math.log2(max(count // _VECTORS_A_LIST, 1)))
    return int(2 ** min(wanted, enough))
