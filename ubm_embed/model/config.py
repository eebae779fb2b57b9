"""The configuration of a User Behavior Model: the sizes that its weights fit, and config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AliasChoices, Field, ValidationError, model_validator

from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.validation import FrozenModel, invalid_data

CONFIG_FILE = "config.json"
ARCHITECTURE = "ubm"
_PAPERS_ACTIONS = 4
# More than any encoder has: a configuration that asks for a billion must be refused before it is built.
MAX_LAYERS = 128


class UBMConfig(FrozenModel):
    """What the weights of a model fit. Bounds lie far beyond any use, so that damage is found before it costs memory.

    Attributes:
        dimension: width of interaction and session vectors, D.
        session_layers: layers of the session encoder; with 0 a session is the mean of its interactions.
        session_heads: attention heads of each layer.
        max_interactions: limit of interactions per session; of a longer session the last ones are read.
        dropout: dropout rate of the session encoder; the interaction encoder's is in its own settings.
        causal: an interaction attends to earlier ones, and a session is the output at its last one; else each attends
            to all, and a session is the mean (the paper).
        mean_of_tokens: an interaction is the mean over its tokens; else its `[CLS]` (the paper).
        projected: project what an encoder reads from a text even if it is as wide as the model. config.json leaves out
            false.
        num_item_embeddings: texts with a vector of their own, see `ItemEmbeddings`.
        num_actions: of item embeddings, actions with a token: the paper's four, or five with removals from the cart.
            config.json leaves out the paper's.
        interaction_encoder: the configuration of the BERT-like encoder, as transformers writes it.
        task: the task that it was fine-tuned for; "pip" and "rlp" have a head.
        head_features: features of a session that the head reads beside its vector, the first of `session_features`;
            with 0 the head is the paper's. config.json leaves out 0.
        head_trees: trees over these features that a head of purchase intention starts from. config.json leaves out 0.
        product_tower: model_id of the model that reads products, if another one does.

    Raises:
        ValueError: names the field that is invalid.
    """

    dimension: Annotated[int, Field(ge=1, le=65_536)] = 256
    session_layers: Annotated[int, Field(ge=0, le=MAX_LAYERS)] = 4
    session_heads: Annotated[int, Field(ge=1, le=1024)] = 4
    max_interactions: Annotated[int, Field(ge=1, le=65_536)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    causal: bool = False
    mean_of_tokens: bool = False
    projected: Annotated[bool, Field(exclude_if=lambda projected: not projected)] = False
    # Its second name is that of version 0.1.
    num_item_embeddings: Annotated[
        int, Field(ge=0, le=1 << 30, validation_alias=AliasChoices("num_item_embeddings", "known_texts"))
    ] = 0
    num_actions: Annotated[int, Field(ge=_PAPERS_ACTIONS, le=5, exclude_if=lambda count: count == _PAPERS_ACTIONS)] = (
        _PAPERS_ACTIONS
    )
    interaction_encoder: dict[str, Any] = Field(default_factory=dict)
    task: Annotated[Task | None, Field(strict=False)] = None
    head_features: Annotated[int, Field(ge=0, le=1024, exclude_if=lambda count: not count)] = 0
    head_trees: Annotated[int, Field(ge=0, le=10_000, exclude_if=lambda count: not count)] = 0
    product_tower: str | None = None

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.head_trees and not self.head_features:
            raise ValueError("head_trees needs head_features: trees read nothing else")
        if self.dimension % self.session_heads or self.dimension % 2:
            raise ValueError(f"dimension must be even and a multiple of session_heads, got {self.dimension}")
        return self

    def replace(self, **changes: Any) -> Self:
        """A copy with these fields changed, checked again."""
        return type(self)(**{**self.model_dump(), **changes})

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read config.json.

        Raises:
            NotFound: it is missing.
            InvalidData: names the file and the field: not a configuration, or not of a UBM.
        """
        if not file.is_file():
            raise NotFound(f"no model at {file.parent}: {file.name} is missing")
        try:
            document = json.loads(file.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise InvalidData(f"not a model configuration: {error}", file=file) from None
        if not isinstance(document, dict) or document.pop("architecture", None) != ARCHITECTURE:
            raise InvalidData(f"expected architecture {ARCHITECTURE!r}: not a model of ubm-embed", file=file)
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise invalid_data(error, file=file) from None

    def save(self, file: Path) -> None:
        """Write config.json."""
        document = {"architecture": ARCHITECTURE, **self.model_dump(mode="json")}
        file.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", "utf-8")
