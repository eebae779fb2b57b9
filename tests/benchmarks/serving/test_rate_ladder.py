"""Rates rise until a service no longer keeps up."""

from __future__ import annotations

from typing import Any

from benchmarks.serving.rate_ladder import RateLadder, highest

LADDER = RateLadder([1.0, 2.0, 3.0, 4.0, 5.0], limit_ms=25.0)


def figures(rate: float, p99: float, *, refused: int = 0, errors: dict[str, int] | None = None) -> dict[str, Any]:
    return {"rate": rate, "p90_ms": p99 / 2, "p99_ms": p99, "refused": refused, "errors": errors or {}}


def test_services_take_turns_and_each_ends_after_two_rates_that_were_too_much() -> None:
    asked: list[tuple[str, float]] = []

    def service(name: str, slow: set[float]) -> Any:
        def measure(rate: float) -> dict[str, Any]:
            asked.append((name, rate))
            return figures(rate, 100.0 if rate in slow else 1.0)

        return measure

    done = LADDER.climb({"a": service("a", {1.0, 2.0}), "b": service("b", {2.0})})
    assert asked[:4] == [("a", 1.0), ("b", 1.0), ("a", 2.0), ("b", 2.0)]
    assert [one["rate"] for one in done["a"]] == [1.0, 2.0]
    assert [one["rate"] for one in done["b"]] == LADDER.rates, "one slow rate may be chance"


def test_the_highest_rate_is_one_at_which_everything_was_answered_in_time() -> None:
    rows = [
        figures(1.0, 5.0),
        figures(2.0, 20.0),
        figures(3.0, 5.0, refused=1),
        figures(4.0, 5.0, errors={"500": 1}),
        figures(5.0, 30.0),
    ]
    assert highest(rows, "p99_ms", 25.0) == rows[1]
    assert highest(rows, "p90_ms", 7.0) == rows[0]
    assert highest(rows, "p99_ms", 1.0) is None
