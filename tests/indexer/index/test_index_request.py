"""What is asked of an index, and what of it lasts."""

import pytest

from indexer.index.index_request import IndexRequest, IndexTarget


def test_nothing_said_is_auto_with_a_recall_of_99_percent() -> None:
    assert IndexRequest().chosen == "auto"
    assert IndexRequest().target == IndexTarget(recall=0.99, latency_ms=None, memory_gb=None)


def test_what_is_not_said_stays_as_it_was() -> None:
    before = IndexRequest(index="hnsw", recall=0.95, memory_gb=2)
    assert IndexRequest(recall=0.9).over(before) == IndexRequest(index="hnsw", recall=0.9, memory_gb=2)
    assert IndexRequest().over(before) == before


def test_another_kind_forgets_what_was_said_of_the_one_before() -> None:
    before = IndexRequest(index="hnsw", recall=0.95, memory_gb=2)
    assert IndexRequest(index="auto").over(before) == IndexRequest(index="auto")


@pytest.mark.parametrize(
    "request_", [IndexRequest(index="auto"), IndexRequest(index="IVF64,SQ8", recall=0.9, latency_ms=2, memory_gb=0.5)]
)
def test_a_manifest_keeps_it(request_: IndexRequest) -> None:
    assert IndexRequest.of_manifest({"factory": "Flat", **request_.to_parameters()}) == request_


def test_a_manifest_of_older_software_says_nothing() -> None:
    assert IndexRequest.of_manifest({}) == IndexRequest()


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"recall": 0}, "recall must be above 0 and at most 1, got 0"),
        ({"recall": 1.1}, "recall must be"),
        ({"recall": float("nan")}, "recall must be"),
        ({"latency_ms": 0}, "latency_ms must be above 0, got 0"),
        ({"memory_gb": float("inf")}, "memory_gb must be above 0"),
        ({"index": " "}, "index must be auto, a kind or a FAISS factory string"),
    ],
)
def test_a_target_outside_its_range_is_refused(said: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        IndexRequest(**said)  # type: ignore[arg-type]
