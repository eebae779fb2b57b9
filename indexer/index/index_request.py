"""Which index is requested, and how good it must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pydantic
from pydantic import Field

from ubm_embed.validation import FrozenModel, value_error

AUTO = "auto"
# The key in a manifest's parameters, and the one that version 0.1 wrote.
_REQUESTED, _REQUESTED_0_1 = "requested", "asked"

Recall = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class IndexTarget(FrozenModel):
    """What an index must reach.

    Attributes:
        recall: share of the exact ten nearest that it finds.
        latency_ms: milliseconds that a single query may take, the median; None to be just as fast as it can.
        memory_gb: 10^9 bytes that it may take; None if any number is fine.

    Raises:
        ValueError: a target outside its range.
    """

    recall: Recall = 0.99
    latency_ms: Positive | None = None
    memory_gb: Positive | None = None


class IndexRequest(FrozenModel):
    """What somebody said about the index; None for what was left open.

    Attributes:
        index: "auto", the name of a kind, or a FAISS factory string.
        recall, latency_ms, memory_gb: as of `IndexTarget`.

    Raises:
        ValueError: a target outside its range, or an empty `index`.
    """

    index: str | None = None
    recall: Recall | None = None
    latency_ms: Positive | None = None
    memory_gb: Positive | None = None

    @pydantic.field_validator("index")
    @classmethod
    def _require_name(cls, index: str | None) -> str | None:
        if index is not None and not index.strip():
            raise ValueError("must be auto, a kind or a FAISS factory string, got an empty one")
        return index

    @classmethod
    def from_manifest(cls, parameters: Mapping[str, Any]) -> IndexRequest:
        """The request that a manifest records in its parameters; an empty one in manifests of older software.

        Raises:
            ValueError: the request is invalid.
        """
        requested = parameters.get(_REQUESTED, parameters.get(_REQUESTED_0_1, {}))
        try:
            return cls.model_validate(requested)
        except pydantic.ValidationError as error:
            raise ValueError(f"parameters have an invalid request for the index: {value_error(error)}") from None

    def to_parameters(self) -> dict[str, Any]:
        """The parameters that a manifest records."""
        return {_REQUESTED: {"index": self.index_or_auto} | self.model_dump(exclude_none=True)}

    def over(self, base: IndexRequest) -> IndexRequest:
        """This request, completed by an earlier one; naming an index drops the targets of the earlier one."""
        if self.index is not None:
            return self
        return IndexRequest(**base.model_dump() | self.model_dump(exclude_none=True))

    @property
    def index_or_auto(self) -> str:
        """The name of the index that this comes to."""
        return self.index or AUTO

    @property
    def target(self) -> IndexTarget:
        """The target that this comes to."""
        return IndexTarget(**self.model_dump(exclude={"index"}, exclude_none=True))
