"""What an upsert or a deletion did."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class UpdateReport:
    """What an update did.

    Attributes:
        version: number of the live version.
        revision: number of the revision that answers now; 0 if the version was never changed.
        published: whether this update made it; if it changed nothing, there is no new one.
        new: products that the store did not have.
        changed: products with another text.
        updated: products with another value in a column that no model reads.
        unchanged: products that were already as they were to be.
        deleted: products that are gone.
        unknown: ids to delete that the store did not have.
        encoded: products that the model encoded.
        seconds: how long it took, beside the start of the process.
        kinds: of each product of an upsert, in their order, which of these it is: new, changed, updated or unchanged.
    """

    version: int
    revision: int
    published: bool = False
    new: int = 0
    changed: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    unknown: tuple[str, ...] = ()
    encoded: int = 0
    seconds: float = 0.0
    kinds: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON, without the kind of each product."""
        document = asdict(self) | {"unknown": list(self.unknown), "seconds": round(self.seconds, 3)}
        del document["kinds"]
        return document
