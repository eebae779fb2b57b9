"""The forms of a pre-training step that are compared: ours, and the padded ones of `plain_form`."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from benchmarks.plain_form import LONGEST, OCCURRENCES, PLAIN, PaddedViews, PlainModel
from ubm_embed.data.batches import SessionBatch
from ubm_embed.errors import QualityGateFailed
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.config import PretrainingConfig
from ubm_embed.training.losses import contrastive_loss
from ubm_embed.training.precision import autocast
from ubm_embed.training.pretraining import optimizer_of
from ubm_embed.training.stages import Stage
from ubm_embed.training.views import Views

OURS = "ours"
# Fastest first.
PADDINGS = {"occurrences": OCCURRENCES, "longest": LONGEST, "plain": PLAIN}
FORMS = (OURS, *PADDINGS)
TOLERANCE = 1e-4


class Form:
    """One way to do a training step, with weights and an optimizer of its own. They start as those of `model`."""

    def __init__(self, name: str, model: UserBehaviorModel, stage: Stage, config: PretrainingConfig) -> None:
        self.name, self.stage, self.config, self.device = name, stage, config, model.device
        self.padding = PADDINGS.get(name)
        self.model: nn.Module = copy.deepcopy(model) if self.padding is None else PlainModel(model)
        self.optimizer = optimizer_of(self.model, config)

    def lay_out(self, views: Views) -> Views | PaddedViews:
        """What this form's step reads, on the model's device."""
        return (views if self.padding is None else PaddedViews.of(views, self.padding)).to(self.device)

    def losses(self, inputs: Views | PaddedViews) -> dict[str, Tensor]:
        """Forward: each loss of the stage, by its name."""
        with autocast(self.device, self.config.precision):
            vectors = self._encode(inputs).float()
        return {
            name: contrastive_loss(vectors[pairs.anchors], vectors[pairs.positives], pairs.same)
            for name, pairs in inputs.pairs.items()
        }

    def _encode(self, inputs: Views | PaddedViews) -> Tensor:
        if isinstance(inputs, Views):
            assert isinstance(self.model, UserBehaviorModel)
            return self.stage.encode(self.model, inputs)
        vectors: Tensor = self.model(inputs)
        return vectors

    def step(self, inputs: Views | PaddedViews) -> float:
        """Forward, backward and optimizer, as `Pretrainer` does them; the seconds it took."""
        self._wait()
        started = time.perf_counter()
        loss = torch.stack(list(self.losses(inputs).values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_gradient_norm)
        self.optimizer.step()
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def forms_of(
    names: Iterable[str], model: UserBehaviorModel, stage: Stage, config: PretrainingConfig
) -> tuple[Form, ...]:
    """The forms of a stage. Products alone leave no place empty: "occurrences" would be "longest" again in stage 1."""
    return tuple(
        Form(name, model, stage, config) for name in names if not (stage.number == 1 and name == "occurrences")
    )


@torch.no_grad()
def equal_losses(forms: Sequence[Form], views: Views) -> dict[str, dict[str, float]]:
    """Each form's losses with dropout off.

    Raises:
        QualityGateFailed: one of them is not that of the first form.
    """
    found = {}
    for form in forms:
        form.model.eval()
        found[form.name] = {name: loss.item() for name, loss in form.losses(form.lay_out(views)).items()}
        form.model.train()
    expected = found[forms[0].name]
    for form_name, losses in found.items():
        for name, loss in losses.items():
            if not abs(loss - expected[name]) <= TOLERANCE:  # so that a loss that is not a number fails, too
                raise QualityGateFailed(
                    f"with dropout off, {name} is {loss:.6f} in the form {form_name!r}, expected {expected[name]:.6f} "
                    f"as in {forms[0].name!r}; nothing was timed"
                )
    return found


def encoded(inputs: Views | PaddedViews) -> dict[str, int]:
    """What the interaction encoder runs over: sequences, of them interactions; places for tokens, of them tokens."""
    if isinstance(inputs, PaddedViews):
        return {
            "sequences": sum(view.ids.shape[0] for view in inputs.sequences),
            "interactions": sum(view.interactions for view in inputs.sequences),
            "places": sum(view.ids.numel() for view in inputs.sequences),
            "tokens": sum(view.tokens for view in inputs.sequences),
        }
    tokens = inputs.batch.tokens if isinstance(inputs.batch, SessionBatch) else inputs.batch
    sequences, places = tokens.packing.starts.numel(), tokens.ids.numel()
    return {"sequences": sequences, "interactions": sequences, "places": places, "tokens": places}
