"""What a request may ask at most."""

from __future__ import annotations

from typing import Any

import pytest

from indexer.search.limits import Limits
from indexer.search.ranking import Rules
from ubm_embed.errors import InvalidData


@pytest.mark.parametrize(
    ("field", "request_", "problem"),
    [
        ("k", {"k": 10**9}, "at most 1,000, got 1,000,000,000"),
        ("sessions", {"sessions": 1_001}, "at most 1,000 sessions in one call, got 1,001"),
        ("exclude", {"rules": Rules(exclude=frozenset(map(str, range(100_001))))}, "at most 100,000 ids, got 100,001"),
        ("boost", {"rules": Rules(boost=dict.fromkeys(map(str, range(10_001)), 0.1))}, "at most 10,000 ids"),
        ("max_per", {"rules": Rules(max_per={f"c{number}": 1 for number in range(9)})}, "at most 8 columns, got 9"),
        ("where", {"rules": Rules(where=f"title = '{'x' * 10_000}'")}, "at most 10,000 characters, got 10,010"),
    ],
)
def test_a_request_beyond_a_limit_is_refused(field: str, request_: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidData, match=problem) as caught:
        Limits().check(**{"k": 10, "rules": Rules()} | request_)
    assert caught.value.field == field


def test_a_request_at_the_limits_is_answered() -> None:
    rules = Rules(
        where="x" * 10_000,
        exclude=frozenset(map(str, range(100_000))),
        boost=dict.fromkeys(map(str, range(10_000)), 0.1),
        max_per={f"c{number}": 1 for number in range(8)},
    )
    Limits().check(1_000, rules, sessions=1_000)


def test_limits_are_set_by_the_caller() -> None:
    Limits(k=5_000).check(5_000, Rules())
    with pytest.raises(InvalidData, match="field 'exclude': expected at most 1 ids, got 2"):
        Limits(excluded=1).check(10, Rules(exclude=frozenset({"a", "b"})))
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        Limits(k=0)
