"""The ceiling is the best rate of the products that were tried."""

from __future__ import annotations

import pytest

from benchmarks.training.ceiling import ceiling


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_best_shape_counts(precision: str) -> None:
    found = ceiling("cpu", precision, [(32, 48, 64), (8, 8, 8)])
    assert list(found["seconds"]) == ["32x48x64", "8x8x8"]
    rates = [2 * 32 * 48 * 64 / found["seconds"]["32x48x64"], 2 * 8**3 / found["seconds"]["8x8x8"]]
    assert found["flops"] == max(rates)
