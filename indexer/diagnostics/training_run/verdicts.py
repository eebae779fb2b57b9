"""What the curves of a training run warn of. Each threshold has its reason beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.training_run.curve import Curve
from indexer.diagnostics.training_run.run_log import RunLog, StageLog

SECTION = "training"
# Of a normal distribution: verdicts hold at the 95% ends of means.
Z = 1.96
# Means are taken over the first and the last tenth of a stage; below 20 steps a tenth is one step, which is noise.
MIN_STEPS = 20
# The rate rises over the first tenth of the steps (`warmup`), so that little is learned before twice as many.
MIN_PROGRESS = 0.2
# The loss of a model that knows something stays below its chance level, and a fresh one starts near it. A mean that is
# above both by a quarter comes from confident errors, which only diverging weights make.
DIVERGED = 1.25
# 2% of log 512 is 0.12 nats, what it takes to tell one candidate in ten from the positive.
LEARNED = 0.02
# An untrained model tells texts that share words from others, so that its loss is below the chance level from the start
# and stays there: with a rate of 0, losses moved by 0.5% of it in 30 steps, and fell by 10% and more in sound runs.
FELL = 0.03
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
# One before training, and two that it had time to improve.
MIN_VALIDATIONS = 3


def findings(run: RunLog) -> Iterator[Finding]:
    """Everything that the run warns of."""
    yield from _learning(run)
    for stage in run.stages:
        yield from _few_negatives(stage)


def _learning(run: RunLog) -> Iterator[Finding]:
    """The first thing that went wrong: what follows comes from it, and its own remedy would be another."""
    if run.failed is not None:
        error = run.failed.split(": ")[0]  # what it advises is the remedy below
        yield _finding(Fault.DIVERGED, Severity.ERROR, error, _slower(run, run.stages[-1] if run.stages else None))
        return
    for stage in run.stages:
        if problem := _divergence(stage):
            yield _finding(Fault.DIVERGED, Severity.ERROR, problem, _slower(run, stage))
            return
        if problem := _collapse(stage):
            yield _finding(Fault.COLLAPSING, Severity.ERROR, problem, f"{_slower(run, stage)}: it does not come back")
            return
        if unlearned := [*_unlearned(run, stage)] or [*_validation(run, stage)]:
            yield from unlearned
            return


def _judgeable(stage: StageLog) -> bool:
    return stage.steps >= MIN_STEPS and stage.steps >= MIN_PROGRESS * stage.planned


def _divergence(stage: StageLog) -> str | None:
    for name, curve in stage.curves.items():
        if curve.not_finite is not None:
            return f"{words(name)} is not finite at step {curve.not_finite:,}{_of(stage)}"
    for name, curve in stage.losses.items() if _judgeable(stage) else ():
        begin, end = curve.part(0.0, 0.1), curve.part(0.9, 1.0)
        known = max(begin.mean, stage.chance(name) or 0.0)
        if end.mean - Z * end.error > DIVERGED * known:
            return f"{words(name)} rose to {end.mean:.3g}{_of(stage)}; a model that knows nothing has {known:.3g}"
    return None


def _unlearned(run: RunLog, stage: StageLog) -> Iterator[Finding]:
    for name, curve in stage.losses.items() if _judgeable(stage) else ():
        chance = stage.chance(name)
        if chance is not None and (_at_chance(curve, chance) or (stage.is_contrastive and _is_flat(curve, chance))):
            remedy = (
                f"raise {_rate(run, stage)} or the number of steps, and look at the corpus: "
                "`ubm-embed inspect --corpus DIR`"
            )
            problem = (
                f"{words(name)} is {curve.part(0.9, 1.0).mean:.3f} after {stage.steps:,} steps{_of(stage)} and was "
                f"{curve.part(0.0, 0.1).mean:.3f}; a model that knows nothing has {chance:.3f}"
                f"{_candidates(stage, chance)}"
            )
            yield _finding(Fault.NOT_LEARNING, Severity.WARNING, problem, remedy)


def _at_chance(curve: Curve, chance: float) -> bool:
    """Whether the loss is surely not much below its chance level."""
    end = curve.part(0.9, 1.0)
    return end.mean - Z * end.error > (1 - LEARNED) * chance


def _is_flat(curve: Curve, chance: float) -> bool:
    """Whether the loss surely fell by little, and not because there was little left to learn."""
    begin, end = curve.part(0.0, 0.1), curve.part(0.9, 1.0)
    return end.mean > SOLVED * chance and begin.mean - end.mean + Z * math.hypot(begin.error, end.error) < FELL * chance


def _candidates(stage: StageLog, chance: float) -> str:
    return "" if stage.number is None else f", the logarithm of {math.exp(chance):,.0f} candidates"


def _collapse(stage: StageLog) -> str | None:
    # The vectors that a head reads a single number from may come to lie on a line.
    if not _judgeable(stage) or not stage.is_contrastive or (curve := stage.curve("uniformity")) is None:
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
    yield _finding(Fault.TOO_FEW_NEGATIVES, Severity.WARNING, problem, f"raise `{option}`")


def _validation(run: RunLog, stage: StageLog) -> Iterator[Finding]:
    """Of fine-tuning: no validation was better than the one before the first step."""
    losses, hits = stage.curve("validation_loss"), stage.curve("validation_hit_at_10")
    if losses is None or losses.count < MIN_VALIDATIONS or losses.first.x > 0:
        return
    if losses.first.y <= losses.lowest and (hits is None or hits.first.y >= hits.highest):
        seen = f"none of {losses.count} validations was better than that before the first step"
        remedy = _slower(run, stage)
        yield _finding(Fault.NOT_LEARNING, Severity.WARNING, f"{seen}, whose loss is {losses.first.y:.3f}", remedy)


def _slower(run: RunLog, stage: StageLog | None) -> str:
    return f"lower {_rate(run, stage)} and start over with `--restart`"


def _rate(run: RunLog, stage: StageLog | None) -> str:
    """The option that sets the learning rate of a stage, and its value."""
    is_own = stage is not None and stage.number == 2 and run.settings.get("session_learning_rate") is not None
    name = "session_learning_rate" if is_own else "learning_rate"
    value = run.settings.get(name)
    now = f" (now {value:g})" if isinstance(value, int | float) else ""
    return f"`--{name.replace('_', '-')}`{now}"


def _of(stage: StageLog) -> str:
    return "" if stage.number is None and not stage.refit else f" in {stage.title}"


def words(name: str) -> str:
    """The name of a curve in words."""
    return name.replace("_", " ").replace("hit at 10", "hit@10").replace("num masked", "masked")


def _finding(fault: Fault, severity: Severity, problem: str, remedy: str) -> Finding:
    return Finding(fault, severity, SECTION, problem, remedy)
