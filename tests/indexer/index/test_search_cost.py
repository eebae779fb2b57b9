"""What a search costs, in searches of the backend, candidates fetched, lists compared and vectors read again."""

from itertools import pairwise

import numpy as np
import pytest

from indexer.index.kinds import IVF_FP16, kind_from_name
from indexer.index.recall import TuningQueries, midpoints_of
from indexer.index.selection import Selection
from indexer.index.tuning import tune
from indexer.index.vector_index import VectorIndex
from tests.indexer.index.toy_vectors import counted, exact_neighbours, unit, unit_vectors

COUNT, WIDTH = 12_000, 16
VECTORS = unit_vectors(COUNT, WIDTH)
QUERIES = unit_vectors(64, WIDTH, seed=1)


@pytest.fixture(scope="module")
def lists() -> VectorIndex:
    """An index of 256 lists, tuned to compare 8 of them."""
    index = VectorIndex.build([VECTORS], kind=IVF_FP16, expected=COUNT).with_search_value(8)
    assert index.max_search_value == 256
    return index


@pytest.mark.parametrize("queries", [QUERIES[:1], QUERIES])
@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_a_search_asks_the_backend_once_and_for_one_candidate_more_than_wanted(kind: str, queries: np.ndarray) -> None:
    index, backend = counted(VectorIndex.build([VECTORS], kind=kind_from_name(kind)))
    index.search(queries, 10)
    assert [(many, candidates) for many, candidates, _ in backend.searches] == [(len(queries), 11)]


def test_only_scores_within_rounding_of_each_other_are_computed_again() -> None:
    index, backend = counted(VectorIndex.build([VECTORS]))
    index.search(QUERIES, 10)
    # Ten gaps of about 1e-2 in each of 64 queries, of which hardly any is below 2e-6.
    assert backend.vectors_read <= 0.1 * len(QUERIES) * 11


def test_it_compares_as_many_lists_as_it_was_tuned_to(lists: VectorIndex) -> None:
    index, backend = counted(lists)
    index.search(QUERIES, 10)
    assert backend.searches == [(64, 11, 8)]


def test_few_allowed_vectors_are_each_read_once_for_all_queries_and_the_backend_is_not_asked(
    lists: VectorIndex,
) -> None:
    index, backend = counted(lists)
    index.search(QUERIES[:5], 10, Selection(np.arange(COUNT) < 300))
    assert (backend.searches, backend.vectors_read) == ([], 300)


def test_a_filter_widens_the_search_by_what_it_leaves_out(lists: VectorIndex) -> None:
    index, backend = counted(lists)
    index.search(QUERIES, 10, Selection(np.arange(COUNT) % 2 == 0))
    assert backend.searches[0] == (64, 11, 16)


def test_a_hundred_matches_take_the_fourth_root_of_ten_and_the_lists_that_they_fill(lists: VectorIndex) -> None:
    index, backend = counted(lists)
    index.search(QUERIES[:1], 100)
    (_, candidates, value) = backend.searches[0]
    filled = (100 - 10) * 256 / COUNT
    assert (candidates, value) == (101, int(np.ceil(8 * 10**0.25 + filled)))


def test_a_tie_is_followed_in_steps_that_together_fetch_little_more_than_it_has() -> None:
    ties = 1000
    index, backend = counted(VectorIndex.build([np.repeat(VECTORS[:5], ties, axis=0)]))
    index.search(VECTORS[:1], 10)
    fetched = [candidates for _, candidates, _ in backend.searches]
    assert fetched[0] == 11
    assert all(more <= 4 * less for less, more in pairwise(fetched))
    assert sum(fetched) <= 4 / 3 * 4 * ties + 11  # a geometric series whose last term is below four times the tie


def test_only_queries_that_are_not_decided_are_searched_again() -> None:
    index, backend = counted(VectorIndex.build([np.concatenate([np.repeat(VECTORS[:1], 50, axis=0), VECTORS[1:]])]))
    index.search(np.concatenate([VECTORS[:1], QUERIES[:9]]), 10)
    assert [many for many, _, _ in backend.searches] == [10, *[1] * (len(backend.searches) - 1)]


def test_tuning_measures_each_doubling_and_a_few_values_between() -> None:
    centres = unit_vectors(200, WIDTH)[np.arange(COUNT) % 200]
    vectors = unit(centres + 0.8 * VECTORS)
    rows = np.arange(0, COUNT, 240)
    halfway = midpoints_of(vectors[rows])
    nearest = [exact_neighbours(vectors, queries, 11) for queries in (vectors[rows], halfway)]
    queries = TuningQueries(vectors[rows], rows, nearest[0], halfway, nearest[1], lambda at: vectors[at], COUNT)
    index, backend = counted(VectorIndex.build([vectors], kind=IVF_FP16, expected=COUNT))
    tuned, recall = tune(index, queries, 0.95)
    assert recall >= 0.95
    values = {value for many, candidates, value in backend.searches if many == len(rows) and candidates in (11, 12)}
    doublings = (index.max_search_value).bit_length()
    assert len(values) <= doublings + 3
    assert max(values) <= 2 * tuned.spec.search_value, "thorough searches are slow, so none beyond what is needed"
