"""The best validation of a fine-tuning so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from ubm_embed.training.finetuning.objectives import Validation


@dataclass(frozen=True)
class Best:
    """The best validation so far.

    Attributes:
        step: the number of steps before it; 0 is before any.
        key: its selection key: no validation had a lower one.
        lowest: the lowest value of each number of a key, in whichever validation.
        evals_since_improvement: validations since any number was that low for the first time.
        metrics: of the best validation.
    """

    step: int = 0
    key: tuple[float, ...] = (math.inf,)
    lowest: tuple[float, ...] = (math.inf,)
    evals_since_improvement: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    def after(self, step: int, validation: Validation) -> Best:
        """The best validation, this one included."""
        # `min` keeps its first argument where the second is NaN, which compares as not lower.
        lowest = tuple(map(min, self.lowest + (math.inf,) * len(validation.key), validation.key))
        evals = self.evals_since_improvement + 1 if lowest == self.lowest else 0
        if validation.key < self.key:
            return Best(step, validation.key, lowest, evals, validation.metrics)
        return replace(self, lowest=lowest, evals_since_improvement=evals)

    def to_dict(self) -> dict[str, Any]:
        """For the training record."""
        return {"step": self.step, "evals_since_improvement": self.evals_since_improvement, **self.metrics}
