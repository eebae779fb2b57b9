"""The forms of a pre-training step that are compared: ours and the padded ones, each in a number format."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from benchmarks.training.ceiling import wait
from benchmarks.training.padded_views import LONGEST, OCCURRENCES, PLAIN, PaddedSessions, PaddedViews
from benchmarks.training.plain_form import PlainModel
from benchmarks.training.step_flops import StepSize
from ubm_embed.data.batches.distinct_batches import SessionBatch, TokenBatch
from ubm_embed.errors import QualityGateFailed
from ubm_embed.model.precision import autocast
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.losses import contrastive_loss
from ubm_embed.training.pretraining.pretrainer import optimizer_of
from ubm_embed.training.pretraining.views import Pairs, Views

OURS = "ours"
# Fastest first.
PADDINGS = {"occurrences": OCCURRENCES, "longest": LONGEST, "plain": PLAIN}
# How far a form's losses may be from ours in float32 with dropout off. bfloat16 keeps 8 bits of a number, and the
# temperature multiplies what is lost of a cosine by 20.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.05}


class Form(Protocol):
    """One way to do a training step, with weights and an optimizer of its own. They start as the others' do.

    Attributes:
        kind: "ours", one of `PADDINGS`, or "sentence-transformers".
        precision: the number format that it computes in.
        masks_same: whether its losses leave false negatives out, as ours do.
    """

    kind: str
    precision: str
    masks_same: bool

    def take(self, views: Views) -> dict[str, Any]:
        """One step: its `seconds`, the `reading_seconds` to lay its input out, and what it encodes."""

    def losses_without_dropout(self, views: Views) -> dict[str, float]:
        """Each loss of the stage."""


class ModelForm:
    """Ours, or a padded form of it."""

    masks_same = True

    def __init__(self, kind: str, precision: str, model: UserBehaviorModel, config: PretrainingConfig) -> None:
        self.kind, self.precision, self.config, self.device = kind, precision, config, model.device
        self.padding = PADDINGS.get(kind)
        self.model: nn.Module = copy.deepcopy(model) if self.padding is None else PlainModel(model)
        self.size = StepSize.of(model, heads_alone=self.padding is None)
        self.optimizer = optimizer_of(self.model, config)

    def take(self, views: Views) -> dict[str, Any]:
        """One step."""
        started = time.perf_counter()
        inputs = self.lay_out(views)
        reading = time.perf_counter() - started
        return {"seconds": self.step(inputs), "reading_seconds": reading, **self.work(inputs)}

    def lay_out(self, views: Views) -> Views | PaddedViews:
        """What this form's step reads, on the model's device."""
        return (views if self.padding is None else PaddedViews.of(views, self.padding)).to(self.device)

    def work(self, inputs: Views | PaddedViews) -> dict[str, int]:
        """What a step encodes, see `encoded`, and its `flops` (see `step_flops`)."""
        return {**encoded(inputs), "flops": self.size.step(*lengths_of(inputs))}

    def losses(self, inputs: Views | PaddedViews) -> dict[str, Tensor]:
        """Forward: each loss of the stage, by its name."""
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
        """Forward, backward and optimizer, as `Pretrainer` does them; the seconds it took."""
        wait(self.device)
        started = time.perf_counter()
        loss = torch.stack(list(self.losses(inputs).values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_gradient_norm)
        self.optimizer.step()
        wait(self.device)
        return time.perf_counter() - started

    @torch.no_grad()
    def losses_without_dropout(self, views: Views) -> dict[str, float]:
        """Each loss of the stage."""
        self.model.eval()
        found = {name: loss.item() for name, loss in self.losses(self.lay_out(views)).items()}
        self.model.train()
        return found


def pair_losses(vectors: Tensor, pairs: Mapping[str, Pairs]) -> dict[str, Tensor]:
    """Each loss, from the vectors [K, D] of a batch."""
    return {
        name: contrastive_loss(vectors[one.anchors], vectors[one.positives], one.same) for name, one in pairs.items()
    }


def forms_of(
    kinds: Iterable[str], precisions: Sequence[str], model: UserBehaviorModel, stage: int, config: PretrainingConfig
) -> list[ModelForm]:
    """Those of `kinds` that are ours or padded, each in each number format.

    Products alone leave no place empty: "occurrences" would be "longest" again in stage 1.
    """
    known = [kind for kind in kinds if kind == OURS or kind in PADDINGS]
    kept = [kind for kind in known if not (stage == 1 and kind == "occurrences")]
    return [ModelForm(kind, precision, model, config) for kind in kept for precision in precisions]


def name_of(form: Form) -> str:
    """Its name in a report."""
    return f"{form.kind} {form.precision}"


def equal_losses(forms: Sequence[Form], reference: Form, views: Views) -> dict[str, dict[str, float]]:
    """Each form's losses with dropout off.

    Args:
        reference: ours in float32.

    Raises:
        QualityGateFailed: one of them is further from the reference than its number format allows.
    """
    expected = {True: reference.losses_without_dropout(views), False: reference.losses_without_dropout(unmasked(views))}
    found = {name_of(form): form.losses_without_dropout(views) for form in forms}
    for form in forms:
        for name, loss in found[name_of(form)].items():
            wanted, tolerance = expected[form.masks_same][name], TOLERANCES[form.precision]
            if not abs(loss - wanted) <= tolerance:  # so that a loss that is not a number fails, too
                raise QualityGateFailed(
                    f"with dropout off, {name} is {loss:.6f} in the form {name_of(form)!r}, expected {wanted:.6f} "
                    f"within {tolerance:g}, as in ours in float32; nothing was timed"
                )
    return found


def unmasked(views: Views) -> Views:
    """The same with no false negatives left out: every item and every session is taken for a different one."""
    return Views(views.batch, {name: _all_different(pairs) for name, pairs in views.pairs.items()})


def _all_different(pairs: Pairs) -> Pairs:
    labels = torch.arange(pairs.anchors.numel())
    return replace(pairs, anchor_labels=labels, positive_labels=labels)


def lengths_of(inputs: Views | PaddedViews) -> tuple[Tensor, Tensor | None]:
    """Tokens of each sequence that is encoded, 0 where a place has none, and interactions of each session, if any."""
    if isinstance(inputs, PaddedViews):
        sessions = [view.mask.sum(dim=1) for view in inputs.views if isinstance(view, PaddedSessions)]
        return torch.cat([view.lengths for view in inputs.sequences]), torch.cat(sessions) if sessions else None
    if isinstance(inputs.batch, SessionBatch):
        return inputs.batch.tokens.packing.lengths, inputs.batch.packing.lengths
    return inputs.batch.packing.lengths, None


def encoded(inputs: Views | PaddedViews) -> dict[str, int]:
    """What the interaction encoder runs over: sequences, of them interactions; places for tokens, of them tokens."""
    if isinstance(inputs, PaddedViews):
        places = sum(view.ids.numel() for view in inputs.sequences)
    else:
        places = (inputs.batch.tokens if isinstance(inputs.batch, SessionBatch) else inputs.batch).ids.numel()
    lengths, _ = lengths_of(inputs)
    counts = {"sequences": lengths.numel(), "interactions": int((lengths > 0).sum())}
    return {**counts, "places": places, "tokens": int(lengths.sum())}
