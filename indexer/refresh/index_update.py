"""Whether the index of the version before is kept up or another one is trained, and what the manifest says of it.

Letters: M products.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from indexer.index.index_request import IndexRequest
from indexer.index.kept_lists import list_imbalance
from indexer.index.vector_index import VectorIndex
from indexer.refresh.earlier_version import EarlierVersion
from indexer.refresh.settings import RefreshSettings
from indexer.versions.version import StoreVersion

TRAINED, KEPT_UP = "trained", "kept_up"

# At the same nprobe a query compares as many more vectors as the imbalance grows. Of 20,000 products, twenty nights
# that each exchanged 5% at random raised it by 3%, a fifth more products of one kind by 15%, two fifths by 23%.
_MAX_IMBALANCE = 1.25
# The centroids know nothing of vectors that were added, and the number of lists is that of the catalogue there was.
_MAX_ADDED, _MIN_LEFT = 0.5, 0.5
# How many times as thoroughly as when it was trained an index is searched at most.
_MAX_WIDER = 2


@dataclass(frozen=True)
class TrainedState:
    """An index as it was when it was trained.

    Attributes:
        products: number of its vectors.
        imbalance: of its lists, as `list_imbalance`.
        search_value: of its search parameter.
    """

    products: int
    imbalance: float
    search_value: int


@dataclass(frozen=True)
class IndexUpdate:
    """How the index of a version was made: the manifest's `index_update`.

    Attributes:
        action: `trained` or `kept_up`. (`shared` is what a version without an index of its own says.)
        reason: in words.
        nights: versions that the index was kept up for.
        added: vectors that were added in them.
        imbalance: of its lists.
        trained: as it was when it was trained.
    """

    action: str
    reason: str
    nights: int
    added: int
    imbalance: float
    trained: TrainedState

    @classmethod
    def of_trained(cls, index: VectorIndex, reason: str) -> Self:
        """What is said of an index that was just trained."""
        imbalance = list_imbalance(index)
        return cls(TRAINED, reason, 0, 0, imbalance, TrainedState(len(index), imbalance, index.spec.search_value))

    @classmethod
    def of_version(cls, version: StoreVersion, index: VectorIndex) -> Self:
        """What a manifest says of its index; of an index of older software, that it was just trained."""
        recorded, imbalance = version.index_update, list_imbalance(index)
        trained = recorded.get("trained") or {}
        state = TrainedState(
            products=_number(trained, "products", version.products),
            imbalance=_number(trained, "imbalance", imbalance),
            search_value=_number(trained, "search_value", version.index_spec.search_value),
        )
        nights, added = _number(recorded, "nights", 0), _number(recorded, "added", 0)
        return cls(recorded.get("action", TRAINED), recorded.get("reason", ""), nights, added, imbalance, state)

    def next_night(self, added: int, removed: int) -> IndexUpdate:
        """What is said of it once it is kept up for another version; its lists are measured then."""
        reason = f"{added:,} vectors were added and {removed:,} removed"
        return replace(self, action=KEPT_UP, reason=reason, nights=self.nights + 1, added=self.added + added)

    def reason_to_train(self, count: int, retrain_every: int) -> str | None:
        """Why an index that was kept up so far is trained anew; None if it is not.

        Args:
            count: M.
        """
        before = self.trained.products
        if self.nights >= retrain_every:
            return f"the lists were kept up for {self.nights - 1} versions"
        if self.added > _MAX_ADDED * before:
            return f"{self.added:,} vectors would have been added to the {before:,} that it was trained with"
        if count < _MIN_LEFT * before:
            return f"{count:,} products are left of the {before:,} that it was trained for"
        if self.imbalance > _MAX_IMBALANCE * self.trained.imbalance:
            return f"lists became uneven: {self.imbalance:.2f}, {self.trained.imbalance:.2f} when they were trained"
        return None

    @property
    def max_search_value(self) -> int:
        """The largest search value with which it is kept."""
        return _MAX_WIDER * self.trained.search_value

    def to_dict(self) -> dict[str, Any]:
        """The manifest's entry."""
        trained = {
            "products": self.trained.products,
            "imbalance": round(self.trained.imbalance, 4),
            "search_value": self.trained.search_value,
        }
        return {
            "action": self.action,
            "reason": self.reason,
            "nights": self.nights,
            "added": self.added,
            "imbalance": round(self.imbalance, 4),
            "trained": trained,
        }


def reason_not_to_keep(
    earlier: EarlierVersion | None, base: StoreVersion | None, request: IndexRequest, settings: RefreshSettings
) -> str | None:
    """Why the index of the version before cannot be kept up; None if it can be tried."""
    if base is None:
        return "there was no version to keep up"
    if earlier is None:
        return f"another model made the vectors of version {base.version}"
    if request != base.index_request:
        return "another index was requested"
    if earlier.problem is not None:
        return earlier.problem
    return "the lists are trained for every version" if settings.retrain_every == 1 else None


def _number(recorded: Mapping[str, Any], name: str, default: Any) -> Any:
    value = recorded.get(name, default)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default
