"""`ubm-embed finetune`: a pre-trained model to one that answers a task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.choices import Precision, SplitBy, Task, device_of
from cli.console import progress, say, warn

if TYPE_CHECKING:
    from ubm_embed.training.finetuning_config import FinetuningConfig

_TRAINING, _TASK, _RUN = "Training", "Task", "Run"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("finetune")(finetune)


def finetune(
    task: Annotated[Task, typer.Argument(help="nip: next item; pip: purchase intention; rlp: remaining length.")],
    model: Annotated[Path, typer.Option("--model", metavar="DIR", help="The pre-trained model folder.")],
    corpus: Annotated[Path, typer.Option("--corpus", metavar="DIR", help="The corpus to learn from.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The model folder to write.")],
    only_session_encoder: Annotated[
        bool,
        typer.Option(
            "--only-session-encoder",
            help="Read interactions once and train only what stands on them: minutes on a CPU.",
            rich_help_panel=_TRAINING,
        ),
    ] = False,
    train_products: Annotated[
        bool,
        typer.Option(
            "--train-products",
            help="nip: train product vectors along; the paper holds sessions against the pre-trained ones.",
            rich_help_panel=_TRAINING,
        ),
    ] = False,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="At most.", rich_help_panel=_TRAINING)] = 30,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", min=1, help="At most.", rich_help_panel=_TRAINING)
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Examples a step.", rich_help_panel=_TRAINING)] = 32,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", help="Peak; 10% warm-up, linear decrease.", rich_help_panel=_TRAINING)
    ] = 3e-5,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience",
            min=1,
            help="Stop after so many looks at the validation part without a new best.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    validation_steps: Annotated[
        int | None,
        typer.Option(
            "--validation-steps", min=1, help="Steps between two looks; default: an epoch.", rich_help_panel=_TRAINING
        ),
    ] = None,
    negatives: Annotated[
        int | None,
        typer.Option(
            "--negatives",
            min=0,
            help="nip: products drawn a step, 0 for all; default: all where that is cheap.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option("--precision", help="auto: bfloat16 where the hardware has it.", rich_help_panel=_TRAINING),
    ] = Precision.AUTO,
    least_count: Annotated[
        int,
        typer.Option(
            "--least-count", min=1, help="nip: answers seen less often are not trained on.", rich_help_panel=_TASK
        ),
    ] = 5,
    per_session: Annotated[
        int,
        typer.Option(
            "--per-session", min=1, help="nip: questions a session gives to an epoch, at most.", rich_help_panel=_TASK
        ),
    ] = 8,
    repeats: Annotated[
        bool,
        typer.Option(
            "--repeats", help="nip: also ask for products that the session holds already.", rich_help_panel=_TASK
        ),
    ] = False,
    least: Annotated[
        int,
        typer.Option("--least", min=1, help="pip, rlp: interactions to read, at least.", rich_help_panel=_TASK),
    ] = 5,
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
    """Fine-tune a model for one task; the weights with the least validation loss are written.

    The defaults are the paper's and mean a GPU. On two cores: --only-session-encoder --learning-rate 1e-3 --patience 3.
    """
    from ubm_embed.data.corpus import Corpus
    from ubm_embed.model.checkpoint import Checkpoint
    from ubm_embed.outputs import require_free
    from ubm_embed.training.finetuning import finetune as train

    require_free(out, overwrite=overwrite)
    config = _config(
        task=task,
        epochs=epochs,
        max_steps=max_steps,
        batch=batch,
        learning_rate=learning_rate,
        validation_steps=validation_steps,
        patience=patience,
        only_session_encoder=only_session_encoder,
        train_products=train_products,
        negatives=negatives,
        least_count=least_count,
        per_session=per_session,
        repeats=repeats,
        least=least,
        split=split.value,
        holdout=holdout,
        precision=precision.value,
        seed=seed,
    )
    target = device_of(device)
    checkpoint, opened = Checkpoint.from_pretrained(model), Corpus.open(corpus)
    with progress() as shown:
        made = train(opened, checkpoint, out, config, device=target, overwrite=overwrite, resume=resume, progress=shown)
    _tell(out, made.model_id, made.record)


def _config(*, task: Task, **settings: Any) -> FinetuningConfig:
    from ubm_embed.data.tasks import Task as Asked
    from ubm_embed.training.finetuning_config import FinetuningConfig

    try:
        return FinetuningConfig(task=Asked(task.value), **settings)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _tell(out: Path, model_id: str, record: Any) -> None:
    from ubm_embed.data.leaks import LeakReport

    tuned = record["finetuning"]
    if not tuned["step"]:
        warn("training gained nothing on the validation part: what was written is the model as it was")
    say(str(LeakReport(**record["leaks"])))
    say(
        f"{out}: model {model_id}, validation loss {tuned['validation_loss']:.4f} after step {tuned['step']}, "
        f"{tuned['seconds']:.0f} s"
    )
