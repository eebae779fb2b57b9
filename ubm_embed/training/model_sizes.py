"""The sizes of a fresh model: every setting with its bounds, its default, the recipes' values and its option."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

from pydantic import Field, model_validator

from ubm_embed.model.config import MAX_LAYERS
from ubm_embed.training.settings import Setting, Settings

_model = partial(Setting, panel="Model")


class ModelSizes(Settings):
    """What a fresh model is made of, as `fresh_model` takes it; the defaults are the paper's (4.2.1)."""

    layers: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_LAYERS,
            description="Layers of the interaction encoder, 0 for a bag of words; with --init 4 of a BERT, all of a "
            "sentence-transformers model.",
        ),
        _model(shop=0),
    ] = 4
    width: Annotated[
        int,
        Field(ge=4, le=8192, multiple_of=4, description="Hidden size of the interaction encoder, without --init."),
        _model(shop=256),
    ] = 256
    session_layers: Annotated[
        int, Field(ge=1, le=MAX_LAYERS, description="Layers of the session encoder."), _model(shop=2)
    ] = 4
    dropout: Annotated[float, Field(ge=0, le=0.9, description="Dropout rate of both encoders."), _model(shop=0.3)] = 0.1
    vocab_size: Annotated[int, Field(ge=64, le=1_000_000, description="Tokens of a learned vocabulary."), _model()] = (
        8192
    )
    causal: Annotated[
        bool,
        Field(description="An interaction reads only those before it, or all of the session (paper)."),
        Setting(shop=True),
    ] = False
    mean_of_tokens: Annotated[
        bool,
        Field(description="An interaction's vector is the mean of its tokens, or its [CLS] token (paper)."),
        Setting(shop=True),
    ] = False
    dimension: Annotated[int, Field(ge=2, le=65_536, description="Width of the vectors.")] = 256
    max_interactions: Annotated[int, Field(ge=1, le=65_536, description="Interactions that are read of a session.")] = (
        32
    )

    @model_validator(mode="after")
    def _a_bag_has_words(self) -> Self:
        if not self.layers and not self.mean_of_tokens:
            raise ValueError("layers must be at least 1 where an interaction is read at its [CLS] token, got 0")
        return self
