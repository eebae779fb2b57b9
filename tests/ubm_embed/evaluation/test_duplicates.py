"""Equal rows by their hashes, and partners against a loop over all pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.evaluation.duplicates import occurs_again, partners, row_hashes


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32)


def test_equal_rows_have_equal_hashes_in_every_batch(vectors):
    together = row_hashes(np.concatenate([vectors, vectors[::-1]]))
    np.testing.assert_array_equal(together[:200], row_hashes(vectors))
    np.testing.assert_array_equal(together[200:], together[:200][::-1])


def test_different_rows_have_different_hashes(vectors):
    nearly = vectors.copy()
    nearly[:, 3] = np.nextafter(nearly[:, 3], np.float32(9))
    swapped = vectors[:, ::-1]
    assert np.unique(row_hashes(np.concatenate([vectors, nearly, swapped]))).size == 600


def test_what_occurs_again():
    codes = np.array([5, 7, 5, 8, 7, 7], np.uint64)
    assert occurs_again(codes).tolist() == [True, True, True, False, True, True]
    assert occurs_again(codes[:0]).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=12))
def test_a_partner_has_the_same_code_and_another_value(pairs):
    codes, other = np.array(pairs, np.uint64).reshape(-1, 2).T
    found = partners(codes, other)
    for row, partner in enumerate(found.tolist()):
        possible = np.flatnonzero((codes == codes[row]) & (other != other[row])).tolist()
        assert partner in possible if possible else partner == -1
