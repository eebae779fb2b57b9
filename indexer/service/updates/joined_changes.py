"""Changes of several requests as one update of a store, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from indexer.service.updates.product_change import ProductChange
from indexer.updates.limits import LimitReached
from indexer.updates.report import UpdateReport
from ubm_embed.errors import InvalidData

Outcome = UpdateReport | Exception


class Updates(Protocol):
    """What is used of an `Updater`."""

    def upsert(self, products: Sequence[Mapping[str, Any]]) -> UpdateReport:
        """Add products, or change them."""

    def delete(self, product_ids: Sequence[str]) -> UpdateReport:
        """Delete products."""


def publish_joined(store: Updates, changes: Sequence[ProductChange]) -> list[Outcome]:
    """Publish changes, as one revision if nothing is wrong with one of them; for each its report or its error.

    Args:
        changes: all upserts or all deletions, of different products.
    """
    try:
        return list(_reports(store, changes))
    except Exception as error:
        is_about_one = isinstance(error, LimitReached) or (isinstance(error, InvalidData) and error.file is None)
        if len(changes) == 1 or not is_about_one:
            return [error] * len(changes)
        first = _at_fault(error, changes)
    # The one that is at fault is tried alone, so that its error names its own row; if none is known to be, halves are.
    if first is None:
        middle = len(changes) // 2
        return [*publish_joined(store, changes[:middle]), *publish_joined(store, changes[middle:])]
    others = publish_joined(store, [*changes[:first], *changes[first + 1 :]])
    return [*others[:first], *publish_joined(store, [changes[first]]), *others[first:]]


def _reports(store: Updates, changes: Sequence[ProductChange]) -> Iterator[UpdateReport]:
    if changes[0].deleted:
        report = store.delete([one for change in changes for one in change.deleted])
        missing = set(report.unknown)
        for change in changes:
            unknown = tuple(one for one in change.deleted if one in missing)
            yield replace(report, deleted=len(change) - len(unknown), unknown=unknown)
        return
    report = store.upsert([product for change in changes for product in change.products])
    kinds = iter(report.kinds)
    for change in changes:
        counts = Counter(next(kinds) for _ in change.products)
        yield replace(
            report,
            new=counts["new"],
            changed=counts["changed"],
            updated=counts["updated"],
            unchanged=counts["unchanged"],
        )


def _at_fault(error: Exception, changes: Sequence[ProductChange]) -> int | None:
    """The change that has the row that an error names."""
    row = error.row if isinstance(error, InvalidData) else None
    for number, change in enumerate(changes):
        if row is None:
            return None
        if row <= len(change):
            return number
        row -= len(change)
    return None
