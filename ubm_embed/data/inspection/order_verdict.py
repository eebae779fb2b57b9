"""What the order within sessions is, in a word and in words."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ubm_embed.data.inspection.order import Comparison, OrderStatistics
from ubm_embed.wording import percent

_MIN_SESSIONS = 30  # the interval is that of a normal distribution
_MIN_HITS = 20
# Shoppers who click down a page listed by id follow the ids as well: by a factor of 3 in a click log of 217 products.
# In invoices listed by stock code it was 7.
_NEAR_FACTOR, _NEAR_SHARE = 5, 0.1
_SORTED = 0.8
_PARTLY_NEAR_FACTOR, _PARTLY_SORTED = 2, 0.65


class OrderKind(enum.StrEnum):
    """What the order within sessions is."""

    TIME = "time"
    """Timestamps rise along it."""
    IDS = "ids"
    """It is that of the product ids."""
    INFORMATION = "information"
    """No timestamps tell, but it says more about the next product than a shuffle does."""
    NOTHING = "nothing"
    """It says no more than a shuffle does."""
    UNDECIDED = "undecided"
    """There are too few steps to say."""


@dataclass(frozen=True)
class OrderVerdict:
    """The verdict on an order.

    Attributes:
        kind: what it is.
        partly_ids: it is not taken for the order of ids, but follows them to some degree.
        explanation: the verdict with its figures, clauses without a full stop.
    """

    kind: OrderKind
    partly_ids: bool
    explanation: str

    @classmethod
    def from_statistics(cls, order: OrderStatistics) -> OrderVerdict:
        """The verdict that the figures allow."""
        if order.hit is None or order.near is None or order.up is None:
            return cls(OrderKind.UNDECIDED, False, "no session has two different products: there is no order to judge")
        by_time = order.later_share is not None and order.later_share >= 0.5
        enough = order.sessions >= _MIN_SESSIONS
        informative = _informative(order.hit, order.steps) if enough else None
        clauses = [_time_clause(order)]
        if enough and not by_time and _is_sorted(order.near, order.up, _NEAR_FACTOR, _SORTED):
            clauses.append(f"it is, in part at least, that of the product ids: {_id_clause(order.near, order.up)}")
            return cls(OrderKind.IDS, False, "; ".join(clauses))
        clauses.append(_hit_clause(order.hit, informative))
        partly = enough and _is_sorted(order.near, order.up, _PARTLY_NEAR_FACTOR, _PARTLY_SORTED)
        if partly:
            clauses.append(f"it follows the product ids to some degree: {_id_clause(order.near, order.up)}")
        return cls(_kind(by_time, informative), partly, "; ".join(clauses))


def _kind(by_time: bool, informative: bool | None) -> OrderKind:
    if informative is False:
        return OrderKind.NOTHING
    if by_time:
        return OrderKind.TIME
    return OrderKind.INFORMATION if informative else OrderKind.UNDECIDED


def _informative(hit: Comparison, steps: int) -> bool | None:
    """Whether the order says more than a shuffle; None if a gain of half cannot be told from none."""
    if (hit.share + hit.shuffled) * steps < _MIN_HITS:
        return None
    if hit.low > 0:
        return True
    return False if hit.high <= hit.shuffled / 2 else None


def _is_sorted(near: Comparison, up: Comparison, factor: float, share: float) -> bool:
    nearer = near.shuffled + near.low
    low, high = up.shuffled + up.low, up.shuffled + up.high
    return (nearer >= _NEAR_SHARE and nearer >= factor * near.shuffled) or low >= share or high <= 1 - share


def _time_clause(order: OrderStatistics) -> str:
    if order.later_share is None or order.same_time_share is None:
        return "without timestamps, nothing tells whether the order is that of time"
    figures = f"later in {percent(order.later_share)} of the steps, the same in {percent(order.same_time_share)}"
    rise = "timestamps rise along the order" if order.later_share >= 0.5 else "timestamps do not tell the order"
    return f"{rise} ({figures})"


def _hit_clause(hit: Comparison, informative: bool | None) -> str:
    starts = {
        None: "there are too few steps to say whether it carries information",
        True: "it carries information",
        False: "it carries nothing that counting can see",
    }
    return (
        f"{starts[informative]}: the next product is among the ten that most often come next in {percent(hit.share)} "
        f"of the steps against {percent(hit.shuffled)} shuffled ({100 * hit.low:+.1f} to {100 * hit.high:+.1f} points)"
    )


def _id_clause(near: Comparison, up: Comparison) -> str:
    return (
        f"the next product's id is among the ten nearest ids in {percent(near.share)} of the steps against "
        f"{percent(near.shuffled)} shuffled, and larger in {percent(up.share)}"
    )
