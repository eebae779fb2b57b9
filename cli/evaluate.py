"""`ubm-embed evaluate`: the quality of the answers, beside simple baselines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import Format, choose_format, progress, say, write_json, write_json_line, write_table
from cli.device import device_option, usable_device
from cli.process import set_up_process
from ubm_embed.data.tasks.task import Task
from ubm_embed.training.settings import MAX_SEED

if TYPE_CHECKING:
    from ubm_embed.evaluation.evaluation import Evaluation
    from ubm_embed.evaluation.metric_summary import MetricSummary


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    task: Annotated[Task, typer.Argument(help="nip: next item; pip: purchase intention; rlp: remaining length.")],
    model: Annotated[Path, typer.Option("--model", metavar="DIR", help="The model folder.")],
    corpus: Annotated[
        Path, typer.Option("--corpus", metavar="DIR", help="The corpus it was trained on, or a later one.")
    ],
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="DIR", help="Another model, compared with the first example by example."),
    ] = None,
    max_examples: Annotated[
        int, typer.Option("--max-examples", min=2, help="Above this number, examples are drawn at random.")
    ] = 10_000,
    repeats: Annotated[
        bool | None,
        typer.Option(
            "--repeats/--no-repeats",
            help="nip: also take products that the session already holds as targets; default: as in fine-tuning.",
        ),
    ] = None,
    min_interactions: Annotated[
        int | None,
        typer.Option("--min-interactions", min=1, help="pip, rlp: the shortest prefix; default: as in fine-tuning."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=MAX_SEED, help="Seed of the cuts and of the draw of examples.")
    ] = 0,
    device: Annotated[str, device_option()] = "auto",
    output: Annotated[Format | None, typer.Option("--format", help="How to write the result.")] = None,
) -> None:
    """Evaluate a model on sessions that training has not seen, beside simple baselines.

    Each session is cut at random. nip: which product comes next, out of the whole catalogue, ties counted against the
    model, which answers with counts of the training part and, in a row of its own, without; pip: whether a purchase
    follows; rlp: how many interactions follow. Intervals are 95% bootstrap intervals.
    JSON also has the p-values of a paired test, the results by how often training saw the answer, and the leak report.
    """
    from ubm_embed.data.corpus import Corpus
    from ubm_embed.evaluation.evaluation import evaluate as measure
    from ubm_embed.model.checkpoint import Checkpoint

    target = usable_device(device)
    checkpoint = Checkpoint.from_pretrained(model)
    other = None if against is None else Checkpoint.from_pretrained(against)
    set_up_process()
    with progress() as report_progress:
        evaluation = measure(
            task,
            Corpus.open(corpus),
            checkpoint,
            against=other,
            max_examples=max_examples,
            seed=seed,
            repeats=repeats,
            min_interactions=min_interactions,
            device=target,
            progress=report_progress,
        )
    say(str(evaluation.corpus))
    say(str(evaluation.leaks))
    write_evaluation(evaluation, choose_format(output))


def write_evaluation(evaluation: Evaluation, output: Format) -> None:
    """Write the table of a task to stdout."""
    if output is Format.JSON:
        write_json(evaluation.to_dict())
    elif output is Format.JSONL:
        for row in evaluation.rows:
            write_json_line(row.to_dict())
    else:
        from ubm_embed.evaluation.task_metrics import metric_label

        names = list(evaluation.rows[0].metrics)
        title = f"{evaluation.examples:,} examples; ± is half of the 95% interval"
        write_table(
            ("model", *map(metric_label, names)),
            ([row.name, *_cells(row, names)] for row in evaluation.rows),
            title=title,
        )
        if evaluation.rows[0].bands:
            _write_bands(evaluation)
        say("* differs from the first row, p < 0.05, paired randomisation test")


def _cells(row: MetricSummary, names: list[str]) -> Iterator[str]:
    for name in names:
        low, high = row.intervals[name]
        differs = row.p_values is not None and row.p_values[name] < 0.05
        yield f"{row.metrics[name]:.4f}{'*' if differs else ' '}±{(high - low) / 2:.3f}"


def _write_bands(evaluation: Evaluation) -> None:
    """Write hit@10 by how often training saw the answer."""
    bands = [band.label for band in evaluation.rows[0].bands]
    rows = ([row.name, *(f"{band.metrics['hit@10']:.4f}" for band in row.bands)] for row in evaluation.rows)
    counts = ["examples", *(f"{band.examples:,}" for band in evaluation.rows[0].bands)]
    write_table(("seen in training", *bands), [counts, *rows], title="hit@10 by how often training saw the answer")
