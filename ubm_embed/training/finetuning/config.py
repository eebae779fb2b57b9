"""How to fine-tune: every setting, its default and its bounds."""

from __future__ import annotations

from dataclasses import dataclass

from ubm_embed.data.tasks.examples import LEAST_INTERACTIONS, Task
from ubm_embed.data.tasks.questions import LEAST_COUNT
from ubm_embed.data.tasks.split import SPLITS
from ubm_embed.model.precision import PRECISIONS
from ubm_embed.training.bounds import (
    require_at_least_1,
    require_not_negative,
    require_one_of,
    require_positive,
    require_share,
)

# Up to here a softmax over all products costs less than it brings.
_FULL_SOFTMAX = {"frozen": 200_000, "cached": 5_000, "read": 0}
_NEGATIVES = {"frozen": 8192, "cached": 4096, "read": 256}


HOLDOUT = 0.1
# What means nothing to next item prediction, and what to it alone.
_OF_NEXT_ITEM = (
    "best_by",
    "train_products",
    "every_place",
    "known_texts",
    "known_text_dropout",
    "negatives",
    "least_count",
    "per_session",
    "repeats",
)
_OF_OTHERS = {True: ("least",), False: _OF_NEXT_ITEM}


@dataclass(frozen=True, kw_only=True)
class FinetuningConfig:
    """How to fine-tune; the defaults are the paper's (4.2.2) where it gives a figure.

    Attributes:
        epochs, max_steps: at most so many.
        batch: examples a step.
        learning_rate: peak; reached linearly over the first `warmup` share of the steps, then down to 0.
        lookup_rate: times the rate for vectors of single words and texts, which few examples of a step tell anything.
        cooldown: stay at the peak until looks gain no more, or so many steps are left, and go down to 0 over this share
            of the steps there were, from the best weights; None goes down over all steps.
        validation_steps: steps from one look at the validation part to the next; None looks after each epoch. The
            weights with the best look are kept.
        best_by: NIP, whether the best look has the highest "hit@10" or the least "loss"; of other tasks it is the loss.
        patience: stop, or with `cooldown` go down, after so many looks at which nothing gained, neither what the best
            look is chosen by nor the loss; None goes on to the end.
        most_validation: examples that a look asks, at most.
        only_session_encoder: leave the interaction encoder as it is and read interactions from vectors computed once.
        train_products: NIP, read products with the very model that is trained, where the paper holds sessions against
            the vectors V of the model as it was. What comes out is one model for both.
        every_place: NIP, ask a session at every place at once, in one pass; for causal session encoders.
        known_texts: NIP with `train_products`, also learn a vector for each product of the training part, added to what
            its words say (`KnownTexts`); in a model that knows
            none yet it starts among the product's neighbours (`neighbour_vectors`).
        known_text_dropout: share of them that a step reads by their words alone.
        negatives: NIP, products drawn a step; 0 takes all of them; None chooses by what a product costs.
        least_count, per_session, repeats, least: of `Questions`.
        split, holdout: how to split a corpus that the model was not pre-trained on; None is a tenth.
        precision: as in pre-training.
        chunk_tokens: of `TextInteractions`; None for what suits encoder and device. It is part of what a seed makes,
            since dropout is drawn chunk by chunk.
    """

    task: Task
    epochs: int = 30
    max_steps: int | None = None
    batch: int = 32
    learning_rate: float = 3e-5
    lookup_rate: float = 1.0
    warmup: float = 0.1
    cooldown: float | None = None
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    validation_steps: int | None = None
    best_by: str = "loss"
    patience: int | None = None
    most_validation: int = 2048
    only_session_encoder: bool = False
    train_products: bool = False
    every_place: bool = False
    known_texts: bool = False
    known_text_dropout: float = 0.5
    negatives: int | None = None
    least_count: int = LEAST_COUNT
    per_session: int = 8
    repeats: bool = False
    least: int = LEAST_INTERACTIONS
    split: str = "auto"
    holdout: float | None = None
    precision: str = "auto"
    chunk_tokens: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least_1(self, "epochs", "max_steps", "batch", "validation_steps", "patience", "most_validation")
        require_at_least_1(self, "least_count", "per_session", "least", "chunk_tokens")
        require_positive(self, "learning_rate", "lookup_rate", "max_gradient_norm", "holdout", "cooldown")
        require_share(self, "warmup", "holdout", "cooldown", "known_text_dropout")
        require_not_negative(self, "weight_decay", "seed", "negatives")
        require_one_of("best_by", self.best_by, ("hit@10", "loss"))
        require_one_of("split", self.split, SPLITS)
        require_one_of("precision", self.precision, PRECISIONS)
        for name in _OF_OTHERS[self.task is Task.NIP]:
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(f"{name} is not for {self.task}, got {getattr(self, name)!r}")
        if self.known_texts and (not self.train_products or self.only_session_encoder):
            raise ValueError("known_texts asks for train_products, without only_session_encoder")

    @property
    def questions(self) -> dict[str, int | bool]:
        """The fields that `Questions` takes."""
        return {name: getattr(self, name) for name in ("least_count", "per_session", "repeats", "least")}

    def draws(self, products: int) -> int | None:
        """Negatives a step for so many products; None for all of them."""
        cost = ("cached" if self.only_session_encoder else "read") if self.train_products else "frozen"
        negatives = self.negatives
        if negatives is None:
            negatives = 0 if products <= _FULL_SOFTMAX[cost] else _NEGATIVES[cost]
        return negatives if 0 < negatives < products else None
