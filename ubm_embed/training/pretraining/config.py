"""How to pre-train: every setting, its default and its bounds."""

from __future__ import annotations

from dataclasses import dataclass

from ubm_embed.data.tasks.split import SPLITS
from ubm_embed.model.precision import PRECISIONS
from ubm_embed.training.bounds import (
    require_at_least_1,
    require_not_negative,
    require_one_of,
    require_positive,
    require_share,
)
from ubm_embed.training.pretraining.losses import TEMPERATURE
from ubm_embed.training.pretraining.stages import ITEM_LOSSES, LOSSES, SESSION_LOSSES


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """How to pre-train; the defaults are the paper's (4.2.1) where it gives a figure.

    Attributes:
        stages: which of 1 and 2, in order.
        losses: which of `LOSSES` to add up.
        item_batch: pairs a step in stage 1.
        session_batch: sessions a step in stage 2.
        epochs: of each stage.
        max_steps: at most so many of each stage; the schedule is laid over what remains.
        learning_rate: peak; reached linearly over the first `warmup` share of the steps, then down to 0.
        session_max_steps, session_learning_rate: the same for stage 2, where it wants others; the paper names one
            rate. Stage 2 is solved in few steps, and from scratch a high rate there undoes what stage 1 has learned.
        weight_decay, max_gradient_norm: AdamW's, and where gradients are clipped; the paper names neither.
        temperature: of the contrastive losses.
        positive_in_denominator: the usual InfoNCE; False is the denominator as the paper prints it.
        pairs_per_session: next item pairs that one session gives to an epoch, at most.
        item_actions: in stage 1 read an item with the action it had, and only its next one as a product alone. The
            paper reads both alone; then nothing ties a session, whose interactions have actions, to the products.
        purchases_only: read only back-traced purchases, as the paper does; else also sessions without one.
        holdout: share of the sessions that training never sees; fine-tuning and `evaluate` ask those.
        split: which are held out: "auto", or a `SplitKind`.
        precision: "float32", "bfloat16", or "auto": bfloat16 where the hardware computes in it.
        chunk_tokens: how much of a batch is in memory at once, see `Encoding`; None for what suits the device. It is
            part of what a seed makes, since dropout is drawn chunk by chunk.
        checkpoint_steps: how often the state is kept for `--resume`.
    """

    stages: tuple[int, ...] = (1, 2)
    losses: tuple[str, ...] = LOSSES
    item_batch: int = 512
    session_batch: int = 128
    epochs: int = 1
    max_steps: int | None = None
    learning_rate: float = 3e-5
    session_max_steps: int | None = None
    session_learning_rate: float | None = None
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    temperature: float = TEMPERATURE
    positive_in_denominator: bool = True
    pairs_per_session: int = 8
    item_actions: bool = True
    purchases_only: bool = False
    holdout: float = 0.1
    split: str = "auto"
    precision: str = "auto"
    chunk_tokens: int | None = None
    seed: int = 0
    checkpoint_steps: int = 50

    def __post_init__(self) -> None:
        for name in ("item_batch", "session_batch"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be at least 2 for a negative to exist, got {getattr(self, name)}")
        require_at_least_1(self, "epochs", "pairs_per_session", "checkpoint_steps", "max_steps", "session_max_steps")
        require_at_least_1(self, "chunk_tokens")
        require_positive(self, "learning_rate", "session_learning_rate", "temperature", "max_gradient_norm")
        require_share(self, "warmup", "holdout")
        require_not_negative(self, "weight_decay", "seed")
        require_one_of("split", self.split, SPLITS)
        require_one_of("precision", self.precision, PRECISIONS)
        self._require_stages_and_losses()

    def most_steps(self, stage: int) -> int | None:
        """At most so many steps of a stage; None for no limit."""
        own = self.session_max_steps if stage == 2 else None
        return self.max_steps if own is None else own

    def peak(self, stage: int) -> float:
        """The peak learning rate of a stage."""
        own = self.session_learning_rate if stage == 2 else None
        return self.learning_rate if own is None else own

    def _require_stages_and_losses(self) -> None:
        if self.stages not in ((1,), (2,), (1, 2)):
            raise ValueError(f"stages must be (1,), (2,) or (1, 2), got {self.stages!r}")
        if unknown := set(self.losses) - set(LOSSES):
            raise ValueError(f"losses must be of {', '.join(LOSSES)}; got {', '.join(sorted(unknown))}")
        for stage, losses in ((1, ITEM_LOSSES), (2, SESSION_LOSSES)):
            if stage in self.stages and not set(losses) & set(self.losses):
                raise ValueError(
                    f"losses must hold one of {' and '.join(losses)} for stage {stage}, got {self.losses!r}"
                )
