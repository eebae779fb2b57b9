"""Whether two answers are the same, as far as float32 can tell: scores to within rounding, in any order among ties."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from indexer.search.answer import Match

# A sum of n terms in float32 is off by at most about n * eps, and its order depends on the processor, the number of
# threads and the batch. The toy model of `conftest` has width 16: 4 layers (2 of each encoder), each with sums over 16
# (projection), 64 (attention to the tokens), 16 (output), 16 and 64 (feed-forward) and 16 (normalization) terms; then
# an inner product of 16.
_TERMS = 4 * (16 + 64 + 16 + 16 + 64 + 16) + 16
ATOL = _TERMS * float(np.finfo(np.float32).eps)


def assert_same_matches(actual: Iterable[Match], expected: Iterable[Match], *, atol: float = ATOL) -> None:
    """Require the same products, with the same fields, and scores that differ by at most `atol`.

    Products whose scores tie to within `atol` may be in any order, and either may be the one that K cuts off.
    """
    ours, theirs = list(actual), list(expected)
    assert [match.rank for match in ours] == [match.rank for match in theirs]
    np.testing.assert_allclose(_scores(ours), _scores(theirs), rtol=0, atol=atol)
    ours_by_id, theirs_by_id = ({match.product_id: match for match in matches} for matches in (ours, theirs))
    for product_id in ours_by_id.keys() & theirs_by_id.keys():
        one, other = ours_by_id[product_id], theirs_by_id[product_id]
        assert (one.title, one.category, one.fields) == (other.title, other.category, other.fields)
        assert abs((one.score or 0) - (other.score or 0)) <= atol, product_id
    for product_id in ours_by_id.keys() ^ theirs_by_id.keys():
        lone = ours_by_id.get(product_id) or theirs_by_id[product_id]
        last = (theirs if product_id in ours_by_id else ours)[-1]
        assert abs((lone.score or 0) - (last.score or 0)) <= atol, f"{product_id} is in one of the answers only"


def _scores(matches: Iterable[Match]) -> list[float]:
    return [0.0 if match.score is None else match.score for match in matches]
