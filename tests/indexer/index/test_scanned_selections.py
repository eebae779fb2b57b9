"""Small selections: all of their vectors are scored, and those of selections that come again are decoded once."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from indexer.index.scanned_selections import ScannedSelections
from indexer.index.selection import Selection
from tests.indexer.index.toy_vectors import unit_vectors

COUNT, WIDTH = 3000, 16
VECTORS = np.concatenate([unit_vectors(COUNT - 500, WIDTH), np.repeat(unit_vectors(5, WIDTH, seed=2), 100, axis=0)])
QUERIES = unit_vectors(4, WIDTH, seed=1)


class CountingVectors:
    """Vectors by position, and how many were read."""

    def __init__(self) -> None:
        self.read = 0

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        self.read += len(positions)
        return VECTORS[positions]


def every(step: int) -> Selection:
    return Selection(np.arange(COUNT) % step == 0)


@pytest.mark.parametrize("k", [1, 10, 599, 600])
def test_the_best_are_found_in_order_each_time(k: int) -> None:
    scanned, allowed = ScannedSelections(CountingVectors()), every(5)
    positions = np.arange(0, COUNT, 5)
    for _ in range(3):
        found = scanned.search(QUERIES, k, allowed)
        for row, query in enumerate(QUERIES):
            scores = np.array([np.dot(VECTORS[one].astype(float), query) for one in positions], np.float32)
            best = sorted(range(len(positions)), key=lambda at: (-scores[at], positions[at]))[:k]
            assert found.positions[row].tolist() == positions[best].tolist()
            np.testing.assert_array_equal(found.scores[row], scores[best])


def test_nothing_is_found_among_none() -> None:
    found = ScannedSelections(CountingVectors()).search(QUERIES, 0, Selection(np.zeros(COUNT, bool)))
    assert found.positions.shape == found.scores.shape == (4, 0)


def test_vectors_of_a_selection_that_comes_again_are_read_no_more() -> None:
    vectors = CountingVectors()
    scanned, allowed = ScannedSelections(vectors), every(5)
    for _ in range(10):
        scanned.search(QUERIES, 3, allowed)
    assert vectors.read == 2 * 600


def test_what_comes_once_is_not_kept() -> None:
    scanned, once = ScannedSelections(CountingVectors()), every(5)
    scanned.search(QUERIES, 3, once)
    kept = weakref.ref(once)
    del once
    gc.collect()
    assert kept() is None


def test_what_is_kept_stays_within_its_bytes() -> None:
    vectors, selections = CountingVectors(), [every(step) for step in (4, 5, 6, 7)]
    largest = 750 * WIDTH * 4 + selections[0].nbytes
    scanned = ScannedSelections(vectors, largest)
    for _ in range(5):
        for allowed in selections:
            scanned.search(QUERIES, 3, allowed)
    assert vectors.read == 5 * sum(one.count for one in selections), "each drops the one before"
    vectors.read = 0
    small = ScannedSelections(vectors, largest - 1)
    for _ in range(5):
        small.search(QUERIES, 3, selections[0])
    assert vectors.read == 5 * 750


def test_threads_get_the_same_answer() -> None:
    scanned, allowed = ScannedSelections(CountingVectors()), every(3)
    before = scanned.search(QUERIES, 10, allowed)
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(lambda _: scanned.search(QUERIES, 10, allowed), range(40)):
            assert (found.positions == before.positions).all()


@pytest.mark.parametrize(
    ("selected", "total", "scanned"),
    [(0, 10, True), (4096, 10_000, True), (4097, 10_000, False), (16_384, 1_000_000, True), (16_385, 1_000_000, False)],
)
def test_small_ones_are_scanned_and_in_a_large_index_larger_ones(selected: int, total: int, scanned: bool) -> None:
    assert ScannedSelections.are_faster(Selection(np.arange(total) < selected)) == scanned
