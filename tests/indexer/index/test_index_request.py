"""Which index is requested, how good it must be, and what of that a manifest keeps."""

import pytest

from indexer.index.index_request import IndexRequest, IndexTarget


def test_an_empty_request_is_auto_with_a_recall_of_99_percent() -> None:
    assert IndexRequest().index_or_auto == "auto"
    assert IndexRequest().target == IndexTarget(recall=0.99, latency_ms=None, memory_gb=None)


def test_a_request_is_completed_by_an_earlier_one() -> None:
    base = IndexRequest(index="hnsw", recall=0.95, memory_gb=2)
    assert IndexRequest(recall=0.9).over(base) == IndexRequest(index="hnsw", recall=0.9, memory_gb=2)
    assert IndexRequest().over(base) == base


def test_naming_an_index_drops_the_earlier_targets() -> None:
    base = IndexRequest(index="hnsw", recall=0.95, memory_gb=2)
    assert IndexRequest(index="auto").over(base) == IndexRequest(index="auto")


REQUESTS = [IndexRequest(index="auto"), IndexRequest(index="IVF64,SQ8", recall=0.9, latency_ms=2, memory_gb=0.5)]


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_manifest_keeps_it(request_: IndexRequest) -> None:
    assert IndexRequest.from_manifest({"factory": "Flat", **request_.to_parameters()}) == request_


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_manifest_of_version_0_1_keeps_it_under_another_key(request_: IndexRequest) -> None:
    (requested,) = request_.to_parameters().values()
    assert IndexRequest.from_manifest({"factory": "Flat", "asked": requested}) == request_


def test_a_manifest_of_older_software_has_an_empty_request() -> None:
    assert IndexRequest.from_manifest({}) == IndexRequest()


@pytest.mark.parametrize(
    ("requested", "problem"),
    [
        ({"index": 3}, "index must be a string, got 3"),
        ({"recall": True}, "recall must be a number, got True"),
        ({"speed": 3}, "speed is unknown"),
        ({"recall": 2}, r"recall must be at most 1(\.0)?, got 2"),
        ([], "must be an object, got"),
    ],
)
def test_an_invalid_request_in_a_manifest_is_refused(requested: object, problem: str) -> None:
    with pytest.raises(ValueError, match=f"parameters have an invalid request for the index: {problem}"):
        IndexRequest.from_manifest({"requested": requested})


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"recall": 0}, r"recall must be above 0(\.0)?, got 0"),
        ({"recall": 1.1}, r"recall must be at most 1(\.0)?, got 1\.1"),
        ({"recall": float("nan")}, "recall must be"),
        ({"latency_ms": 0}, r"latency_ms must be above 0(\.0)?, got 0"),
        ({"memory_gb": float("inf")}, "memory_gb must be a finite number"),
        ({"index": " "}, "index must be auto, a kind or a FAISS factory string"),
    ],
)
def test_a_target_outside_its_range_is_refused(values: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        IndexRequest(**values)
