"""A gate passes at its limit, fails beyond it, and says what to type."""

import math
from typing import Any

import pytest

from indexer.refresh.gates import UNCONDITIONAL, Gate, GateLimits, Measured, require_passed
from ubm_embed.errors import QualityGateFailed

MOST = {Gate.ROWS: 0.2, Gate.WRITTEN: 0, Gate.VECTORS: 0, Gate.INDEXED: 0, Gate.CENTROID: 0.1, Gate.UNIFORMITY: -0.01}
MOST |= {Gate.LATENCY: 2.5}
LEAST = {Gate.RECALL: 0.99, Gate.NEIGHBOURS: 0.5}
GATES = [(gate, limit, True) for gate, limit in MOST.items()] + [(gate, limit, False) for gate, limit in LEAST.items()]


def measured(gate: Gate, value: float) -> Measured:
    limit, most = (MOST[gate], True) if gate in MOST else (LEAST[gate], False)
    return Measured(gate, value, limit, most, f"{value:g} was found")


def test_the_cases_here_are_all_gates() -> None:
    assert {gate for gate, *_ in GATES} == set(Gate)


@pytest.mark.parametrize(("gate", "limit", "most"), GATES)
def test_a_gate_passes_up_to_its_limit(gate: Gate, limit: float, most: bool) -> None:
    within, beyond = (limit - 0.01, limit + 0.01) if most else (limit + 0.01, limit - 0.01)
    require_passed([measured(gate, within), measured(gate, limit)], ())
    assert not measured(gate, beyond).passed
    with pytest.raises(QualityGateFailed):
        require_passed([measured(gate, within), measured(gate, beyond)], ())


@pytest.mark.parametrize("gate", Gate)
def test_nan_never_passes(gate: Gate) -> None:
    with pytest.raises(QualityGateFailed, match=f"gate '{gate}'"):
        require_passed([measured(gate, math.nan)], ())


@pytest.mark.parametrize(
    ("gate", "value", "bound"),
    [
        (Gate.ROWS, 0.25, r"at most 0\.2"),
        (Gate.RECALL, 0.9, r"at least 0\.99"),
        (Gate.LATENCY, 3, r"at most 2\.5"),
        (Gate.NEIGHBOURS, 0.25, r"at least 0\.5"),
        (Gate.CENTROID, 0.25, r"at most 0\.1"),
        (Gate.UNIFORMITY, 0, r"at most -0\.01"),
    ],
)
def test_a_gate_that_fails_says_which_by_how_much_and_how_to_override(gate: Gate, value: float, bound: str) -> None:
    limit = "another --latency-ms" if gate == Gate.LATENCY else "another limit in --config"
    override = f"--allow {gate}, or {limit}"
    with pytest.raises(QualityGateFailed, match=f"gate '{gate}': {value:g} was found, expected {bound}; .*{override}"):
        require_passed([measured(gate, value)], ())
    with pytest.raises(QualityGateFailed, match="nothing was published"):
        require_passed([measured(gate, value)], set(Gate) - {gate})
    require_passed([measured(gate, value)], {gate})


@pytest.mark.parametrize("gate", [Gate.WRITTEN, Gate.VECTORS, Gate.INDEXED])
def test_no_option_allows_what_cannot_answer(gate: Gate) -> None:
    assert gate in UNCONDITIONAL
    with pytest.raises(QualityGateFailed, match=f"gate '{gate}': 1 was found, expected at most 0; no option") as caught:
        require_passed([measured(gate, 1)], set(Gate))
    assert "--allow" not in str(caught.value)


def test_every_gate_that_failed_is_named_and_no_other() -> None:
    found = [measured(Gate.ROWS, 0.5), measured(Gate.RECALL, 1.0), measured(Gate.CENTROID, 0.5)]
    with pytest.raises(QualityGateFailed) as caught:
        require_passed(found, ())
    assert [gate for gate in Gate if f"gate '{gate}'" in str(caught.value)] == [Gate.ROWS, Gate.CENTROID]
    with pytest.raises(QualityGateFailed) as caught:
        require_passed(found, {Gate.ROWS})
    assert [gate for gate in Gate if f"gate '{gate}'" in str(caught.value)] == [Gate.CENTROID]


def test_a_manifest_tells_what_was_only_allowed() -> None:
    assert measured(Gate.ROWS, 0.5).to_dict() == {"value": 0.5, "limit": 0.2, "passed": False}
    assert measured(Gate.RECALL, 0.99).to_dict() == {"value": 0.99, "limit": 0.99, "passed": True}


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("most_lost", [0, 1], [-0.1, 1.1, math.nan]),
        ("least_recall", [0, 1], [-0.1, 1.1, math.nan]),
        ("least_overlap", [0, 1], [-0.1, 1.1, math.nan]),
        ("least_overlap_of_another_model", [0, 1], [-0.1, 1.1, math.nan]),
        ("most_shift", [0, 2], [-0.1, 2.1, math.nan]),
        ("most_uniformity", [0, -4], [0.1, math.nan]),
    ],
)
def test_a_limit_outside_its_range_is_refused(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(GateLimits(**{name: value}), name) == value
    for value in bad:
        with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
            GateLimits(**{name: value})
