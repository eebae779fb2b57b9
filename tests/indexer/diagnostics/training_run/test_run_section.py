"""The report on a training run names what is wrong with it, and nothing where all is well."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.diagnostics.finding import Fault, Severity
from indexer.diagnostics.report import Section
from indexer.diagnostics.training_run.curve import MAX_POINTS
from indexer.diagnostics.training_run.run import run_section
from ubm_embed.errors import InvalidData, NotFound

Line = dict[str, Any]
Curve = Callable[[float], float]
PAIRING, REORDERING = "next_item_pairing", "interaction_reordering"


def falling(first: float, last: float) -> Curve:
    """From one value to another, fast at first."""
    return lambda done: last + (first - last) * math.exp(-5 * done)


def constant(value: float) -> Curve:
    return lambda done: value


def stage(
    number: int | None = 1,
    *,
    steps: int = 200,
    planned: int | None = None,
    name: str = PAIRING,
    loss: Curve | None = None,
    uniformity: Curve | None = None,
    candidates: float = 256,
) -> list[Line]:
    """The lines of a stage, with noise as batches have it."""
    chance = math.log(candidates)
    loss, uniformity = loss or falling(chance, 0.7 * chance), uniformity or falling(-0.3, -2.5)
    rng = np.random.default_rng(number or 0)
    lines = []
    for step in range(1, steps + 1):
        done = step / (planned or steps)
        value = loss(done) + 0.05 * float(rng.normal())
        line = {"stage": number, "step": step, "steps": planned or steps, "loss": value, name: value}
        line |= {f"{name}_chance": chance, "candidates": candidates, "alignment": 1.2, "uniformity": uniformity(done)}
        line |= {"negatives": 9000, "num_masked": 1000, "learning_rate": 1e-3, "gradient_norm": 0.5 + step % 2}
        lines.append(line | {"examples_per_second": 100.0 + step % 3})
    return lines


def fine_tuning(loss: Curve, validation: Iterable[float], *, chance: float = math.log(3000)) -> list[Line]:
    """The lines of a fine-tuning with a validation before each 50 steps, and at the end."""
    lines: list[Line] = []
    for number, value in enumerate(validation):
        lines.append({"step": 50 * number, "validation_loss": value, "validation_hit_at_10": 0.3})
        for step in range(50 * number + 1, 50 * number + 51):
            lines.append({"step": step, "steps": 200, "loss": loss(step / 200), "loss_chance": chance})
    return lines


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Section]:
    """The report on a run that has logged some lines."""

    def report(lines: list[Line], **settings: Any) -> Section:
        folder = tmp_path / "model.training"
        folder.mkdir(exist_ok=True)
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "settings.json").write_text(json.dumps({"max_gradient_norm": 1.0, "learning_rate": 1e-3} | settings))
        return run_section(folder)

    return report


def faults(section: Section) -> list[Fault]:
    return [finding.fault for finding in section.findings]


class TestHealthy:
    def test_two_stages(self, report) -> None:
        section = report([*stage(1), *stage(2, steps=25, name=REORDERING, loss=falling(2.0, 0.6), candidates=64)])
        assert faults(section) == []
        assert [row[:3] for row in section.tables[0].rows] == [[1, 200, 200], [2, 25, 25]]

    def test_fine_tuning(self, report) -> None:
        section = report(fine_tuning(falling(7.5, 5.0), [6.8, 6.1, 5.9, 5.95]))
        assert faults(section) == []
        assert section.tables[0].rows[0][0] == "fine-tuning"

    def test_a_head_that_learns_a_little(self, report) -> None:
        assert faults(report(fine_tuning(falling(0.70, 0.66), [0.69, 0.67, 0.66, 0.66], chance=math.log(2)))) == []

    def test_a_head_whose_vectors_come_to_lie_on_a_line(self, report) -> None:
        lines = fine_tuning(falling(1.0, 0.9), [0.95, 0.94, 0.93, 0.93], chance=1.0)
        assert faults(report([line | {"uniformity": -0.2 - 1.0 / (1 + line["step"])} for line in lines])) == []

    def test_a_noisy_loss_of_a_small_batch(self, report) -> None:
        noise = np.random.default_rng(5).normal(1.2, 0.6, 200)
        lines = [line | {"loss": value, PAIRING: value} for line, value in zip(stage(), noise.tolist(), strict=True)]
        lines = [line | {f"{PAIRING}_chance": math.log(4)} for line in lines]
        assert faults(report(lines[:60])) == []

    def test_a_run_that_has_just_begun(self, report) -> None:
        section = report(stage(steps=30, planned=200, loss=constant(math.log(256))))
        assert faults(section) == []
        assert section.notes == ("the run is unfinished: 30 of 200 steps of its last stage are logged",)

    def test_a_loss_that_was_low_before(self, report) -> None:
        assert faults(report(stage(loss=constant(0.2)))) == []

    def test_figures(self, report) -> None:
        metrics = {metric.name: metric for metric in report(stage()).metrics}
        assert metrics["clipped_share"].value == 0.5
        assert metrics["masked_share"].value == pytest.approx(0.1)
        assert metrics["examples_per_second"].value == pytest.approx(101, abs=1)
        assert metrics["training_uniformity"].value == pytest.approx(-2.5, abs=0.05)
        assert metrics["final_loss"].value == pytest.approx(0.7 * math.log(256), abs=0.1)
        assert metrics["loss_trend"].value < 0
        assert metrics["candidates"].value == 256


class TestFaults:
    def test_a_loss_at_its_chance_level(self, report) -> None:
        section = report(stage(loss=constant(math.log(256))))
        assert faults(section) == [Fault.NOT_LEARNING]
        assert "5.5" in section.findings[0].problem
        assert "the logarithm of 256 candidates" in section.findings[0].problem
        assert "raise `--learning-rate` (now 0.001)" in section.findings[0].remedy

    def test_the_rate_of_stage_2_is_the_one_to_change(self, report) -> None:
        lines = stage(2, name=REORDERING, loss=constant(4.2), candidates=64)
        assert (
            "raise `--session-learning-rate` (now 1e-06)"
            in report(lines, session_learning_rate=1e-6).findings[0].remedy
        )
        assert "raise `--learning-rate` (now 0.001)" in report(lines, session_learning_rate=None).findings[0].remedy

    def test_one_of_two_losses_at_its_chance_level(self, report) -> None:
        lines = [line | {"item_token_masking": 0.4, "item_token_masking_chance": math.log(512)} for line in stage()]
        assert faults(report(lines)) == []
        stuck = [line | {"item_token_masking": math.log(512)} for line in lines]
        (finding,) = report(stuck).findings
        assert (finding.fault, finding.severity) == (Fault.NOT_LEARNING, Severity.WARNING)
        assert finding.problem.startswith("item token masking is 6.238 after 200 steps in stage 1")

    def test_a_loss_that_stays_where_it_began(self, report) -> None:
        assert faults(report(stage(loss=constant(4.0)))) == [Fault.NOT_LEARNING]

    def test_a_fine_tuning_that_no_validation_gained_from(self, report) -> None:
        section = report(fine_tuning(falling(7.5, 5.0), [5.0, 5.2, 5.4, 5.6]))
        assert faults(section) == [Fault.NOT_LEARNING]
        assert "none of 4 validations was better" in section.findings[0].problem
        assert "whose loss is 5.000" in section.findings[0].problem

    def test_vectors_that_become_alike(self, report) -> None:
        section = report(stage(uniformity=falling(-1.0, -0.08)))
        assert faults(section) == [Fault.COLLAPSING]
        assert section.findings[0].severity is Severity.ERROR

    def test_what_follows_a_collapse_is_not_told_again(self, report) -> None:
        alike, stuck = stage(uniformity=falling(-1.0, -0.01)), constant(math.log(256))
        section = report([*alike, *stage(2, name=REORDERING, loss=stuck, uniformity=constant(-0.01))])
        assert faults(section) == [Fault.COLLAPSING]

    def test_few_negatives(self, report) -> None:
        section = report(stage(2, name=REORDERING, candidates=4, loss=falling(1.2, 0.2)))
        assert faults(section) == [Fault.TOO_FEW_NEGATIVES]
        assert section.findings[0].remedy == "raise `--session-batch`"

    def test_a_loss_that_grows(self, report) -> None:
        assert faults(report(stage(loss=falling(5.5, 30.0)))) == [Fault.DIVERGED]

    @pytest.mark.parametrize("name", ["loss", "gradient_norm", "validation_loss"])
    def test_a_number_that_is_not_finite(self, report, name) -> None:
        lines = stage()
        lines[150] |= {name: math.nan}
        section = report(lines)
        assert faults(section) == [Fault.DIVERGED]
        assert "is not finite at step 151" in section.findings[0].problem
        assert all(math.isfinite(row["y"]) for row in section.charts[0].rows)

    @pytest.mark.parametrize("steps", [0, 50])
    def test_a_run_that_ended_by_itself(self, report, steps) -> None:
        failed = "the loss of stage 1, step 51 is not finite; the step was not taken: lower --learning-rate"
        section = report(
            [*stage(steps=steps, planned=200), {"stage": 1, "step": steps + 1, "steps": 200, "failed": failed}]
        )
        assert faults(section) == [Fault.DIVERGED]
        assert section.findings[0].problem.startswith("the loss of stage 1, step 51 is not finite")

    def test_losses_that_are_all_not_finite(self, report) -> None:
        lines = [line | {"loss": math.nan, PAIRING: math.nan} for line in stage()]
        assert faults(report(lines)) == [Fault.DIVERGED]


class TestCurves:
    def test_each_panel_has_its_curves_over_the_steps_of_the_run(self, report) -> None:
        chart = report([*stage(1), *stage(2, steps=25, name=REORDERING)]).charts[0]
        rows = chart.rows
        assert chart.title.endswith("; stage 2 begins at step 201")
        by_panel: dict[str, set[str]] = {}
        for row in rows:
            by_panel.setdefault(row["panel"], set()).add(row["name"])
        assert by_panel["loss"] == {"next item pairing", "interaction reordering"}
        assert by_panel["gradient norm"] == {"gradient norm"}
        assert by_panel["alignment and uniformity"] == {"alignment", "uniformity"}
        assert max(row["x"] for row in rows if row["name"] == "interaction reordering") == 225

    def test_long_curves_are_thinned(self, report) -> None:
        rows = report(stage(steps=3000)).charts[0].rows
        assert sum(row["panel"] == "gradient norm" for row in rows) <= MAX_POINTS


class TestFiles:
    def test_a_line_that_is_being_written_is_not_read(self, report, tmp_path) -> None:
        report(stage())
        file = tmp_path / "model.training" / "metrics.jsonl"
        file.write_text(file.read_text() + '{"stage": 1, "step": 2')
        assert run_section(file.parent).tables[0].rows[0][1] == 200

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ('{"stage": 1, "st', "row 201: not a line of metrics, a JSON object"),
            ("[1]", "row 201: not a line of metrics: expected an object with the number of its step"),
            ('{"loss": 1.0}', "row 201: not a line of metrics: expected an object with the number of its step"),
            ('{"step": 3, "loss": "high"}', "row 201, field 'loss': expected a number, got 'high'"),
            ("x" * 100_000, "row 201: not a line of metrics, a JSON object"),
        ],
    )
    def test_a_damaged_line_is_named(self, report, tmp_path, line, problem) -> None:
        report(stage())
        file = tmp_path / "model.training" / "metrics.jsonl"
        file.write_text(file.read_text() + line + "\n" + json.dumps({"stage": 1, "step": 201, "loss": 1.0}) + "\n")
        with pytest.raises(InvalidData, match=f"metrics.jsonl, {problem}"):
            run_section(file.parent)

    def test_a_model_folder_keeps_its_log(self, report, tmp_path) -> None:
        report(stage())
        folder = tmp_path / "model.training"
        (folder / "settings.json").unlink()
        (folder / "training.json").write_text(json.dumps({"pretraining": {"max_gradient_norm": 1.0}}))
        section = run_section(folder)
        assert section.notes == ()
        assert {metric.name: metric.value for metric in section.metrics}["clipped_share"] == 0.5

    def test_a_log_of_earlier_software_is_not_judged_by_chance(self, report) -> None:
        lines = [{name: value for name, value in line.items() if "chance" not in name} for line in stage()]
        section = report([line | {"loss": 5.5} for line in lines])
        assert faults(section) == []
        assert "older software wrote this log" in section.notes[-1]

    def test_a_folder_without_a_log(self, tmp_path) -> None:
        with pytest.raises(NotFound, match=r"no metrics\.jsonl at .*: give a model folder, or OUT\.training"):
            run_section(tmp_path)

    def test_a_run_that_has_logged_nothing(self, report) -> None:
        with pytest.raises(InvalidData, match="no step of training is logged yet"):
            report([{"step": 0, "validation_loss": 1.0}])

    def test_damaged_settings(self, report, tmp_path) -> None:
        report(stage())
        (tmp_path / "model.training" / "settings.json").write_text("{")
        with pytest.raises(InvalidData, match=r"settings\.json: not a JSON object"):
            run_section(tmp_path / "model.training")
