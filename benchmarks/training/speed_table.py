"""The table of `benchmarks.training.pretraining_speed`, made of its report. Figures are medians over the rounds."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.report import markdown_table

UNITS = {1: "pairs", 2: "sessions"}
LABELS = {
    "ours": "ours",
    "sentence-transformers": "sentence-transformers",
    "occurrences": "longest, interactions only",
    "longest": "padded to the longest",
    "plain": "padded to 32 x 64",
}
COLUMNS = (
    "stage, form",
    "examples/s",
    "ours is faster",
    "s a step",
    "of it reading",
    "GFLOP/s",
    "of the ceiling",
    "places for tokens",
    "padding",
    "interactions",
)


def table(report: dict[str, Any]) -> str:
    """One row a form and stage; "ours is faster" is the median of the rounds' ratios of whole steps."""
    rows = [_row(stage, form, report["ceiling"]) for stage in report["stages"] for form in stage["rounds"][0]["forms"]]
    return markdown_table(COLUMNS, rows)


def _row(stage: dict[str, Any], form: str, ceilings: dict[str, Any]) -> tuple[str, ...]:
    rounds = stage["rounds"]
    of = [one["forms"][form] for one in rounds]
    rate = median(one["examples"] / _whole(one["forms"][form]) for one in rounds)
    flops = median(one["flops"] / one["seconds"] for one in of)
    return (
        f"{stage['stage']}, {_label(form)}",
        f"{rate:,.1f} {UNITS[stage['stage']]}",
        f"{_ratio(rounds, form, _base(stage)):.1f} x",
        f"{median(_whole(one) for one in of):.3f}",
        f"{median(one['reading_seconds'] / _whole(one) for one in of):.1%}",
        f"{flops / 1e9:,.0f}",
        f"{flops / ceilings[_precision(form)]['flops']:.0%}",
        f"{median(one['places'] for one in of):,.0f}",
        f"{median(1 - one['tokens'] / one['places'] for one in of):.0%}",
        f"{median(one['interactions'] for one in of):,.0f}",
    )


def _whole(taken: dict[str, float]) -> float:
    """Seconds of a step, reading and all."""
    return taken["reading_seconds"] + taken["seconds"]


def _ratio(rounds: list[dict[str, Any]], form: str, base: str) -> float:
    """How many times as long a step of `form` takes as one of `base`."""
    return median(_whole(one["forms"][form]) / _whole(one["forms"][base]) for one in rounds)


def _base(stage: dict[str, Any]) -> str:
    """Ours in the number format that it takes by itself: the first form."""
    return str(next(iter(stage["rounds"][0]["forms"])))


def _precision(form: str) -> str:
    return form.rsplit(" ", 1)[1]


def _label(form: str) -> str:
    kind, precision = form.rsplit(" ", 1)
    return f"{LABELS[kind]}, {precision}"


def notes(report: dict[str, Any]) -> str:
    """What a reader of the table should know besides, a line each."""
    ceilings = ", ".join(f"{value['flops'] / 1e9:,.0f} in {name}" for name, value in report["ceiling"].items())
    lines = [f"- The ceiling, GFLOP/s of a large matrix product in the same run: {ceilings}."]
    if report["lacking"]:
        lines.append(f"- sentence-transformers is left out: not installed were {', '.join(report['lacking'])}.")
    return "\n".join([*lines, *(line for stage in report["stages"] for line in _notes(stage))])


def _notes(stage: dict[str, Any]) -> Iterator[str]:
    rounds, number, unit = stage["rounds"], stage["stage"], UNITS[stage["stage"]]
    base = _base(stage)
    share = median(one["forms"][base]["reading_seconds"] / _whole(one["forms"][base]) for one in rounds)
    distinct = median(_distinct(one["forms"], base) for one in rounds)
    yield (
        f"- Stage {number}: {rounds[0]['examples']} {unit} a step, medians of {len(rounds)}. Ours encodes "
        f"{distinct:.0%} of the interactions. Drawing, masking and packing take {share:.1%} of its step."
    )
    yield from _within_formats(stage)
    counted = stage["paper_batch"]
    ours = counted["forms"]["ours"]["places"]
    others = [f"{LABELS[kind]} {form['places'] / ours:.1f} x" for kind, form in counted["forms"].items()][1:]
    yield (
        f"- Stage {number}, counted for {counted['examples']} {unit} a step and not run: ours would encode "
        f"{_distinct(counted['forms'], 'ours'):.0%} of the interactions; places for tokens against ours: "
        f"{', '.join(others) or 'no other form'}."
    )


def _within_formats(stage: dict[str, Any]) -> Iterator[str]:
    """How much faster ours is than the forms of its own number format, for each but the one it takes by itself."""
    forms, base = list(stage["rounds"][0]["forms"]), _base(stage)
    for precision in dict.fromkeys(map(_precision, forms)):
        ours = f"ours {precision}"
        others = [form for form in forms if _precision(form) == precision and form != ours]
        if ours != base and others:
            ratios = ", ".join(
                f"{LABELS[form.rsplit(' ', 1)[0]]} {_ratio(stage['rounds'], form, ours):.1f} x" for form in others
            )
            yield f"- Stage {stage['stage']}, {precision} against {precision}: {ratios}."


def _distinct(forms: dict[str, Any], ours: str) -> float:
    """Ours encodes each distinct interaction, every padded form each occurrence."""
    return float(forms[ours]["interactions"] / max(form["interactions"] for form in forms.values()))
