"""`ubm-embed finetune`: a pre-trained model to one that answers a task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import progress, say, warn
from cli.device import device_option, usable_device
from cli.process import set_up_process
from cli.run_options import RUN, Overwrite, Restart, Resume, Track, require_one
from cli.settings_options import OptionsOf, usage_error, with_options
from ubm_embed.data.tasks.task import Task
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.recipes import Recipe, finetuning_config

if TYPE_CHECKING:
    from ubm_embed.model.checkpoint import Checkpoint

# Of a text encoder on a CPU; the paper has four.
_MAX_TRAINED_LAYERS = 4


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("finetune")(with_options(finetune))


def finetune(
    *,
    task: Annotated[Task, typer.Argument(help="nip: next item; pip: purchase intention; rlp: remaining length.")],
    model: Annotated[Path, typer.Option("--model", metavar="DIR", help="The pre-trained model folder.")],
    corpus: Annotated[Path, typer.Option("--corpus", metavar="DIR", help="The corpus to learn from.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The model folder to write.")],
    recipe: Annotated[
        Recipe | None,
        typer.Option(
            "--recipe",
            help="Values of the settings that you do not give: ours or the paper's; default: ours, or for nip the "
            "one that fits the model.",
        ),
    ] = None,
    settings: Annotated[dict[str, Any], OptionsOf(FinetuningConfig)],
    device: Annotated[str, device_option(RUN)] = "auto",
    resume: Resume = False,
    restart: Restart = False,
    overwrite: Overwrite = False,
    track: Track = None,
) -> None:
    """Fine-tune a model for one task and write the weights that do best on the validation part.

    Settings that are not given are the recipe's. --recipe shop ends by itself when validation stops improving; for nip
    it then trains once more for as many steps, with the validation part (--no-refit leaves that out).
    """
    from ubm_embed.data.corpus import Corpus
    from ubm_embed.model.checkpoint import Checkpoint
    from ubm_embed.outputs import require_free
    from ubm_embed.training.finetuning.finetune import finetune as train
    from ubm_embed.training.tracking.tracking import open_trackers

    require_one(resume=resume, restart=restart)
    require_free(out, overwrite=overwrite)
    trackers = open_trackers(track or [], out)
    checkpoint = Checkpoint.from_pretrained(model)
    recipe = recipe or _fitting_recipe(checkpoint, task)
    if not checkpoint.model.config.causal and task is not Task.NIP and settings.get("all_positions") is None:
        settings = settings | {"all_positions": False}  # which a model that reads sessions both ways cannot do
    target = usable_device(device)
    say(f"recipe: {recipe}")
    if recipe is Recipe.SHOP and target == "cpu" and _is_slow_to_train(checkpoint, task, settings):
        settings = settings | {"read_texts_every": 0}
        say("each text is read once, and the text encoder stays as it is; --read-texts-every 1 trains it, too")
    try:
        config = finetuning_config(recipe, task, **settings)
    except ValueError as error:
        raise usage_error(error, FinetuningConfig) from None
    opened = Corpus.open(corpus)
    set_up_process()
    run: dict[str, Any] = {"device": target, "resume": resume, "restart": restart, "overwrite": overwrite}
    run |= {"trackers": trackers, "notice": warn}
    with progress() as report_progress:
        made = train(opened, checkpoint, out, config, progress=report_progress, **run)
    _report(out, made.model_id, made.record)


def _fitting_recipe(checkpoint: Checkpoint, task: Task) -> Recipe:
    """Ours, unless the model reads sessions both ways: ours for next items needs a causal one."""
    return Recipe.SHOP if checkpoint.model.config.causal or task is not Task.NIP else Recipe.PAPER


def _is_slow_to_train(checkpoint: Checkpoint, task: Task, settings: Mapping[str, Any]) -> bool:
    """Whether a step that trains the text encoder would take many seconds, and nobody has asked for that."""
    if settings.get("read_texts_every") is not None or settings.get("only_session_encoder"):
        return False
    only_head = settings.get("only_head")
    if only_head or (only_head is None and task is Task.PIP):  # as the recipe has it
        return False
    return int(checkpoint.model.interaction_encoder.encoder.config.num_hidden_layers) > _MAX_TRAINED_LAYERS


def _report(out: Path, model_id: str, record: Mapping[str, Any]) -> None:
    from ubm_embed.data.tasks.leaks import LeakReport

    result = record["finetuning"]
    if not result["step"]:
        warn("no step of training improved validation: the weights written are those before the first step")
    say(str(LeakReport.from_dict(record["leaks"])))
    names = [name for name in result if name.startswith("validation_") and isinstance(result[name], float)]
    metrics = ", ".join(f"{name.replace('_', ' ')} {result[name]:.4f}" for name in names)
    again = (
        f", trained anew with the validation part for {result['refit_steps']} steps" if result["refit_steps"] else ""
    )
    say(f"{out}: model {model_id}, {metrics} after step {result['step']}{again}, {result['seconds']:.0f} s")
