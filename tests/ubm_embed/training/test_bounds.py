"""Checks of settings: each error names the setting and its value."""

from types import SimpleNamespace

import pytest

from ubm_embed.training.bounds import (
    require_at_least_1,
    require_not_negative,
    require_one_of,
    require_positive,
    require_share,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("require", "good", "bad", "rule"),
    [
        (require_at_least_1, [1, 7, None], [0, -1, NAN], "be at least 1"),
        (require_positive, [1e-9, 3, None], [0.0, -1.0, NAN], "be positive"),
        (require_share, [0.0, 0.5, 0.999], [1.0, -0.1, NAN], r"be in \[0, 1\)"),
        (require_not_negative, [0, 0.0, 2, None], [-1, -1e-9, NAN], "not be negative"),
    ],
)
def test_each_bound(require, good, bad, rule):
    for value in good:
        require(SimpleNamespace(first=value, second=value), "first", "second")
    for value in bad:
        with pytest.raises(ValueError, match=f"^second must {rule}, got {value}$"):
            require(SimpleNamespace(first=good[0], second=value), "first", "second")


def test_a_word_must_be_known():
    require_one_of("split", "time", ("auto", "time"))
    with pytest.raises(ValueError, match=r"^split must be one of auto, time, got 'day'$"):
        require_one_of("split", "day", ("auto", "time"))
