"""What a refresh did, or would do."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from indexer.index.index_request import IndexRequest
from indexer.refresh.changes import ChangeCounts
from indexer.refresh.feed_time import FoldCounts
from indexer.refresh.gates import GateResult
from indexer.refresh.plan import Plan
from indexer.versions.version import StoreVersion


@dataclass(frozen=True, kw_only=True)
class RefreshReport:
    """What a refresh did, or would do.

    Attributes:
        base: number of the version that was live before.
        published: the version that is live now; None if nothing was published.
        changes: differences from `base`.
        written: products written to the table, encoded or not; if files are shared, those that differ from them.
        encoded: products that the model encoded for it.
        resumed: how many of them an earlier, interrupted refresh had encoded.
        reason: why the whole table is written again, or None.
        index: `from`, the index there was with its kind and its request, and `to`, the one requested now. None if the
            request is the same.
        gates: measured value, limit and whether it passed, by gate; those of `published` if there is one.
        seconds: time of each step.
        pruned: versions that were removed.
        freed: bytes that were freed by it.
        prune_error: why old versions could not be removed after the new one was published; None if they could.
        revisions: what became of products that were upserted or deleted; None if there were none.
        shares_files_of: the version whose index and products are shared, as no text changed; None if none are.
    """

    base: int
    published: StoreVersion | None
    changes: ChangeCounts
    written: int
    encoded: int
    resumed: int = 0
    reason: str | None = None
    index: AnyMapping[str, Any] | None = None
    gates: AnyMapping[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    pruned: tuple[int, ...] = ()
    freed: int = 0
    prune_error: str | None = None
    revisions: FoldCounts | None = None
    shares_files_of: int | None = None

    @classmethod
    def planned(
        cls, plan: Plan, compared: Sequence[GateResult], index: IndexRequest, seconds: dict[str, float]
    ) -> Self:
        """The report of a refresh that has not begun."""
        assert plan.base is not None, "a refresh has a live version"
        index_change = _index_change(plan.base, index)
        changes_nothing = plan.is_empty and index_change is None
        return cls(
            base=plan.base.version,
            published=None,
            changes=plan.changes.counts,
            written=0 if changes_nothing else int(plan.write.sum()),
            encoded=int(plan.encode.sum()),
            reason=plan.rewrite_reason,
            index=index_change,
            gates={} if plan.is_empty else {str(result.gate): result.to_dict() for result in compared},
            seconds=seconds,
            revisions=plan.folded,
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "base": self.base,
            "version": self.published.version if self.published else None,
            **asdict(self.changes),
            "written": self.written,
            "encoded": self.encoded,
            "resumed": self.resumed,
            "revisions": self.revisions.to_dict() if self.revisions else None,
            "shares_files_of": self.shares_files_of,
            "reason": self.reason,
            "index": self.index,
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "pruned": list(self.pruned),
            "freed_bytes": self.freed,
            "prune_error": self.prune_error,
            "gates": dict(self.gates),
        }


def _index_change(base: StoreVersion, index: IndexRequest) -> dict[str, Any] | None:
    """The index of the live version and the requested one, None if the request is the same."""
    if index == base.index_request:
        return None
    old, new = base.index_request.model_dump(exclude_none=True), index.model_dump(exclude_none=True)
    return {"from": {"kind": base.kind, **old}, "to": {"index": index.index_or_auto, **new}}
