"""`--fail-on`: what is a condition, when it fires, and what it needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.metric_names import METRIC_NEEDS
from indexer.diagnostics.report import Diagnosis, Metric, Section
from indexer.diagnostics.thresholds import FailOn, Threshold

LIMITS = st.floats(allow_nan=False, allow_infinity=False)
THRESHOLDS = st.builds(
    Threshold, st.sampled_from(sorted(METRIC_NEEDS)), st.sampled_from([">", ">=", "<", "<="]), LIMITS
)


def diagnosis(*severities: Severity, **values: float) -> Diagnosis:
    metrics = tuple(
        Metric(name=name, value=value, measured_on="all products", meaning="") for name, value in values.items()
    )
    findings = tuple(Finding(Fault.HUBS, severity, "space", "seen", "do") for severity in severities)
    section = Section(name="space", title="The space", metrics=metrics, findings=findings)
    return Diagnosis(subject={"kind": "model", "name": "m"}, created="", software="", sections=(section,))


@given(st.lists(THRESHOLDS), st.sampled_from([Severity.ERROR, Severity.WARNING]))
def test_conditions_are_read_as_they_are_written(thresholds: list[Threshold], severity: Severity) -> None:
    conditions = FailOn(tuple(thresholds), severity)
    assert FailOn.parse(str(conditions)) == conditions


@given(st.text(alphabet="abuniformity<>=.,-+0123456789e "))
def test_any_other_text_is_refused_by_name(text: str) -> None:
    try:
        conditions = FailOn.parse(text)
    except ValueError as error:
        assert "condition" in str(error) or "metric" in str(error) or "limit" in str(error)  # noqa: PT017
    else:
        assert FailOn.parse(str(conditions)) == conditions


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no condition"),
        ("uniformity>-1.5,", "'' is no condition"),
        ("uniformity", "'uniformity' is no condition"),
        ("uniformity>", "'uniformity>' is no condition"),
        ("uniformity=1", "'uniformity=1' is no condition"),
        ("uniformity>nan", "'uniformity>nan' is no condition"),
        ("uniformity>1e999", "'uniformity>1e999' has no finite limit"),
        ("warnings", "'warnings' is no condition"),
        ("uniformty>-1", "unknown metric 'uniformty'; did you mean 'uniformity'"),
        ("zzz>-1", "unknown metric 'zzz'; known are alignment, "),
    ],
)
def test_what_is_no_condition(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^" + message):
        FailOn.parse(text)


@pytest.mark.parametrize(
    ("condition", "fires"),
    [
        ("uniformity>-1", False),
        ("uniformity>=-1", True),
        ("uniformity<-1", False),
        ("uniformity<=-1", True),
        (" uniformity > -1.5 ", True),
        ("uniformity<-5e-1", True),
    ],
)
def test_the_value_decides(condition: str, fires: bool) -> None:
    failures = list(FailOn.parse(condition).failures(diagnosis(uniformity=-1.0)))
    assert bool(failures) == fires
    assert not fires or "uniformity is -1, measured on all products" in failures[0]


@pytest.mark.parametrize(
    ("words", "severities", "failures"),
    [
        ("error", [Severity.WARNING, Severity.NOTE], 0),
        ("error", [Severity.ERROR, Severity.WARNING], 1),
        ("warning", [Severity.NOTE], 0),
        ("warning", [Severity.ERROR, Severity.WARNING], 2),
        ("error,warning", [Severity.ERROR, Severity.WARNING], 2),
        ("warning,error", [Severity.WARNING], 1),
    ],
)
def test_findings_as_bad_as_asked_for(words: str, severities: list[Severity], failures: int) -> None:
    assert len(list(FailOn.parse(words).failures(diagnosis(*severities)))) == failures


def test_what_was_not_measured_is_known() -> None:
    conditions = FailOn.parse("uniformity>-1,retention<0.6")
    assert conditions.unmeasured(diagnosis(uniformity=-2.0)) == ["retention"]
    assert list(conditions.failures(diagnosis(uniformity=-2.0))) == []


@pytest.mark.parametrize(
    ("given_options", "messages"),
    [
        ({"--store"}, ["retention is measured with --against only"]),
        ({"--store", "--against"}, []),
        ({"--model", "--corpus"}, ["retention is measured with --store and --against only"]),
        (
            {"--run"},
            [
                "uniformity is measured with --store or --model only",
                "retention is measured with --store and --against only",
            ],
        ),
    ],
)
def test_options_that_a_metric_needs(given_options: set[str], messages: list[str]) -> None:
    assert list(FailOn.parse("uniformity>-1,retention<0.6").out_of_reach(given_options)) == messages
