"""Wilson's interval, against scipy's, and where a bootstrap has no width."""

import pytest
from scipy.stats import binomtest

from ubm_embed.evaluation.proportions import wilson_interval, with_width


@pytest.mark.parametrize(
    ("count", "total"), [(0, 1), (1, 1), (0, 256), (3, 256), (128, 256), (255, 256), (50_000, 100_000)]
)
def test_it_is_that_of_scipy(count: int, total: int) -> None:
    for level in (0.5, 0.95):
        reference = binomtest(count, total).proportion_ci(level, method="wilson")
        assert wilson_interval(count, total, level) == pytest.approx((reference.low, reference.high), abs=1e-12)


@pytest.mark.parametrize(("count", "total"), [(0, 0), (-1, 5), (6, 5)])
def test_no_such_share(count: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"got {count} of {total}"):
        wilson_interval(count, total)


def test_of_equal_shares_the_interval_has_a_width() -> None:
    assert with_width((1 - 1e-16, 1.0), 1.0, 200) == wilson_interval(200, 200)
    assert with_width((0.0, 0.0), 0.0, 30) == wilson_interval(0, 30)
    assert with_width((0.98, 1.0), 0.99, 200) == (0.98, 1.0)
