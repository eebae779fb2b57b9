"""What Prometheus reads."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from indexer.search.query import Timings
from indexer.service.http.telemetry.metrics import Metrics
from indexer.service.http.telemetry.worker_metrics import worker_ended
from indexer.service.sessions.session_store import Outcome
from indexer.versions.revision import Revision, SegmentFile

DOCUMENTATION = (Path(__file__).parents[5] / "docs" / "service.md").read_text("utf-8")
WORKER = """
import sys
from pathlib import Path
from indexer.search.query import Timings
from indexer.service.http.telemetry.metrics import Metrics

metrics = Metrics(Path(sys.argv[1]), int(sys.argv[2]))
metrics.request_began()
metrics.request_began()
metrics.request_ended("GET", "/info", 200, 0.002, None, None)
metrics.version(int(sys.argv[3]))
metrics.watch(lambda: sys.argv[3] == "4")
metrics.waiting(10)
metrics.kept_sessions(7)
print(metrics.exposition().decode())
"""


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of which each has a value."""
    metrics = Metrics()
    metrics.request_began()
    metrics.request_ended("POST", "/v1/recommend", 200, 0.004, None, Timings(0, 0.001, 0, 0.002, 0.003, 0))
    metrics.request_began()
    metrics.request_ended("BREW", "unmatched", 404, 0.001, "not_found", None)
    metrics.connection_refused("slow_body")
    metrics.batch_released("fast", "empty", 3, 17)
    metrics.waiting(2)
    metrics.dropped("timeout", 4)
    metrics.version(3)
    metrics.revision(_revision(17, rows=2))
    metrics.products_changed({"new": 3, "updated": 2, "deleted": 0})
    metrics.products_published(0.2)
    metrics.version_refused(ValueError("damaged"))
    metrics.watch(lambda: True)
    metrics.events(accepted=5, duplicates=2, expired=3, ignored=1)
    metrics.answer(3, "treatment")
    metrics.outcomes([Outcome("click", "a1", 3, "treatment", "p1"), Outcome("buy", "a1", 3, "treatment", "p1")])
    metrics.kept_sessions(9)
    metrics.sessions_unavailable()
    metrics.event_log_failed()
    metrics.event_log_dropped(8)
    return metrics


def _revision(number: int, rows: int) -> Revision:
    segment = SegmentFile(name=f"{number}-{'0' * 16}.arrow", rows=rows, bytes=1, sha256="")
    return Revision(number=number, segments=(segment,), created="2026-11-30T00:00:00+00:00")


def values(text: str | bytes) -> dict[str, float]:
    """Values by name and labels."""
    text = text.decode() if isinstance(text, bytes) else text
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_happened_is_counted(metrics: Metrics) -> None:
    found = values(metrics.exposition())
    expected = {
        "ubm_requests_total method=POST route=/v1/recommend status=200": 1,
        "ubm_requests_total method=other route=unmatched status=404": 1,
        "ubm_refused_requests_total error_type=not_found": 1,
        "ubm_request_seconds_bucket le=0.003 route=/v1/recommend": 0,
        "ubm_request_seconds_bucket le=0.005 route=/v1/recommend": 1,
        "ubm_request_part_seconds_sum part=encode": 0.002,
        "ubm_request_part_seconds_count part=queue": 1,
        "ubm_requests_in_progress": 0,
        "ubm_refused_connections_total reason=slow_body": 1,
        "ubm_batches_total lane=fast reason=empty": 1,
        "ubm_batch_sessions_sum": 3,
        "ubm_batch_interactions_sum": 17,
        "ubm_waiting_sessions": 2,
        "ubm_dropped_sessions_total reason=timeout": 4,
        "ubm_version": 3,
        "ubm_revision": 17,
        "ubm_revision_rows": 2,
        "ubm_product_changes_total kind=new": 3,
        "ubm_product_changes_total kind=updated": 2,
        "ubm_product_update_seconds_count": 1,
        "ubm_product_update_seconds_sum": 0.2,
        "ubm_versions_refused_total": 1,
        "ubm_ready": 1,
        "ubm_events_total result=accepted": 5,
        "ubm_events_total result=duplicate": 2,
        "ubm_events_total result=expired": 3,
        "ubm_events_total result=ignored": 1,
        "ubm_answers_total arm=treatment version=3": 1,
        "ubm_outcomes_total arm=treatment kind=click version=3": 1,
        "ubm_outcomes_total arm=treatment kind=buy version=3": 1,
        "ubm_kept_sessions": 9,
        "ubm_sessions_unavailable_total": 1,
        "ubm_event_log_failures_total": 1,
        "ubm_event_log_dropped_total": 8,
        "ubm_workers": 1,
    }
    assert {name: found[name] for name in expected} == expected
    metrics.revision(None)
    assert values(metrics.exposition())["ubm_revision"] == 0
    assert found["ubm_resident_bytes"] > 1 << 20
    assert found["ubm_cpu_seconds_total"] > 0


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_to_complain_of(metrics: Metrics) -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics.exposition(), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_a_worker_that_starts_says_nothing_of_versions_and_readiness() -> None:
    assert not {"ubm_version", "ubm_ready", "ubm_workers"} & set(values(Metrics().exposition()))


def test_whether_it_can_answer_is_asked_when_it_is_read() -> None:
    metrics, states = Metrics(), [True]
    metrics.watch(lambda: states[-1])
    assert values(metrics.exposition())["ubm_ready"] == 1
    states.append(False)
    assert values(metrics.exposition())["ubm_ready"] == 0


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_the_alerts_of_the_documentation_are_valid(tmp_path: Path) -> None:
    rules = DOCUMENTATION.split("```yaml\ngroups:", 1)[1].split("```", 1)[0]
    (tmp_path / "rules.yml").write_text(f"groups:{rules}")
    checked = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, check=False, text=True
    )
    assert checked.returncode == 0, checked.stderr


def test_the_documentation_names_all_metrics_and_no_others(metrics: Metrics) -> None:
    families = text_string_to_metric_families(metrics.exposition().decode())
    exported = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    named = {name.removesuffix("_bucket") for name in re.findall(r"\bubm_(?!embed\b)[a-z_]+", DOCUMENTATION)}
    assert named == exported


def test_versions_that_come_and_go_do_not_pile_up(metrics: Metrics) -> None:
    for version in range(1_000):
        metrics.answer(version, "")
    answers = {name: value for name, value in values(metrics.exposition()).items() if "ubm_answers" in name}
    assert len(answers) <= 102
    assert answers["ubm_answers_total arm= version=other"] == 900


def test_workers_share_their_values_and_one_goes_on_where_a_dead_one_ended(tmp_path: Path) -> None:
    def run(number: int, version: int) -> dict[str, float]:
        command = [sys.executable, "-c", WORKER, str(tmp_path), str(number), str(version)]
        return values(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    run(0, 4)
    found = run(1, 3)
    assert found["ubm_requests_total method=GET route=/info status=200"] == 2
    assert found["ubm_request_seconds_count route=/info"] == 2
    assert (found["ubm_workers"], found["ubm_version"], found["ubm_ready"]) == (2, 3, 0)
    assert (found["ubm_waiting_sessions"], found["ubm_kept_sessions"]) == (20, 7)
    files = set(tmp_path.iterdir())
    for worker in (0, 1):
        worker_ended(tmp_path, worker)
    found = run(1, 4)
    assert found["ubm_requests_total method=GET route=/info status=200"] == 3
    assert (found["ubm_workers"], found["ubm_version"], found["ubm_waiting_sessions"]) == (1, 4, 10)
    assert set(tmp_path.iterdir()) < files
