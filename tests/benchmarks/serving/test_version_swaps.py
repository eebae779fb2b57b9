"""A mixed answer is noticed, whatever it is that does not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.serving.load_generator import Load
from benchmarks.serving.serving_shop import DEARER
from benchmarks.serving.version_swaps import check_answers

CHEAP, DEAR = 1, 2


def answer(header: int, body: int, *prices: float) -> bytes:
    document = {"version": body, "matches": [{"price": price} for price in prices]}
    return b"HTTP/1.1 200 OK\r\nX-UBM-Version: %d\r\n\r\n" % header + json.dumps(document).encode()


def load(*answers: bytes) -> Load:
    count = len(answers)
    times = np.arange(count, dtype=np.float64)
    steps = np.arange(count)
    return Load(times, times, steps, times, times, np.full(count, 200), list(answers), 0, 1, 0.1, 1.0)


def test_answers_of_one_version_each_are_not_mixed() -> None:
    cheap, dear = answer(CHEAP, CHEAP, 5.0, 6.0), answer(DEAR, DEAR, DEARER + 5.0)
    seen = check_answers(load(cheap, dear, dear, cheap), [0.25, 1.5], DEAR)
    assert seen == {"swaps_seen": 2, "seconds_to_swap": [0.75, 1.5], "mixed": 0}


@pytest.mark.parametrize(
    "mixed",
    [answer(CHEAP, DEAR, 5.0), answer(CHEAP, CHEAP, 5.0, DEARER + 5.0), answer(DEAR, DEAR, 5.0)],
    ids=["header", "one match", "all matches"],
)
def test_a_mixed_answer_is_counted(mixed: bytes) -> None:
    assert check_answers(load(mixed), [], DEAR)["mixed"] == 1
