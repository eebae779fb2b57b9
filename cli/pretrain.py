"""`ubm-embed pretrain`: a corpus to a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import progress, say, warn
from cli.device import device_option, usable_device
from cli.process import set_up_process
from cli.run_options import RUN, Overwrite, Restart, Resume, Track, require_one
from cli.settings_options import After, OptionsOf, usage_error, with_options
from ubm_embed.training.model_sizes import ModelSizes
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.recipes import Recipe, model_sizes, pretraining_config

if TYPE_CHECKING:
    import torch

    from ubm_embed.data.corpus import Corpus
    from ubm_embed.data.text.tokenizer import InteractionTokenizer
    from ubm_embed.model.user_behavior_model import UserBehaviorModel

_MODEL = "Model"

Init = Annotated[
    str | None,
    typer.Option(
        "--init",
        metavar="DIR_OR_NAME",
        help="Start from a sentence-transformers model, a BERT or a UBM, a folder or a hub name; else from scratch.",
        rich_help_panel=_MODEL,
    ),
]
Vocab = Annotated[
    Path | None,
    typer.Option(
        "--vocab",
        metavar="FILE_OR_DIR",
        help="A BERT vocabulary to use without --init; else one is learned from the corpus.",
        rich_help_panel=_MODEL,
    ),
    After("dropout"),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("pretrain")(with_options(pretrain))


def pretrain(
    *,
    corpus: Annotated[Path, typer.Option("--corpus", metavar="DIR", help="The corpus folder to learn from.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The model folder to write.")],
    recipe: Annotated[
        Recipe,
        typer.Option(
            "--recipe", help="Values of the settings that you do not give: ours, for shops of any size, or the paper's."
        ),
    ] = Recipe.SHOP,
    init: Init = None,
    sizes: Annotated[dict[str, Any], OptionsOf(ModelSizes)],
    vocab: Vocab = None,
    settings: Annotated[dict[str, Any], OptionsOf(PretrainingConfig)],
    device: Annotated[str, device_option(RUN), After("precision")] = "auto",
    resume: Resume = False,
    restart: Restart = False,
    overwrite: Overwrite = False,
    track: Track = None,
) -> None:
    """Pre-train a User Behavior Model on a corpus, in the paper's two stages.

    Settings that are not given are the recipe's. --recipe paper is made for millions of sessions and a pre-trained
    BERT. With --init, --max-steps 0 trains nothing and leaves the checkpoint as it is, for `finetune` to start from.

    On several GPUs: torchrun --nproc-per-node 2 -m cli pretrain ...
    """
    from ubm_embed.data.corpus import Corpus
    from ubm_embed.data.tasks.training_ids import TrainingIds
    from ubm_embed.model.start import checkpoint_folder, layers_of_checkpoint
    from ubm_embed.outputs import require_free
    from ubm_embed.training.pretraining.pretrain import pretrain as train
    from ubm_embed.training.processes import init_process_group
    from ubm_embed.training.tracking.tracking import open_trackers

    require_one(resume=resume, restart=restart)
    require_free(out, overwrite=overwrite)
    trackers = open_trackers(track or [], out)
    try:
        config, chosen_sizes = pretraining_config(recipe, **settings), model_sizes(recipe, **sizes)
    except ValueError as error:
        raise usage_error(error, PretrainingConfig, ModelSizes) from None
    target = _process_device(device)
    if init is not None and "layers" not in sizes:
        # Pre-trained layers know more than a shop can train from scratch.
        chosen_sizes = chosen_sizes.replace(layers=layers_of_checkpoint(init))
    opened = Corpus.open(corpus)
    model, tokenizer = _initial_model(opened, config, init, vocab, chosen_sizes)
    set_up_process()
    run: dict[str, Any] = {"device": target, "resume": resume, "restart": restart, "overwrite": overwrite}
    run |= {"trackers": trackers, "notice": warn}
    if init is not None:
        run["earlier_ids"] = TrainingIds.load(checkpoint_folder(init))
    with init_process_group(target) as processes, progress() as report_progress:
        made = train(opened, model, tokenizer, out, config, progress=report_progress, processes=processes, **run)
    if processes.is_rank_zero:
        say(f"{out}: model {made.model_id}, {made.record['seconds']:.0f} s")


def _process_device(name: str) -> torch.device:
    """The device of this process."""
    import torch

    from ubm_embed.training.processes import own_device, world_size

    try:
        world_size()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        return own_device(torch.device(usable_device(name)))
    except ValueError as error:
        raise typer.BadParameter(f"--device: {error}") from None


def _initial_model(
    corpus: Corpus, config: PretrainingConfig, init: str | None, vocab: Path | None, sizes: ModelSizes
) -> tuple[UserBehaviorModel, InteractionTokenizer]:
    from ubm_embed.model.start import fresh_model, model_from_checkpoint
    from ubm_embed.training.pretraining.pretrain import split_of

    if init is not None:
        if vocab is not None:
            raise typer.BadParameter("--init has its own vocabulary; give no --vocab")
        # The checkpoint has a width and a vocabulary of its own.
        return model_from_checkpoint(
            init, corpus, seed=config.seed, **sizes.model_dump(exclude={"width", "vocab_size"})
        )
    # A vocabulary learned from held-out search phrases would leak them.
    phrases = None if vocab is not None else split_of(corpus.session_times(), config).training_phrases(corpus)
    return fresh_model(corpus, phrases=phrases, vocab=vocab, seed=config.seed, **sizes.model_dump())
