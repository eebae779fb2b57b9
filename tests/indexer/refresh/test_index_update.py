"""What a manifest says of an index is where the next version goes on from, and decides when one is trained anew."""

from dataclasses import replace
from typing import Any

import pytest

from indexer.index.kinds import IVF_FP16
from indexer.index.vector_index import VectorIndex
from indexer.refresh.index_update import IndexUpdate
from indexer.versions.version import METRIC, StoreVersion
from tests.indexer.index.toy_vectors import unit_vectors


@pytest.fixture(scope="module")
def index() -> VectorIndex:
    return VectorIndex.build([unit_vectors(500)], kind=IVF_FP16, expected=500).with_search_value(3)


def version(index: VectorIndex, index_update: dict[str, Any]) -> StoreVersion:
    return StoreVersion(
        version=1,
        table_version=1,
        model_id="m1",
        dimension=16,
        kind=index.kind,
        metric=METRIC,
        parameters=index.spec.to_parameters(),
        products=500,
        indexed=500,
        recall_at_10=1.0,
        created="",
        software="",
        source="",
        index_update=index_update,
    )


def test_what_was_recorded_is_read_as_it_was(index: VectorIndex) -> None:
    update = IndexUpdate.of_trained(index, "a reason").next_night(12, 3).next_night(8, 0)
    assert (update.action, update.nights, update.added) == ("kept_up", 2, 20)
    assert update.reason == "8 vectors were added and 0 removed"
    read = IndexUpdate.of_version(version(index, update.to_dict()), index)
    assert read.to_dict() == update.to_dict()


@pytest.mark.parametrize("recorded", [{}, {"action": "shared"}, {"nights": "many", "trained": {"products": None}}])
def test_an_index_of_which_nothing_is_known_counts_as_just_trained(
    index: VectorIndex, recorded: dict[str, Any]
) -> None:
    update = IndexUpdate.of_version(version(index, recorded), index)
    assert (update.nights, update.added) == (0, 0)
    assert (update.trained.products, update.trained.search_value) == (500, 3)
    assert update.trained.imbalance == update.imbalance
    assert update.max_search_value == 6


def test_each_limit_is_a_reason_to_train(index: VectorIndex) -> None:
    update = IndexUpdate.of_trained(index, "").next_night(250, 0)
    assert update.reason_to_train(500, 2) is None
    assert "kept up for 0 versions" in str(update.reason_to_train(500, 1))
    assert "251 vectors would have been added" in str(replace(update, added=251).reason_to_train(500, 2))
    assert update.reason_to_train(250, 2) is None
    assert "249 products are left of the 500" in str(update.reason_to_train(249, 2))
    assert "uneven" in str(replace(update, imbalance=2 * update.imbalance).reason_to_train(500, 2))
