"""What caps and diversity let through, against the slow obvious way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.search.ranking import Ranked
from indexer.search.reranker import Cap, Reranker


def unit(rows: list[list[float]]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ranked(scores: list[float]) -> Ranked:
    positions = np.arange(len(scores))
    return Ranked(positions, np.array(scores, np.float32)).merged(
        Ranked(np.empty(0, np.int64), np.empty(0, np.float32))
    )


def cap(limit: int, codes: list[int]) -> Cap:
    return Cap(np.array(codes, np.int32), max([*codes, -1]) + 1, limit)


BRAND, PRICE = [0, 0, 0, 1, -1, -1, 2], [1, 2, 3, 1, 1, 1, 1]
SEVEN = Ranked(np.arange(7), np.linspace(0.9, 0.3, 7, dtype=np.float32))


def chosen(
    candidates: Ranked, k: int, *caps: Cap, diversity: float = 0.0, vectors: np.ndarray | None = None
) -> list[int]:
    def vectors_of(positions: np.ndarray) -> np.ndarray:
        assert vectors is not None, "vectors are needed for diversity only"
        return vectors[positions]

    reranker = Reranker(k, caps, diversity, vectors_of)
    reranker.add(candidates)
    return reranker.positions


def test_without_rules_the_best_are_taken() -> None:
    assert chosen(SEVEN, 3) == [0, 1, 2]
    assert chosen(SEVEN, 10) == [0, 1, 2, 3, 4, 5, 6]


def test_a_cap_on_brands_does_not_count_products_without_one() -> None:
    assert chosen(SEVEN, 7, cap(1, BRAND)) == [0, 3, 4, 5, 6]
    assert chosen(SEVEN, 7, cap(2, BRAND)) == [0, 1, 3, 4, 5, 6]
    assert chosen(SEVEN, 7, cap(2, BRAND), cap(1, PRICE)) == [0, 1]


def test_a_column_without_values_limits_nothing() -> None:
    assert chosen(SEVEN, 7, cap(1, [-1] * 7)) == [0, 1, 2, 3, 4, 5, 6]


@given(st.data(), st.integers(1, 12), st.integers(1, 5))
def test_parts_are_as_one(data: st.DataObject, k: int, part: int) -> None:
    count = data.draw(st.integers(1, 40))
    candidates = Ranked(np.arange(count), np.linspace(1, 0, count, dtype=np.float32))
    codes = st.lists(st.integers(-1, 3), min_size=count, max_size=count)
    caps = [cap(data.draw(st.integers(1, 3)), data.draw(codes)) for _ in range(data.draw(st.integers(0, 2)))]
    reranker = Reranker(k, caps)
    for first in range(0, count, part):
        reranker.add(candidates.part(first, first + part))
    taken: list[int] = []
    for row in range(count):
        used = [sum(bool(one.codes[row] == one.codes[other]) for other in taken) for one in caps]
        fits = all(one.codes[row] < 0 or uses < one.limit for one, uses in zip(caps, used, strict=True))
        taken += [row] if fits and len(taken) < k else []
    assert reranker.positions == taken
    assert reranker.scores == candidates.scores[taken].tolist()


@given(
    st.lists(st.tuples(*[st.floats(-1, 1, width=32)] * 3, st.integers(-1, 2)), min_size=1, max_size=7),
    st.integers(1, 8),
    st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    st.integers(1, 3),
)
def test_diversity_is_maximal_marginal_relevance(
    rows: list[tuple[float, float, float, int]], k: int, diversity: float, limit: int
) -> None:
    vectors = unit([[*row[:2], row[2] + 2] for row in rows])
    query = unit([[0.3, -0.2, 1.0]])[0]
    limited = cap(limit, [row[3] for row in rows])
    result = chosen(ranked((vectors @ query).tolist()), k, limited, diversity=diversity, vectors=vectors)
    for count, row in enumerate(result):
        above = result[:count]
        worths = {}
        for other in range(len(rows)):
            code = limited.codes[other]
            if other not in above and (code < 0 or (limited.codes[above] == code).sum() < limit):
                alike = max((float(vectors[other] @ vectors[one]) for one in above), default=0.0)
                worths[other] = (1 - diversity) * float(vectors[other] @ query) - diversity * alike
        assert worths[row] == pytest.approx(max(worths.values()), abs=1e-5)
    if len(result) < k:
        left = [row for row in range(len(rows)) if row not in result]
        assert all((limited.codes[result] == limited.codes[row]).sum() >= limit for row in left)


def test_a_second_part_keeps_its_distance_from_the_first() -> None:
    vectors = unit([[1, 0], [1, 0.1], [0.1, 1]])
    reranker = Reranker(2, [], 0.5, lambda positions: vectors[positions])
    reranker.add(Ranked(np.array([0]), np.array([0.9], np.float32)))
    reranker.add(Ranked(np.array([1, 2]), np.array([0.8, 0.7], np.float32)))
    assert reranker.positions == [0, 2]
