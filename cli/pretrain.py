"""`ubm-embed pretrain`: a corpus to a model."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.choices import Precision, Recipe, SplitBy, device_of
from cli.console import progress, say

if TYPE_CHECKING:
    import torch

    from ubm_embed.data.corpus import Corpus
    from ubm_embed.training.pretraining.config import PretrainingConfig

_TRAINING, _MODEL, _RUN = "Training", "Model", "Run"

# What pre-trained layers know is worth more of them than a shop can train from scratch; the paper takes 4.
_LAYERS_OF_CHECKPOINT = 4


class Stage(enum.StrEnum):
    """Which stages to run."""

    ONE = "1"
    TWO = "2"
    ALL = "all"


class Loss(enum.StrEnum):
    """The four losses, equations 1 to 4."""

    ITEM_TOKEN_MASKING = "item_token_masking"
    NEXT_ITEM_PAIRING = "next_item_pairing"
    INTERACTION_REORDERING = "interaction_reordering"
    ACTION_AND_ITEM_TOKEN_MASKING = "action_and_item_token_masking"


class Denominator(enum.StrEnum):
    """Whether the positive pair stands in the denominator of equations 1 to 4."""

    INFONCE = "infonce"
    PRINTED = "printed"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("pretrain")(pretrain)


def pretrain(
    corpus: Annotated[Path, typer.Option("--corpus", metavar="DIR", help="The corpus folder to learn from.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The model folder to write.")],
    recipe: Annotated[
        Recipe, typer.Option("--recipe", help="What is not set here: ours for shops of any size, or the paper's.")
    ] = Recipe.SHOP,
    stage: Annotated[Stage, typer.Option("--stage", help="Stages to run.")] = Stage.ALL,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="DIR_OR_NAME",
            help="Start from a BERT-like checkpoint or from a UBM, a folder or a hub name; else from scratch.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option("--layers", min=1, help="Layers of the interaction encoder; 4 of --init.", rich_help_panel=_MODEL),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option("--width", min=4, help="Its hidden size, where it starts from scratch.", rich_help_panel=_MODEL),
    ] = None,
    session_layers: Annotated[
        int | None,
        typer.Option("--session-layers", min=1, help="Layers of the session encoder.", rich_help_panel=_MODEL),
    ] = None,
    dropout: Annotated[
        float, typer.Option("--dropout", min=0, max=0.9, help="Dropout masking.", rich_help_panel=_MODEL)
    ] = 0.1,
    vocab: Annotated[
        Path | None,
        typer.Option(
            "--vocab",
            metavar="FILE_OR_DIR",
            help="A BERT vocabulary to use, where it starts from scratch; else one is learned from the corpus.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    vocab_size: Annotated[
        int, typer.Option("--vocab-size", min=64, help="Tokens of a learned vocabulary.", rich_help_panel=_MODEL)
    ] = 8192,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Of each stage.", rich_help_panel=_TRAINING)
    ] = None,
    max_steps: Annotated[
        int | None,
        typer.Option("--max-steps", min=1, help="At most so many steps of each stage.", rich_help_panel=_TRAINING),
    ] = None,
    session_max_steps: Annotated[
        int | None,
        typer.Option("--session-max-steps", min=1, help="The same for stage 2 alone.", rich_help_panel=_TRAINING),
    ] = None,
    item_batch: Annotated[
        int | None, typer.Option("--item-batch", min=2, help="Pairs a step in stage 1.", rich_help_panel=_TRAINING)
    ] = None,
    session_batch: Annotated[
        int | None,
        typer.Option("--session-batch", min=2, help="Sessions a step in stage 2.", rich_help_panel=_TRAINING),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", help="Peak; linear warm-up and decrease.", rich_help_panel=_TRAINING),
    ] = None,
    session_learning_rate: Annotated[
        float | None,
        typer.Option("--session-learning-rate", help="The same for stage 2.", rich_help_panel=_TRAINING),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Of the contrastive losses.", rich_help_panel=_TRAINING)
    ] = None,
    without_loss: Annotated[
        list[Loss] | None,
        typer.Option("--without-loss", help="Leave a loss out; may be given again.", rich_help_panel=_TRAINING),
    ] = None,
    denominator: Annotated[
        Denominator | None,
        typer.Option(
            "--denominator",
            help="infonce has the positive pair in it, printed is as the paper prints it.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    pairs_per_session: Annotated[
        int | None,
        typer.Option(
            "--pairs-per-session",
            min=1,
            help="Next item pairs a session gives to an epoch, at most.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    item_actions: Annotated[
        bool | None,
        typer.Option(
            "--item-actions/--no-item-actions",
            help="Whether stage 1 reads items with the action they had; the paper reads them alone.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    purchases_only: Annotated[
        bool | None,
        typer.Option(
            "--purchases-only/--all-sessions",
            help="Whether only sessions with a purchase are read, as in the paper.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    holdout: Annotated[
        float,
        typer.Option(
            "--holdout",
            min=0,
            max=0.9,
            help="Share of the sessions to keep out of training: half chooses, half judges.",
            rich_help_panel=_TRAINING,
        ),
    ] = 0.1,
    split: Annotated[
        SplitBy,
        typer.Option(
            "--split",
            help="Which are held out; auto: the latest where the log has times, else by a hash of the session's id.",
            rich_help_panel=_TRAINING,
        ),
    ] = SplitBy.AUTO,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same model.", rich_help_panel=_RUN)] = 0,
    precision: Annotated[
        Precision,
        typer.Option("--precision", help="auto: bfloat16 where the hardware has it.", rich_help_panel=_RUN),
    ] = Precision.AUTO,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...", rich_help_panel=_RUN)] = "auto",
    chunk_tokens: Annotated[
        int | None,
        typer.Option(
            "--chunk-tokens",
            min=1,
            help="Tokens of a batch in memory at once: fewer need less memory and more time; 262144 on a GPU, 32768 "
            "on a CPU.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    checkpoint_steps: Annotated[
        int, typer.Option("--checkpoint-steps", min=1, help="Keep the state this often.", rich_help_panel=_RUN)
    ] = 50,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that was cut off.", rich_help_panel=_RUN)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is at --out.", rich_help_panel=_RUN)
    ] = False,
) -> None:
    """Pre-train a User Behavior Model on a corpus, in the paper's two stages.

    Settings that are not given are the recipe's. --recipe paper means millions of sessions and a pre-trained BERT.

    On several GPUs: torchrun --nproc-per-node 2 -m cli pretrain ...
    """
    from ubm_embed.data.corpus import Corpus
    from ubm_embed.outputs import require_free
    from ubm_embed.training.pretraining.pretrain import pretrain as train
    from ubm_embed.training.pretraining.stages import LOSSES
    from ubm_embed.training.processes import joined
    from ubm_embed.training.recipes import Recipe as Known
    from ubm_embed.training.recipes import model_settings, pretraining_config

    require_free(out, overwrite=overwrite)
    left_out = {loss.value for loss in without_loss or ()}
    try:
        config = pretraining_config(
            Known(recipe),
            stages=(1, 2) if stage is Stage.ALL else (int(stage.value),),
            losses=tuple(name for name in LOSSES if name not in left_out),
            item_batch=item_batch,
            session_batch=session_batch,
            epochs=epochs,
            max_steps=max_steps,
            learning_rate=learning_rate,
            session_max_steps=session_max_steps,
            session_learning_rate=session_learning_rate,
            temperature=temperature,
            positive_in_denominator=None if denominator is None else denominator is Denominator.INFONCE,
            pairs_per_session=pairs_per_session,
            item_actions=item_actions,
            purchases_only=purchases_only,
            holdout=holdout,
            split=split.value,
            precision=precision.value,
            chunk_tokens=chunk_tokens,
            seed=seed,
            checkpoint_steps=checkpoint_steps,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    target = _device(device)
    opened = Corpus.open(corpus)
    if layers is None and init is not None:
        layers = _LAYERS_OF_CHECKPOINT
    sizes = model_settings(Known(recipe), layers=layers, width=width, session_layers=session_layers, dropout=dropout)
    model, tokenizer = _start(opened, config, init, vocab, vocab_size, sizes)
    run: dict[str, Any] = {"device": target, "overwrite": overwrite, "resume": resume}
    with joined(target) as processes, progress() as shown:
        made = train(opened, model, tokenizer, out, config, progress=shown, processes=processes, **run)
    if processes.is_first:
        say(f"{out}: model {made.model_id}, {made.record['seconds']:.0f} s")


def _device(name: str) -> torch.device:
    import torch

    from ubm_embed.training.processes import own_device, world_size

    try:
        world_size()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        return own_device(torch.device(device_of(name)))
    except ValueError as error:
        raise typer.BadParameter(f"--device: {error}") from None


def _start(
    corpus: Corpus,
    config: PretrainingConfig,
    init: str | None,
    vocab: Path | None,
    vocab_size: int,
    sizes: dict[str, Any],
) -> Any:
    from ubm_embed.model.start import fresh_model, model_from

    if init is not None:
        if vocab is not None:
            raise typer.BadParameter("--init brings its own vocabulary; --vocab goes without it")
        del sizes["width"]  # the checkpoint has its own
        return model_from(init, corpus, seed=config.seed, **sizes)
    return fresh_model(corpus, vocab=vocab, vocab_size=vocab_size, seed=config.seed, **sizes)
