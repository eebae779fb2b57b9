"""What the curves of a training run warn of. Each threshold has its reason beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.training_run.run_log import RunLog, StageLog

SECTION = "training"
# Means are taken over the first and the last tenth of a stage; below 20 steps a tenth is one step, which is noise.
MIN_STEPS = 20
# The rate rises over the first tenth of the steps (`warmup`), so that little is learned before twice as many.
MIN_PROGRESS = 0.2
# InfoNCE and cross entropy of a model that knows something stay within the chance level, and start there; a mean above
# it by more than a tenth comes from confident errors, which only diverging weights make.
DIVERGED = 1.1
# 1% of log 512 is 0.06 nats: three times the standard error of the mean of a tenth of a stage of 200 steps, and less
# than one product in a hundred that the model tells from the others.
LEARNED = 0.01
# A loss below half its chance level is one that the model had learned before; it may stay where it is.
SOLVED = 0.5
# Vectors that are all alike have 0. An untrained model of width 64 on the sample shop, whose vectors lie in a narrow
# cone, has -0.25, and collapsed ones stay near -0.1 or above.
ALIKE = -0.05
# Above this, a model that has lost half of its uniformity is on its way to 0; spread ones move between -2 and -4.
SPREAD = -1.0
# An InfoNCE loss of N candidates cannot measure more than log N nats (van den Oord et al. 2018, section 2.3): with 32,
# 3.5. Recipes take 64 and more.
MIN_CANDIDATES = 32


def findings(run: RunLog) -> Iterator[Finding]:
    """Everything that the run warns of."""
    if run.failed is not None:
        yield _finding(Fault.DIVERGED, Severity.ERROR, run.failed.split(": ")[0], _slower(run))
    for stage in run.stages:
        yield from _of_stage(run, stage)
    yield from _validation(run)


def _of_stage(run: RunLog, stage: StageLog) -> Iterator[Finding]:
    if run.failed is None and (problem := _divergence(stage)):
        yield _finding(Fault.DIVERGED, Severity.ERROR, problem, _slower(run))
    elif _judgeable(stage):
        yield from _unlearned(run, stage)
    if _judgeable(stage) and (problem := _collapse(stage)):
        remedy = "lower --learning-rate or raise --warmup, and start over with --restart: it does not come back"
        yield _finding(Fault.COLLAPSING, Severity.ERROR, problem, remedy)
    yield from _few_negatives(stage)


def _judgeable(stage: StageLog) -> bool:
    return stage.steps >= MIN_STEPS and stage.steps >= MIN_PROGRESS * stage.planned


def _divergence(stage: StageLog) -> str | None:
    for name, curve in stage.curves.items():
        if curve.not_finite is not None:
            return f"{words(name)} is not finite at step {curve.not_finite:,}{_of(stage)}"
    if not _judgeable(stage):
        return None
    for name, curve in stage.losses.items():
        start = max(curve.part(0.0, 0.1).mean, stage.chance(name) or 0.0)
        if (end := curve.part(0.9, 1.0).mean) > DIVERGED * start:
            return f"{words(name)} rose to {end:.3g}{_of(stage)}; a model that knows nothing has {start:.3g}"
    return None


def _unlearned(run: RunLog, stage: StageLog) -> Iterator[Finding]:
    for name, curve in stage.losses.items():
        if (chance := stage.chance(name)) is None:
            continue
        begin, end = curve.part(0.0, 0.1), curve.part(0.9, 1.0)
        noise = 1.96 * (begin.error**2 + end.error**2) ** 0.5
        fell = begin.mean - end.mean > max(noise, LEARNED * chance)
        if end.mean > (1 - LEARNED) * chance or (not fell and end.mean > SOLVED * chance):
            problem = (
                f"{words(name)} is {end.mean:.3f} after {stage.steps:,} steps{_of(stage)} and was {begin.mean:.3f}; "
                f"a model that knows nothing has {chance:.3f}{_candidates(stage, name, chance)}"
            )
            yield _finding(Fault.NOT_LEARNING, Severity.WARNING, problem, _remedy_of_unlearned(run))


def _candidates(stage: StageLog, name: str, chance: float) -> str:
    return "" if stage.number is None else f", the logarithm of {math.exp(chance):,.0f} candidates"


def _remedy_of_unlearned(run: RunLog) -> str:
    rate = run.settings.get("learning_rate")
    now = f" (now {rate:g})" if isinstance(rate, float) else ""
    return f"raise --learning-rate{now} or the number of steps, and look at the corpus with ubm-embed inspect"


def _collapse(stage: StageLog) -> str | None:
    if (curve := stage.curve("uniformity")) is None:
        return None
    end = curve.part(0.9, 1.0).mean
    lowest = min(curve.means())
    if end > ALIKE or (end > SPREAD and end > lowest / 2):
        return f"uniformity rose to {end:.2f}{_of(stage)} from {lowest:.2f}; 0 is that of vectors that are all alike"
    return None


def _few_negatives(stage: StageLog) -> Iterator[Finding]:
    curve = stage.curve("candidates")
    if curve is None or (mean := curve.part(0.0, 1.0).mean) >= MIN_CANDIDATES:
        return
    option = {1: "--item-batch", 2: "--session-batch"}.get(stage.number or 0)
    if option is None:
        return
    problem = (
        f"an example is told from {mean - 1:.0f} others{_of(stage)}, where {MIN_CANDIDATES} or more teach something"
    )
    yield _finding(Fault.TOO_FEW_NEGATIVES, Severity.WARNING, problem, f"raise {option}")


def _validation(run: RunLog) -> Iterator[Finding]:
    """Of fine-tuning: no validation was better than the one before the first step."""
    curves = [
        curve
        for stage in run.stages
        for name, curve in stage.curves.items()
        if name == "validation_loss" and curve.count >= 3 and curve.first.x == 0
    ]
    for curve in curves:
        if curve.first.y <= curve.lowest:
            problem = (
                f"no validation of {curve.count} had a lower loss than the one before training ({curve.first.y:.3f})"
            )
            yield _finding(Fault.NOT_LEARNING, Severity.WARNING, problem, _slower(run))


def _slower(run: RunLog) -> str:
    rate = run.settings.get("learning_rate")
    now = f" (now {rate:g})" if isinstance(rate, float) else ""
    return f"lower --learning-rate{now} and start over with --restart"


def _of(stage: StageLog) -> str:
    return "" if stage.number is None else f" in stage {stage.number}"


def words(name: str) -> str:
    """The name of a curve in words."""
    return name if name == "loss" else name.replace("_", " ").replace("hit at 10", "hit@10")


def _finding(fault: Fault, severity: Severity, problem: str, remedy: str) -> Finding:
    return Finding(fault, severity, SECTION, problem, remedy)
