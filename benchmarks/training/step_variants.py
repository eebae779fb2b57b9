"""The implementations of a pre-training step that are compared: ours and padded ones, each in a number format."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from benchmarks.training.flops import StepSize, synchronize
from benchmarks.training.padded_model import PaddedModel
from benchmarks.training.padded_views import FULL, LONGEST, OCCURRENCES, PaddedSessions, PaddedViews
from ubm_embed.data.batches.packing import SessionBatch, TokenBatch
from ubm_embed.errors import QualityGateFailed
from ubm_embed.model.device import autocast
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.losses import contrastive_loss
from ubm_embed.training.pretraining.pretrainer import optimizer_of
from ubm_embed.training.pretraining.views import Pairs, Views

OURS = "ours"
# Fastest first.
PADDINGS = {"occurrences": OCCURRENCES, "longest": LONGEST, "full": FULL}
# How far a variant's losses may be from ours in float32, without dropout. A cosine of 256 products is off by the root
# of 256 roundings, 2e-6 in float32 (eps 1.2e-7), and after a whole network some 2e-3 in bfloat16 (8 bits a number);
# the temperature of .05 multiplies that by 20.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.05}


class StepVariant(Protocol):
    """One implementation of a training step, with its own weights and optimizer; all start with equal weights.

    Attributes:
        kind: "ours", one of `PADDINGS`, or "sentence-transformers".
        precision: the number format of its computation.
        masks_false_negatives: whether its losses leave false negatives out, as ours do.
    """

    kind: str
    precision: str
    masks_false_negatives: bool

    def run_step(self, views: Views) -> dict[str, Any]:
        """Do one step: its `seconds`, the `reading_seconds` for preparing its input, and its work (see `encoded`)."""

    def losses_without_dropout(self, views: Views) -> dict[str, float]:
        """Each loss of the stage."""


class ModelVariant:
    """Our implementation, or a padded one with the same weights."""

    masks_false_negatives = True

    def __init__(self, kind: str, precision: str, model: UserBehaviorModel, config: PretrainingConfig) -> None:
        self.kind, self.precision, self.config, self.device = kind, precision, config, model.device
        self.padding = PADDINGS.get(kind)
        self.model: nn.Module = copy.deepcopy(model) if self.padding is None else PaddedModel(model)
        self.size = StepSize.from_model(model, cls_only=self.padding is None)
        self.optimizer = optimizer_of(self.model, config)

    def run_step(self, views: Views) -> dict[str, Any]:
        """As `StepVariant`."""
        started = time.perf_counter()
        inputs = self.prepare(views)
        reading = time.perf_counter() - started
        return {"seconds": self.step(inputs), "reading_seconds": reading, **self.work(inputs)}

    def prepare(self, views: Views) -> Views | PaddedViews:
        """The input of this variant's step, on the model's device."""
        return (views if self.padding is None else PaddedViews.from_packed(views, self.padding)).to(self.device)

    def work(self, inputs: Views | PaddedViews) -> dict[str, int]:
        """What a step encodes (see `encoded`) and its `flops`."""
        return {**encoded(inputs), "flops": self.size.step(*lengths_of(inputs))}

    def losses(self, inputs: Views | PaddedViews) -> dict[str, Tensor]:
        """Each loss of the stage, by name; the forward pass."""
        with autocast(self.device, self.precision):
            vectors = self._encode(inputs).float()
        return pair_losses(vectors, inputs.pairs)

    def _encode(self, inputs: Views | PaddedViews) -> Tensor:
        if isinstance(inputs, PaddedViews):
            return cast(Tensor, self.model(inputs))
        assert isinstance(self.model, UserBehaviorModel)
        alone = isinstance(inputs.batch, TokenBatch)
        return cast(Tensor, (self.model.interaction_encoder if alone else self.model)(inputs.batch))

    def step(self, inputs: Views | PaddedViews) -> float:
        """Run forward, backward and optimizer as `Pretrainer` does; returns the seconds."""
        synchronize(self.device)
        started = time.perf_counter()
        loss = torch.stack(list(self.losses(inputs).values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_gradient_norm)
        self.optimizer.step()
        synchronize(self.device)
        return time.perf_counter() - started

    @torch.no_grad()
    def losses_without_dropout(self, views: Views) -> dict[str, float]:
        """Each loss of the stage."""
        self.model.eval()
        losses = {name: loss.item() for name, loss in self.losses(self.prepare(views)).items()}
        self.model.train()
        return losses


def pair_losses(vectors: Tensor, pairs: Mapping[str, Pairs]) -> dict[str, Tensor]:
    """Each loss, by name, from the vectors [K, D] of a batch."""
    return {
        name: contrastive_loss(vectors[pair.anchors], vectors[pair.positives], pair.false_negative_mask)
        for name, pair in pairs.items()
    }


def variants_of(
    kinds: Iterable[str], precisions: Sequence[str], model: UserBehaviorModel, stage: int, config: PretrainingConfig
) -> list[ModelVariant]:
    """Ours and the padded ones among `kinds`, each in each number format.

    In stage 1 no slot is empty, so "occurrences" would repeat "longest" and is left out.
    """
    known = [kind for kind in kinds if kind == OURS or kind in PADDINGS]
    wanted = [kind for kind in known if not (stage == 1 and kind == "occurrences")]
    return [ModelVariant(kind, precision, model, config) for kind in wanted for precision in precisions]


def variant_name(variant: StepVariant) -> str:
    """The name of a variant in a report."""
    return f"{variant.kind} {variant.precision}"


def require_equal_losses(
    variants: Sequence[StepVariant], reference: StepVariant, views: Views
) -> dict[str, dict[str, float]]:
    """Each variant's losses without dropout, by the variant's name.

    Args:
        reference: ours in float32.

    Raises:
        QualityGateFailed: a loss differs from the reference by more than its number format allows.
    """
    expected = {True: reference.losses_without_dropout(views), False: reference.losses_without_dropout(unmasked(views))}
    losses = {variant_name(variant): variant.losses_without_dropout(views) for variant in variants}
    for variant in variants:
        for name, loss in losses[variant_name(variant)].items():
            target, tolerance = expected[variant.masks_false_negatives][name], TOLERANCES[variant.precision]
            if not abs(loss - target) <= tolerance:  # written so that NaN fails
                raise QualityGateFailed(
                    f"without dropout, {name} of {variant_name(variant)!r} is {loss:.6f}, expected {target:.6f} within "
                    f"{tolerance:g}, the loss of ours in float32; nothing was timed"
                )
    return losses


def unmasked(views: Views) -> Views:
    """The same views with every item and session labelled as different, so that no false negative is masked."""
    return Views(views.batch, {name: _all_different(pairs) for name, pairs in views.pairs.items()})


def _all_different(pairs: Pairs) -> Pairs:
    labels = torch.arange(pairs.anchors.numel())
    return replace(pairs, anchor_labels=labels, positive_labels=labels, false_negatives=None)


def lengths_of(inputs: Views | PaddedViews) -> tuple[Tensor, Tensor | None]:
    """Tokens of each encoded sequence, 0 for an empty slot, and interactions of each session or None in stage 1."""
    if isinstance(inputs, PaddedViews):
        sessions = [view.mask.sum(dim=1) for view in inputs.views if isinstance(view, PaddedSessions)]
        return torch.cat([view.lengths for view in inputs.sequences]), torch.cat(sessions) if sessions else None
    if isinstance(inputs.batch, SessionBatch):
        return inputs.batch.tokens.packing.lengths, inputs.batch.packing.lengths
    return inputs.batch.packing.lengths, None


def encoded(inputs: Views | PaddedViews) -> dict[str, int]:
    """What the interaction encoder processes: sequences, real interactions among them, token slots, real tokens."""
    if isinstance(inputs, PaddedViews):
        slots = sum(view.ids.numel() for view in inputs.sequences)
    else:
        slots = (inputs.batch.tokens if isinstance(inputs.batch, SessionBatch) else inputs.batch).ids.numel()
    lengths, _ = lengths_of(inputs)
    counts = {"sequences": lengths.numel(), "interactions": int((lengths > 0).sum())}
    return {**counts, "token_slots": slots, "tokens": int(lengths.sum())}
