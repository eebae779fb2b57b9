"""How to fine-tune: every setting with its bounds, its default, the recipes' values and its option."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ubm_embed.data.tasks.task import MIN_COUNT, MIN_INTERACTIONS, SplitKind, Task
from ubm_embed.model.precision import Precision
from ubm_embed.training.settings import MAX_SEED, Setting, Settings

HOLDOUT = 0.1
# Up to this many products, a softmax over all of them costs less than it brings.
_FULL_SOFTMAX = {"frozen": 200_000, "cached": 5_000, "read": 0}
_NEGATIVES = {"frozen": 8192, "cached": 4096, "read": 256}

_training = partial(Setting, panel="Training")
_task = partial(Setting, panel="Task")
_NIP = (Task.NIP,)
_HEADS = (Task.PIP, Task.RLP)


def _per_task(nip: int, heads: int) -> dict[Task, int]:
    return {Task.NIP: nip, **dict.fromkeys(_HEADS, heads)}


class FinetuningConfig(Settings):
    """How to fine-tune; the defaults are the paper's (4.2.2) where it gives a figure."""

    task: Annotated[Task, Field(strict=False, description="The task to fine-tune for.")]
    only_session_encoder: Annotated[
        bool,
        Field(description="Read interactions once and train only the layers above them: minutes on a CPU."),
        _training(name="--only-session-encoder"),
    ] = False
    # Beside what counting says, little is left to learn, and a whole model learns its sessions by heart instead.
    only_head: Annotated[
        bool,
        Field(description="Read interactions once and train the head alone, or the whole model (paper)."),
        _training(
            shop={Task.PIP: True},
            overridden_by=("only_session_encoder", "read_texts_every"),
            tasks=_HEADS,
            name="--only-head/--whole-model",
        ),
    ] = False
    # The layers after it, item embeddings among them, are trained at every step.
    read_texts_every: Annotated[
        int | None,
        Field(
            ge=0,
            description="Read and train on texts at every step of this number, and else take what was read before; 0 "
            "reads each text once and trains all but the text encoder.",
        ),
        _training(unset="1; for ours on a CPU 0, if the text encoder has more than 4 layers"),
    ] = None
    # What comes out is then one model for sessions and products.
    train_products: Annotated[
        bool,
        Field(description="Train the product vectors too, or score sessions against the pre-trained ones (paper)."),
        _training(shop=True, tasks=_NIP, name="--train-products/--fixed-products"),
    ] = False
    all_positions: Annotated[
        bool,
        Field(
            description="Predict at every position of a session in one pass, or at one position of a prefix; needs a "
            "causal session encoder."
        ),
        _training(shop=True, name="--all-positions/--one-position"),
    ] = False
    session_features: Annotated[
        bool,
        Field(
            description="Predict from counts of what a session holds, too, and remaining lengths as a distribution; or "
            "from its vector alone (paper)."
        ),
        _training(shop=True, tasks=_HEADS, name="--session-features/--vectors-only"),
    ] = False
    # In a model without any yet, they start near the products that stand beside theirs (`neighbour_vectors`).
    item_embeddings: Annotated[
        bool,
        Field(description="Learn a vector for each product seen in training, added to what its words say."),
        _training(shop=True, tasks=_NIP, name="--item-embeddings/--words-only"),
    ] = False
    item_embedding_dropout: Annotated[
        float,
        Field(ge=0, lt=1, description="Fraction of the products that a step reads by their words alone."),
        Setting(tasks=_NIP),
    ] = 0.5
    epochs: Annotated[int, Field(ge=1, description="Limit of epochs."), _training(shop=1000)] = 30
    max_steps: Annotated[
        int | None,
        Field(ge=1, description="Limit of steps."),
        _training(shop=_per_task(2000, 600), overridden_by=("epochs",), unset="no limit"),
    ] = None
    batch: Annotated[
        int, Field(ge=1, description="Examples per step; sessions with --all-positions."), _training(shop=128)
    ] = 32
    learning_rate: Annotated[
        float, Field(gt=0, description="Peak learning rate, after a warm-up."), _training(shop=1e-3)
    ] = 3e-5
    # A step has few examples of any one word or product, so their vectors learn slowly.
    embedding_rate_multiplier: Annotated[
        float,
        Field(gt=0, description="Multiplier of the learning rate for the vectors of single words and products."),
        Setting(shop={Task.NIP: 2.0}),
    ] = 1.0
    warmup: Annotated[
        float, Field(ge=0, lt=1, description="Fraction of the steps in which the rate rises."), Setting(shop=0.03)
    ] = 0.1
    cooldown: Annotated[
        float | None,
        Field(
            gt=0,
            lt=1,
            description="Stay at the peak until validation stops improving or too few steps are left, then fall to 0 "
            "within this fraction of the steps taken, from the best weights; None falls over all steps.",
        ),
        Setting(shop=0.3),
    ] = None
    weight_decay: Annotated[float, Field(ge=0, description="Weight decay of AdamW.")] = 0.01
    max_gradient_norm: Annotated[float, Field(gt=0, description="Norm that gradients are clipped to.")] = 1.0
    patience: Annotated[
        int | None,
        Field(
            ge=1,
            description="End after this many evaluations in a row that improve neither the selection metric nor the "
            "loss; with a cooldown, start it.",
        ),
        _training(shop=3, unset="never"),
    ] = None
    validation_steps: Annotated[
        int | None,
        Field(ge=1, description="Steps between two evaluations on the validation part."),
        _training(shop=_per_task(100, 50), unset="once per epoch"),
    ] = None
    # The model of a shop whose epochs are short has learned its sessions by heart within a hundred steps.
    validate_each_epoch: Annotated[
        bool, Field(description="Evaluate after each epoch where that is sooner."), Setting(shop=True)
    ] = False
    selection_metric: Annotated[
        Literal["hit@10", "loss"],
        Field(description="What the best weights are chosen by: the highest hit@10 or the lowest loss."),
        Setting(shop="hit@10", tasks=_NIP),
    ] = "loss"
    max_validation_examples: Annotated[int, Field(ge=1, description="Limit of examples per evaluation.")] = 2048
    refit: Annotated[
        bool,
        Field(
            description="Once the number of steps is found, train once more for as long, with the validation part: a "
            "shop's newest sessions."
        ),
        _training(shop={Task.NIP: True}, name="--refit/--no-refit"),
    ] = False
    negatives: Annotated[
        int | None,
        Field(ge=0, description="Products drawn per step; 0 takes all."),
        _training(shop=1024, tasks=_NIP, unset="by what a product costs"),
    ] = None
    precision: Annotated[
        Precision,
        Field(strict=False, description="Number format; auto: bfloat16 where the hardware computes in it."),
        _training(),
    ] = Precision.AUTO
    # Part of what a seed determines, since dropout is drawn chunk by chunk.
    chunk_tokens: Annotated[
        int | None,
        Field(ge=1, description="Tokens of a step in memory at once; fewer take less memory and more time."),
        _training(unset="by the encoder's size"),
    ] = None
    min_count: Annotated[
        int,
        Field(ge=1, description="Products seen fewer times in training are not trained on as targets."),
        _task(shop=1, tasks=_NIP),
    ] = MIN_COUNT
    max_per_session: Annotated[
        int,
        Field(ge=1, description="Limit of examples that one session adds to an epoch with --one-position."),
        _task(tasks=_NIP),
    ] = 8
    repeats: Annotated[
        bool, Field(description="Also take products that the session already holds as targets."), _task(tasks=_NIP)
    ] = False
    min_interactions: Annotated[
        int, Field(ge=1, description="Length of the shortest prefix that is read."), _task(tasks=_HEADS)
    ] = MIN_INTERACTIONS
    split: Annotated[
        SplitKind,
        Field(
            strict=False,
            description="How to split a corpus that the model was not pre-trained on; auto: by time where there are "
            "times.",
        ),
        _task(),
    ] = SplitKind.AUTO
    holdout: Annotated[
        float | None,
        Field(gt=0, lt=1, description="Fraction of such a corpus to hold out: half validates, half tests."),
        _task(unset=f"{HOLDOUT:g}"),
    ] = None
    seed: Annotated[
        int, Field(ge=0, le=MAX_SEED, description="Seed; the same seed gives the same model."), Setting(panel="Run")
    ] = 0

    @property
    def dataset_settings(self) -> dict[str, int | bool]:
        """The fields that `TaskDataset` takes."""
        return {name: getattr(self, name) for name in ("min_count", "max_per_session", "repeats", "min_interactions")}

    def num_negatives(self, products: int) -> int | None:
        """How many negatives a step draws from a catalogue of this many products; None takes all products."""
        cost = ("cached" if self.only_session_encoder else "read") if self.train_products else "frozen"
        negatives = self.negatives
        if negatives is None:
            negatives = 0 if products <= _FULL_SOFTMAX[cost] else _NEGATIVES[cost]
        return negatives if 0 < negatives < products else None

    @model_validator(mode="after")
    def _settings_of_the_task(self) -> Self:
        for name, setting in self.declarations().items():
            value = getattr(self, name)
            if self.task not in setting.tasks and value != type(self).model_fields[name].default:
                raise ValueError(f"{name} is not for {self.task}, got {value!r}")
        if self.item_embeddings and (not self.train_products or self.only_session_encoder):
            raise ValueError("item_embeddings needs train_products, and no only_session_encoder")
        if self.only_head and (self.only_session_encoder or self.read_texts_every is not None):
            raise ValueError("only_head trains nothing below the head: no only_session_encoder, no read_texts_every")
        if self.only_session_encoder and self.read_texts_every not in (None, 1):
            raise ValueError("read_texts_every is not for only_session_encoder, which reads each interaction once")
        return self
