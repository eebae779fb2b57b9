"""How to pre-train: every setting with its bounds, its default, the recipes' values and its option."""

from __future__ import annotations

import enum
from functools import partial
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from ubm_embed.data.tasks.task import SplitKind
from ubm_embed.model.precision import Precision
from ubm_embed.training.settings import MAX_SEED, Setting, Settings


class Loss(enum.StrEnum):
    """The four losses, equations 1 to 4."""

    ITEM_TOKEN_MASKING = "item_token_masking"
    NEXT_ITEM_PAIRING = "next_item_pairing"
    INTERACTION_REORDERING = "interaction_reordering"
    ACTION_AND_ITEM_TOKEN_MASKING = "action_and_item_token_masking"


ITEM_LOSSES = (Loss.ITEM_TOKEN_MASKING, Loss.NEXT_ITEM_PAIRING)
SESSION_LOSSES = (Loss.INTERACTION_REORDERING, Loss.ACTION_AND_ITEM_TOKEN_MASKING)
LOSSES = ITEM_LOSSES + SESSION_LOSSES

TEMPERATURE = 0.05

_STAGES = {"1": (1,), "2": (2,), "all": (1, 2)}
_training = partial(Setting, panel="Training")
_run = partial(Setting, panel="Run")


class PretrainingConfig(Settings):
    """How to pre-train; the defaults are the paper's (4.2.1) where it gives a figure.

    The paper names one learning rate and no limit of steps. Stage 2 has its own here: it is solved in few steps, and
    from scratch a high rate there undoes what stage 1 has learned.
    """

    stages: Annotated[
        tuple[int, ...],
        Field(description="Stages to run."),
        Setting(panel="Options", name="--stage", choices=_STAGES),
    ] = (1, 2)
    epochs: Annotated[int, Field(ge=1, description="Epochs of each stage."), _training(shop=10)] = 1
    max_steps: Annotated[
        int | None,
        Field(
            ge=0,
            description="Limit of steps for each stage; the learning rate's schedule follows it. 0 trains nothing.",
        ),
        _training(shop=200, overridden_by=("epochs",), unset="no limit"),
    ] = None
    session_max_steps: Annotated[
        int | None,
        Field(ge=0, description="Limit of steps for stage 2 alone."),
        _training(shop=25, overridden_by=("epochs", "max_steps"), unset="as --max-steps"),
    ] = None
    item_batch: Annotated[int, Field(ge=2, description="Pairs per step in stage 1."), _training(shop=256)] = 512
    session_batch: Annotated[int, Field(ge=2, description="Sessions per step in stage 2."), _training(shop=64)] = 128
    learning_rate: Annotated[
        float,
        Field(gt=0, description="Peak learning rate; it rises linearly to the peak and falls linearly to 0."),
        _training(shop=1e-3),
    ] = 3e-5
    session_learning_rate: Annotated[
        float | None,
        Field(gt=0, description="Peak learning rate of stage 2."),
        _training(shop=1e-4, unset="as --learning-rate"),
    ] = None
    warmup: Annotated[float, Field(ge=0, lt=1, description="Fraction of the steps in which the rate rises.")] = 0.1
    weight_decay: Annotated[float, Field(ge=0, description="Weight decay of AdamW; the paper names none.")] = 0.01
    max_gradient_norm: Annotated[
        float, Field(gt=0, description="Norm that gradients are clipped to; the paper names none.")
    ] = 1.0
    temperature: Annotated[float, Field(gt=0, description="Temperature of the contrastive losses."), _training()] = (
        TEMPERATURE
    )
    losses: Annotated[
        tuple[Annotated[Loss, Field(strict=False)], ...],
        Field(description="Leave this loss out; may be repeated."),
        _training(name="--without-loss", lists_omissions=True),
    ] = LOSSES
    positive_in_denominator: Annotated[
        bool,
        Field(description="infonce keeps the positive pair in the denominator; printed is as the paper prints it."),
        _training(paper=False, name="--denominator", choices={"infonce": True, "printed": False}),
    ] = True
    pairs_per_session: Annotated[
        int,
        Field(ge=1, le=100_000, description="Limit of next item pairs that one session adds to an epoch."),
        _training(),
    ] = 8
    # The paper reads both items alone; then nothing ties a session, whose interactions have actions, to the products.
    item_actions: Annotated[
        bool,
        Field(description="Read the first item of a pair in stage 1 with its action, or alone as in the paper."),
        _training(paper=False),
    ] = True
    mask_known_next_items: Annotated[
        bool,
        Field(
            description="Leave every known next item of an item out of its negatives in stage 1, or only its partner "
            "in the pair as in the paper."
        ),
        _training(paper=False),
    ] = True
    purchases_only: Annotated[
        bool,
        Field(description="Read only sessions that lead to a purchase, as in the paper, or all sessions."),
        _training(paper=True, name="--purchases-only/--all-sessions"),
    ] = False
    holdout: Annotated[
        float,
        Field(ge=0, le=0.9, description="Fraction of the sessions kept out of training: half validate, half test."),
        _training(),
    ] = 0.1
    split: Annotated[
        SplitKind,
        Field(
            strict=False,
            description="Which sessions are held out; auto: the latest where the log has times, else by a hash of the "
            "session id.",
        ),
        _training(),
    ] = SplitKind.AUTO
    seed: Annotated[int, Field(ge=0, le=MAX_SEED, description="Seed; the same seed gives the same model."), _run()] = 0
    precision: Annotated[
        Precision,
        Field(strict=False, description="Number format; auto: bfloat16 where the hardware computes in it."),
        _run(),
    ] = Precision.AUTO
    # Part of what a seed determines, since dropout is drawn chunk by chunk.
    chunk_tokens: Annotated[
        int | None,
        Field(ge=1, description="Tokens of a batch in memory at once; fewer take less memory and more time."),
        _run(unset="262144 on a GPU, 32768 on a CPU"),
    ] = None
    checkpoint_steps: Annotated[int, Field(ge=1, description="Steps between two saved states."), _run()] = 50

    def max_steps_of(self, stage: int) -> int | None:
        """The limit of steps of a stage, or None."""
        own = self.session_max_steps if stage == 2 else None
        return self.max_steps if own is None else own

    def learning_rate_of(self, stage: int) -> float:
        """The peak learning rate of a stage."""
        own = self.session_learning_rate if stage == 2 else None
        return self.learning_rate if own is None else own

    @field_validator("stages")
    @classmethod
    def _known_stages(cls, stages: tuple[int, ...]) -> tuple[int, ...]:
        if stages not in _STAGES.values():
            raise ValueError(f"must be (1,), (2,) or (1, 2), got {stages!r}")
        return stages

    @model_validator(mode="after")
    def _a_loss_for_each_stage(self) -> Self:
        for stage, losses in ((1, ITEM_LOSSES), (2, SESSION_LOSSES)):
            if stage in self.stages and not set(losses) & set(self.losses):
                raise ValueError(
                    f"losses must hold {' or '.join(losses)} for stage {stage}, got {', '.join(self.losses) or 'none'}"
                )
        return self
