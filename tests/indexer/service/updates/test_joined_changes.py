"""Changes of several requests become one update; an error is that of the request that it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.service.updates.joined_changes import Outcome, publish_joined
from indexer.service.updates.product_change import ProductChange
from indexer.updates.limits import LimitReached
from indexer.updates.report import UpdateReport
from ubm_embed.errors import Conflict, InvalidData

MAX_PRODUCTS = 5


class ToyUpdates:
    """Takes products unless one is bad, and few of them. Counts what it is asked for."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.calls = 0

    def upsert(self, products: Sequence[Mapping[str, Any]]) -> UpdateReport:
        self.calls += 1
        for row, product in enumerate(products, 1):
            if "bad" in product:
                raise InvalidData("expected better", row=row, field="bad")
        ids = [product["product_id"] for product in products]
        if len(self.known | set(ids)) > MAX_PRODUCTS:
            raise LimitReached("too many")
        kinds = tuple("unchanged" if one in self.known else "new" for one in ids)
        self.known.update(ids)
        counts = {kind: kinds.count(kind) for kind in ("new", "unchanged")}
        return UpdateReport(version=1, revision=self.calls, kinds=kinds, **counts)  # type: ignore[arg-type]

    def delete(self, product_ids: Sequence[str]) -> UpdateReport:
        self.calls += 1
        unknown = tuple(one for one in product_ids if one not in self.known)
        self.known.difference_update(product_ids)
        deleted = len(product_ids) - len(unknown)
        return UpdateReport(version=1, revision=self.calls, deleted=deleted, unknown=unknown)


def upsert(*ids: str, **fields: Any) -> ProductChange:
    return ProductChange([{"product_id": one, **fields} for one in ids])


def in_short(outcome: Outcome) -> Any:
    if isinstance(outcome, InvalidData):
        return outcome.row
    return type(outcome) if isinstance(outcome, Exception) else (outcome.new, outcome.unchanged)


def test_each_request_has_its_own_share_of_the_report() -> None:
    updates = ToyUpdates()
    updates.upsert([{"product_id": "a"}])
    outcomes = publish_joined(updates, [upsert("a", "b"), upsert("c"), upsert("d")])
    assert [in_short(one) for one in outcomes] == [(1, 1), (1, 0), (1, 0)]
    assert updates.calls == 2
    deletions = [ProductChange(deleted=ids) for ids in (("a",), ("x", "b"), ("y",))]
    reports = publish_joined(updates, deletions)
    assert [(one.deleted, one.unknown) for one in reports if isinstance(one, UpdateReport)] == [
        (1, ()),
        (1, ("x",)),
        (0, ("y",)),
    ]


def test_one_bad_product_is_an_error_of_its_own_request_only() -> None:
    updates = ToyUpdates()
    mixed = ProductChange([{"product_id": "c"}, {"product_id": "d", "bad": 1}])
    outcomes = publish_joined(updates, [upsert("a"), mixed, upsert("b")])
    assert [in_short(one) for one in outcomes] == [(1, 0), 2, (1, 0)]
    assert updates.known == {"a", "b"}
    assert updates.calls == 3


@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=3), min_size=1, max_size=6),
)
def test_outcomes_are_those_of_one_request_after_another_whatever_is_wrong(rows: list[list[bool]]) -> None:
    changes = [
        ProductChange(
            [{"product_id": f"{one}-{row}"} | ({"bad": 1} if is_bad else {}) for row, is_bad in enumerate(flags)]
        )
        for one, flags in enumerate(rows)
    ]
    updates = ToyUpdates()
    outcomes = publish_joined(updates, changes)
    for flags, outcome in zip(rows, outcomes, strict=True):
        if True in flags:
            assert isinstance(outcome, InvalidData)
            assert outcome.row == flags.index(True) + 1
        else:
            assert isinstance(outcome, LimitReached) or outcome.new == len(flags)  # type: ignore[union-attr]
    taken = [change for change, one in zip(changes, outcomes, strict=True) if isinstance(one, UpdateReport)]
    assert updates.known == {one for change in taken for one in change.ids}


def test_what_fits_below_a_limit_is_published() -> None:
    outcomes = publish_joined(ToyUpdates(), [upsert("a"), upsert(*"bcdefg"), upsert("h")])
    assert [in_short(one) for one in outcomes] == [(1, 0), LimitReached, (1, 0)]


@pytest.mark.parametrize("error", [OSError("read-only"), Conflict("lost races"), InvalidData("cut", file="live.json")])
def test_what_is_wrong_with_the_store_is_not_tried_for_each_request(error: Exception) -> None:
    class Broken(ToyUpdates):
        def upsert(self, products: Sequence[Mapping[str, Any]]) -> UpdateReport:
            self.calls += 1
            raise error

    updates = Broken()
    assert publish_joined(updates, [upsert(one) for one in "abcd"]) == [error] * 4
    assert updates.calls == 1
