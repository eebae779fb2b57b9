"""Which index somebody asks for, and how good it is to be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

AUTO = "auto"
_ASKED = "asked"


@dataclass(frozen=True, kw_only=True)
class IndexTarget:
    """What an index is to reach.

    Attributes:
        recall: share of the exact ten nearest that it finds.
        latency_ms: of a single query, the median; None if it is just to be fast.
        memory_gb: that it may take, in 10^9 bytes; None if that does not matter.

    Raises:
        ValueError: a target outside its range.
    """

    recall: float = 0.99
    latency_ms: float | None = None
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1:
            raise ValueError(f"recall must be above 0 and at most 1, got {self.recall}")
        for name in ("latency_ms", "memory_gb"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be above 0, got {value}")


@dataclass(frozen=True, kw_only=True)
class IndexRequest:
    """What was said about the index; None of what was not.

    Attributes:
        index: "auto", the name of a kind, or a FAISS factory string.

    Raises:
        ValueError: a target outside its range.
    """

    index: str | None = None
    recall: float | None = None
    latency_ms: float | None = None
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        if self.index is not None and not self.index.strip():
            raise ValueError("index must be auto, a kind or a FAISS factory string, got an empty one")
        _ = self.target  # whose ranges are these

    @classmethod
    def of_manifest(cls, parameters: Mapping[str, Any]) -> IndexRequest:
        """What was asked for when a version was made, from its manifest's parameters.

        Raises:
            ValueError: it is none.
        """
        asked = parameters.get(_ASKED, {})
        if not isinstance(asked, Mapping) or asked.keys() - {one.name for one in fields(cls)}:
            raise ValueError(f"parameters must have what was asked for by name, got {asked!r}")
        for name, value in asked.items():
            if isinstance(value, bool) or not isinstance(value, str if name == "index" else (int, float)):
                raise ValueError(f"parameters have {value!r} for what was asked as {name}")
        return cls(**asked)

    def to_parameters(self) -> dict[str, Any]:
        """As a manifest's parameters have it."""
        return {_ASKED: {"index": self.chosen} | {name: said for name, said in asdict(self).items() if said}}

    def over(self, before: IndexRequest) -> IndexRequest:
        """With what was said before for what is not said now; but a new kind forgets what was said of the other."""
        if self.index is not None:
            return self
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(before, **said)

    @property
    def chosen(self) -> str:
        """The index that it comes to."""
        return self.index or AUTO

    @property
    def target(self) -> IndexTarget:
        """The target that it comes to."""
        recall = IndexTarget.recall if self.recall is None else self.recall
        return IndexTarget(recall=recall, latency_ms=self.latency_ms, memory_gb=self.memory_gb)
