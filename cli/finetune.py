"""`ubm-embed finetune`: a pre-trained model to one that answers a task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.choices import Precision, Recipe, SplitBy, Task, device_of
from cli.console import progress, say, warn

if TYPE_CHECKING:
    from ubm_embed.model.checkpoint import Checkpoint
    from ubm_embed.training.finetuning.config import FinetuningConfig

_TRAINING, _TASK, _RUN = "Training", "Task", "Run"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("finetune")(finetune)


def finetune(
    task: Annotated[Task, typer.Argument(help="nip: next item; pip: purchase intention; rlp: remaining length.")],
    model: Annotated[Path, typer.Option("--model", metavar="DIR", help="The pre-trained model folder.")],
    corpus: Annotated[Path, typer.Option("--corpus", metavar="DIR", help="The corpus to learn from.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The model folder to write.")],
    recipe: Annotated[
        Recipe | None,
        typer.Option(
            "--recipe",
            help="What is not set here: ours or the paper's; default: as pre-trained.",
        ),
    ] = None,
    only_session_encoder: Annotated[
        bool,
        typer.Option(
            "--only-session-encoder",
            help="Read interactions once and train only what stands on them: minutes on a CPU.",
            rich_help_panel=_TRAINING,
        ),
    ] = False,
    train_products: Annotated[
        bool | None,
        typer.Option(
            "--train-products/--fixed-products",
            help="nip: whether product vectors are trained along; the paper holds sessions against pre-trained ones.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    every_place: Annotated[
        bool | None,
        typer.Option(
            "--every-place/--one-by-one",
            help="nip: whether a session is asked at each of its places at once, by a model that reads causally.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    known_texts: Annotated[
        bool | None,
        typer.Option(
            "--known-texts/--words-only",
            help="nip: whether a vector is learned for each product that training has seen, beside its words.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="At most.", rich_help_panel=_TRAINING)] = None,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", min=1, help="At most.", rich_help_panel=_TRAINING)
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch", min=1, help="Examples a step; with --every-place sessions.", rich_help_panel=_TRAINING),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Peak, after a warm-up.", rich_help_panel=_TRAINING)
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience",
            min=1,
            help="Bring it to an end after so many looks at the validation part without gain in hit@10 or loss.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    validation_steps: Annotated[
        int | None,
        typer.Option("--validation-steps", min=1, help="Steps between two looks.", rich_help_panel=_TRAINING),
    ] = None,
    negatives: Annotated[
        int | None,
        typer.Option(
            "--negatives",
            min=0,
            help="nip: products drawn a step, 0 for all.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option("--precision", help="auto: bfloat16 where the hardware has it.", rich_help_panel=_TRAINING),
    ] = Precision.AUTO,
    chunk_tokens: Annotated[
        int | None,
        typer.Option(
            "--chunk-tokens",
            min=1,
            help="Tokens of a step in memory at once: fewer need less memory and more time; by default by the "
            "encoder's size.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    least_count: Annotated[
        int | None,
        typer.Option(
            "--least-count", min=1, help="nip: answers seen less often are not trained on.", rich_help_panel=_TASK
        ),
    ] = None,
    per_session: Annotated[
        int | None,
        typer.Option(
            "--per-session",
            min=1,
            help="nip: questions a session gives to an epoch, at most, where they are asked one by one.",
            rich_help_panel=_TASK,
        ),
    ] = None,
    repeats: Annotated[
        bool | None,
        typer.Option(
            "--repeats/--no-repeats",
            help="nip: also ask for products that the session holds already.",
            rich_help_panel=_TASK,
        ),
    ] = None,
    least: Annotated[
        int | None,
        typer.Option("--least", min=1, help="pip, rlp: interactions to read, at least.", rich_help_panel=_TASK),
    ] = None,
    split: Annotated[
        SplitBy,
        typer.Option(
            "--split",
            help="How to split a corpus that the model was not pre-trained on; auto: by time where there are times.",
            rich_help_panel=_TASK,
        ),
    ] = SplitBy.AUTO,
    holdout: Annotated[
        float | None,
        typer.Option(
            "--holdout",
            help="Share of such a corpus to choose and judge by, half each; default: a tenth.",
            rich_help_panel=_TASK,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds, equal models.", rich_help_panel=_RUN)] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...", rich_help_panel=_RUN)] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was cut off.", rich_help_panel=_RUN)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is at --out.", rich_help_panel=_RUN)
    ] = False,
) -> None:
    """Fine-tune a model for one task; the weights that do best on the validation part are written.

    Settings that are not given are the recipe's. --recipe shop ends by itself once the validation part gains no more.
    """
    from ubm_embed.data.corpus import Corpus
    from ubm_embed.model.checkpoint import Checkpoint
    from ubm_embed.outputs import require_free
    from ubm_embed.training.finetuning.finetune import finetune as train

    require_free(out, overwrite=overwrite)
    checkpoint = Checkpoint.from_pretrained(model)
    config = _config(
        checkpoint,
        recipe,
        task,
        only_session_encoder=only_session_encoder,
        epochs=epochs,
        max_steps=max_steps,
        batch=batch,
        learning_rate=learning_rate,
        validation_steps=validation_steps,
        patience=patience,
        train_products=train_products,
        every_place=every_place,
        known_texts=known_texts,
        negatives=negatives,
        least_count=least_count,
        per_session=per_session,
        repeats=repeats,
        least=least,
        split=split.value,
        holdout=holdout,
        precision=precision.value,
        chunk_tokens=chunk_tokens,
        seed=seed,
    )
    target = device_of(device)
    opened = Corpus.open(corpus)
    with progress() as shown:
        made = train(opened, checkpoint, out, config, device=target, overwrite=overwrite, resume=resume, progress=shown)
    _tell(out, made.model_id, made.record)


def _config(checkpoint: Checkpoint, recipe: Recipe | None, task: Task, **settings: Any) -> FinetuningConfig:
    from ubm_embed.data.tasks.examples import Task as Asked
    from ubm_embed.training.recipes import Recipe as Known
    from ubm_embed.training.recipes import finetuning_config

    fits = checkpoint.model.config.causal or task is not Task.NIP
    chosen = Known(recipe) if recipe is not None else Known.SHOP if fits else Known.PAPER
    say(f"recipe: {chosen}")
    try:
        return finetuning_config(chosen, Asked(task.value), **settings)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _tell(out: Path, model_id: str, record: Any) -> None:
    from ubm_embed.data.tasks.leaks import LeakReport

    tuned = record["finetuning"]
    if not tuned["step"]:
        warn("no step of training gained on the validation part: what was written is the model before the first one")
    say(str(LeakReport(**record["leaks"])))
    names = [name for name in tuned if name.startswith("validation_") and isinstance(tuned[name], float)]
    shown = ", ".join(f"{name.replace('_', ' ')} {tuned[name]:.4f}" for name in names)
    say(f"{out}: model {model_id}, {shown} after step {tuned['step']}, {tuned['seconds']:.0f} s")
