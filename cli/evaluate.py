"""`ubm-embed evaluate`: how good the answers are, beside simple baselines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.choices import Task, device_of
from cli.console import Format, choose_format, progress, say, write_json, write_json_line, write_table

if TYPE_CHECKING:
    from ubm_embed.evaluation.evaluation import Evaluation
    from ubm_embed.evaluation.judgement import Judgement


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    task: Annotated[Task, typer.Argument(help="nip: next item; pip: purchase intention; rlp: remaining length.")],
    model: Annotated[Path, typer.Option("--model", metavar="DIR", help="The model folder.")],
    corpus: Annotated[Path, typer.Option("--corpus", metavar="DIR", help="The corpus it was trained on.")],
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="DIR", help="Another model, compared question by question with the first."),
    ] = None,
    most: Annotated[int, typer.Option("--most", min=2, help="Ask at most so many questions.")] = 10_000,
    repeats: Annotated[
        bool | None,
        typer.Option(
            "--repeats/--no-repeats",
            help="nip: also ask for products that the session holds already; default: as fine-tuning did.",
        ),
    ] = None,
    least: Annotated[
        int | None,
        typer.Option("--least", min=1, help="pip, rlp: interactions to read, at least; default: as fine-tuning did."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the cuts and of which sessions are asked.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    output: Annotated[Format | None, typer.Option("--format", help="How to write the result.")] = None,
) -> None:
    """Ask the sessions that no training has seen, and put simple baselines beside the model.

    Each session is cut at random. nip: which product comes next, out of the whole catalogue, ties ranked against the
    target; pip: whether a purchase follows; rlp: how many interactions follow. Intervals are 95% of a bootstrap; JSON
    also has p-values of a paired test, results by how often training saw the answer, and the leak report.
    """
    from ubm_embed.data.corpus import Corpus
    from ubm_embed.data.tasks.examples import Task as Asked
    from ubm_embed.evaluation.evaluation import evaluate as ask
    from ubm_embed.model.checkpoint import Checkpoint

    target = device_of(device)
    checkpoint = Checkpoint.from_pretrained(model)
    other = None if against is None else Checkpoint.from_pretrained(against)
    with progress() as shown:
        found = ask(
            Asked(task.value),
            Corpus.open(corpus),
            checkpoint,
            against=other,
            most=most,
            seed=seed,
            repeats=repeats,
            least=least,
            device=target,
            progress=shown,
        )
    say(str(found.leaks))
    write_evaluation(found, choose_format(output))


def write_evaluation(found: Evaluation, output: Format) -> None:
    """The table of a task to stdout."""
    if output is Format.JSON:
        write_json(found.to_dict())
    elif output is Format.JSONL:
        for row in found.rows:
            write_json_line(row.to_dict())
    else:
        from ubm_embed.evaluation.task_metrics import metric_label

        names = list(found.rows[0].metrics)
        title = f"{found.questions:,} questions; ± is half of the 95% interval"
        write_table(
            ("model", *map(metric_label, names)), ([row.name, *_cells(row, names)] for row in found.rows), title=title
        )
        if found.rows[0].bands:
            _write_bands(found)
        say("* differs from the first row, p < 0.05, paired randomisation test")


def _cells(row: Judgement, names: list[str]) -> Iterator[str]:
    for name in names:
        low, high = row.intervals[name]
        differs = row.p_values is not None and row.p_values[name] < 0.05
        yield f"{row.metrics[name]:.4f}{'*' if differs else ' '}±{(high - low) / 2:.3f}"


def _write_bands(found: Evaluation) -> None:
    """hit@10 by how often training saw the answer."""
    bands = [band.label for band in found.rows[0].bands]
    rows = ([row.name, *(f"{band.metrics['hit@10']:.4f}" for band in row.bands)] for row in found.rows)
    counts = ["questions", *(f"{band.questions:,}" for band in found.rows[0].bands)]
    write_table(("seen in training", *bands), [counts, *rows], title="hit@10 by how often training saw the answer")
