"""`ubm-embed evaluate`: how good the answers are, beside simple baselines."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import Format, choose_format, progress, write_json, write_json_line, write_table

if TYPE_CHECKING:
    from ubm_embed.evaluation.next_item import NextItemResult


class Task(enum.StrEnum):
    """What is asked of a session."""

    NIP = "nip"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    task: Annotated[Task, typer.Argument(help="nip: next item prediction.")],
    model: Annotated[Path, typer.Option("--model", metavar="DIR", help="The model folder.")],
    corpus: Annotated[Path, typer.Option("--corpus", metavar="DIR", help="The corpus it was trained on.")],
    most: Annotated[int, typer.Option("--most", min=1, help="Ask at most so many sessions.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the cuts and of which sessions are asked.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    output: Annotated[Format | None, typer.Option("--format", help="How to write the result.")] = None,
) -> None:
    """Ask the sessions that training held out for their next product, over the whole catalogue.

    Each is cut at random; the target is the first product after the cut that the session does not hold yet. Ties are
    ranked against the target. Beside the model stand co-occurrence and popularity, counted on the training sessions.
    """
    from ubm_embed.data.corpus import Corpus
    from ubm_embed.embedder import Embedder
    from ubm_embed.errors import InvalidData
    from ubm_embed.evaluation.next_item import evaluate_next_item
    from ubm_embed.model.checkpoint import RECORD_FILE

    embedder = Embedder.from_pretrained(model, device=device)
    holdout = embedder.checkpoint.record.get("pretraining", {}).get("holdout")
    if not holdout:
        problem = "the model was trained on every session: none is left to ask; train with --holdout 0.1"
        raise InvalidData(problem, file=model / RECORD_FILE, field="pretraining.holdout")
    with progress() as shown:
        results = evaluate_next_item(
            Corpus.open(corpus), embedder, holdout=holdout, most=most, seed=seed, progress=shown
        )
    write_results(results, choose_format(output))


def write_results(results: list[NextItemResult], output: Format) -> None:
    """The table of next item prediction to stdout."""
    if output is Format.TABLE:
        rows = [(r.scorer, r.questions, r.hit[10], r.mrr[10], r.hit[20], r.mrr[20]) for r in results]
        write_table(("scorer", "questions", "hit@10", "MRR@10", "hit@20", "MRR@20"), rows)
    elif output is Format.JSON:
        write_json([result.to_dict() for result in results])
    else:
        for result in results:
            write_json_line(result.to_dict())
