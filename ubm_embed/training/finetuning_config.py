"""How to fine-tune: every setting, its default and its bounds."""

from __future__ import annotations

from dataclasses import dataclass

from ubm_embed.data.questions import LEAST_COUNT
from ubm_embed.data.split import SPLITS
from ubm_embed.data.tasks import LEAST_INTERACTIONS, Task
from ubm_embed.training.bounds import (
    require_at_least_1,
    require_not_negative,
    require_one_of,
    require_positive,
    require_share,
)
from ubm_embed.training.precision import PRECISIONS

# Up to here a softmax over all products costs less than it brings.
_FULL_SOFTMAX = {"frozen": 200_000, "cached": 5_000, "read": 0}
_NEGATIVES = {"frozen": 8192, "cached": 4096, "read": 256}


HOLDOUT = 0.1
# What means nothing to next item prediction, and what to it alone.
_OF_OTHERS = {True: ("least",), False: ("train_products", "negatives", "least_count", "per_session", "repeats")}


@dataclass(frozen=True, kw_only=True)
class FinetuningConfig:
    """How to fine-tune; the defaults are the paper's (4.2.2) where it gives a figure.

    Attributes:
        epochs, max_steps: at most so many.
        batch: examples a step.
        learning_rate: peak; reached linearly over the first `warmup` share of the steps, then down to 0.
        validation_steps: steps from one look at the validation part to the next; None looks after each epoch. The
            weights with the least validation loss are kept.
        patience: stop after so many looks without a new best; None goes on to the end.
        most_validation: examples that a look asks, at most.
        only_session_encoder: leave the interaction encoder as it is and read interactions from vectors computed once.
        train_products: NIP, read products with the very model that is trained, where the paper holds sessions against
            the vectors V of the model as it was. What comes out is one model for both.
        negatives: NIP, products drawn a step; 0 takes all of them; None chooses by what a product costs.
        least_count, per_session, repeats, least: of `Questions`.
        split, holdout: how to split a corpus that the model was not pre-trained on; None is a tenth.
        precision: as in pre-training.
    """

    task: Task
    epochs: int = 30
    max_steps: int | None = None
    batch: int = 32
    learning_rate: float = 3e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    validation_steps: int | None = None
    patience: int | None = None
    most_validation: int = 2048
    only_session_encoder: bool = False
    train_products: bool = False
    negatives: int | None = None
    least_count: int = LEAST_COUNT
    per_session: int = 8
    repeats: bool = False
    least: int = LEAST_INTERACTIONS
    split: str = "auto"
    holdout: float | None = None
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least_1(self, "epochs", "max_steps", "batch", "validation_steps", "patience", "most_validation")
        require_at_least_1(self, "least_count", "per_session", "least")
        require_positive(self, "learning_rate", "max_gradient_norm", "holdout")
        require_share(self, "warmup", "holdout")
        require_not_negative(self, "weight_decay", "seed", "negatives")
        require_one_of("split", self.split, SPLITS)
        require_one_of("precision", self.precision, PRECISIONS)
        for name in _OF_OTHERS[self.task is Task.NIP]:
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(f"{name} is not for {self.task}, got {getattr(self, name)!r}")

    @property
    def questions(self) -> dict[str, int | bool]:
        """The fields that `Questions` takes."""
        return {name: getattr(self, name) for name in ("least_count", "per_session", "repeats", "least")}

    def draws(self, products: int) -> int | None:
        """Negatives a step for so many products; None for all of them."""
        cost = ("cached" if self.only_session_encoder else "read") if self.train_products else "frozen"
        if self.negatives is None:
            return None if products <= _FULL_SOFTMAX[cost] else min(_NEGATIVES[cost], products)
        return self.negatives or None
