"""What one request changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ProductChange:
    """Products that a request upserts, or ids that it deletes: one of the two.

    Attributes:
        products: as JSON has them, each with a clean `product_id`, no id twice.
        deleted: clean ids, none twice.
        bytes: of the request.
        path: of the list of products in the request; empty if the request is the only one itself.
    """

    products: Sequence[Mapping[str, Any]] = ()
    deleted: Sequence[str] = ()
    bytes: int = 0
    path: str = ""

    def __len__(self) -> int:
        return len(self.products) + len(self.deleted)

    @property
    def ids(self) -> Iterator[str]:
        """Of its products."""
        yield from self.deleted or (product["product_id"] for product in self.products)
