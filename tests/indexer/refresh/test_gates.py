"""A gate passes at its limit, fails beyond it, and its message has the option to type."""

import math

import pytest

from indexer.refresh.gates import UNCONDITIONAL, Gate, GateResult, require_passed
from ubm_embed.errors import QualityGateFailed

MAX = {Gate.ROWS: 0.2, Gate.WRITTEN: 0, Gate.VECTORS: 0, Gate.INDEXED: 0, Gate.CENTROID: 0.1, Gate.UNIFORMITY: -0.01}
MAX |= {Gate.LATENCY: 2.5, Gate.SCHEMA: 0}
MIN = {Gate.RECALL: 0.99, Gate.NEIGHBOURS: 0.5}
GATES = [(gate, limit, True) for gate, limit in MAX.items()] + [(gate, limit, False) for gate, limit in MIN.items()]


def result(gate: Gate, value: float) -> GateResult:
    limit, is_max = (MAX[gate], True) if gate in MAX else (MIN[gate], False)
    return GateResult(gate, value, limit, is_max, f"{value:g} was measured")


def test_every_gate_is_covered_here() -> None:
    assert {gate for gate, *_ in GATES} == set(Gate)


@pytest.mark.parametrize(("gate", "limit", "is_max"), GATES)
def test_a_gate_passes_up_to_its_limit(gate: Gate, limit: float, is_max: bool) -> None:
    within, beyond = (limit - 0.01, limit + 0.01) if is_max else (limit + 0.01, limit - 0.01)
    require_passed([result(gate, within), result(gate, limit)], ())
    assert not result(gate, beyond).passed
    with pytest.raises(QualityGateFailed):
        require_passed([result(gate, within), result(gate, beyond)], ())


@pytest.mark.parametrize("gate", Gate)
def test_nan_never_passes(gate: Gate) -> None:
    with pytest.raises(QualityGateFailed, match=f"gate '{gate}'"):
        require_passed([result(gate, math.nan)], ())


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
def test_a_failure_names_the_gate_the_bound_and_the_override(gate: Gate, value: float, bound: str) -> None:
    limit = "another --latency-ms" if gate == Gate.LATENCY else "another limit in --config"
    override = f"--allow {gate}, or {limit}"
    with pytest.raises(
        QualityGateFailed, match=f"gate '{gate}': {value:g} was measured, expected {bound}; .*{override}"
    ):
        require_passed([result(gate, value)], ())
    with pytest.raises(QualityGateFailed, match="nothing was published"):
        require_passed([result(gate, value)], set(Gate) - {gate})
    require_passed([result(gate, value)], {gate})


def test_a_changed_column_can_only_be_allowed() -> None:
    with pytest.raises(
        QualityGateFailed,
        match=r"^gate 'schema': 1 was measured; to publish anyway: --allow schema; nothing was published$",
    ):
        require_passed([result(Gate.SCHEMA, 1)], set(Gate) - {Gate.SCHEMA})
    require_passed([result(Gate.SCHEMA, 1)], {Gate.SCHEMA})


@pytest.mark.parametrize("gate", [Gate.WRITTEN, Gate.VECTORS, Gate.INDEXED])
def test_no_option_allows_a_version_that_cannot_answer(gate: Gate) -> None:
    assert gate in UNCONDITIONAL
    with pytest.raises(
        QualityGateFailed, match=f"gate '{gate}': 1 was measured, expected at most 0; no option"
    ) as caught:
        require_passed([result(gate, 1)], set(Gate))
    assert "--allow" not in str(caught.value)


def test_exactly_the_failed_gates_are_named() -> None:
    results = [result(Gate.ROWS, 0.5), result(Gate.RECALL, 1.0), result(Gate.CENTROID, 0.5)]
    with pytest.raises(QualityGateFailed) as caught:
        require_passed(results, ())
    assert [gate for gate in Gate if f"gate '{gate}'" in str(caught.value)] == [Gate.ROWS, Gate.CENTROID]
    with pytest.raises(QualityGateFailed) as caught:
        require_passed(results, {Gate.ROWS})
    assert [gate for gate in Gate if f"gate '{gate}'" in str(caught.value)] == [Gate.CENTROID]


def test_a_manifest_entry_tells_passed_from_allowed() -> None:
    assert result(Gate.ROWS, 0.5).to_dict() == {"value": 0.5, "limit": 0.2, "passed": False}
    assert result(Gate.RECALL, 0.99).to_dict() == {"value": 0.99, "limit": 0.99, "passed": True}
