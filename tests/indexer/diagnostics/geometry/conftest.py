"""A tiny model, and spaces whose vectors a test chooses."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest
import torch

from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import ModelSpace
from ubm_embed.data.arrays import FloatArray, unit_rows
from ubm_embed.data.corpus import PRODUCT_SCHEMA
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.bert import bert_config
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.config import UBMConfig
from ubm_embed.model.user_behavior_model import InteractionEncoder, UserBehaviorModel

# Of the toy shop, so that the tokenizer knows them.
WORDS = ("red", "blue", "running", "shoes", "shirt", "long", "road", "boots")
WIDTH = 16

MakeSpace = Callable[..., ModelSpace]


@pytest.fixture(scope="session")
def embedder(tokenizer: InteractionTokenizer) -> Embedder:
    """A tiny model."""
    torch.manual_seed(0)
    encoder = bert_config(vocab_size=tokenizer.vocab_size, layers=1, width=WIDTH, heads=2)
    config = UBMConfig(
        dimension=WIDTH, session_layers=1, session_heads=2, max_interactions=8, interaction_encoder=encoder.to_dict()
    )
    model = UserBehaviorModel(config, InteractionEncoder(encoder, config.dimension)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return Embedder(Checkpoint(model, tokenizer, {}), device="cpu")


@pytest.fixture(scope="session")
def settings() -> DiagnosisSettings:
    """Small samples."""
    return DiagnosisSettings(sample=400, queries=200, texts=20, rounds=20)


@pytest.fixture(scope="session")
def titles() -> list[str]:
    """512 different texts."""
    return [" ".join(words) for words in itertools.product(WORDS, repeat=3)]


@pytest.fixture(scope="session")
def vectors() -> FloatArray:
    """500 random directions, which is as healthy as a space can be."""
    return unit_rows(np.random.default_rng(0).standard_normal((500, WIDTH)).astype(np.float32))


@pytest.fixture(scope="session")
def make_space(embedder: Embedder, titles: list[str]) -> MakeSpace:
    """Makes a space of these vectors; its products have different texts unless a test names others."""

    def make(vectors: FloatArray, texts: Sequence[str] = (), popularity: np.ndarray | None = None) -> ModelSpace:
        rows = [
            {"product_id": f"p{row}", "title": title, "category": None, "attributes": []}
            for row, title in enumerate((texts or titles)[: len(vectors)])
        ]
        return ModelSpace("toy", embedder, pl.DataFrame(rows, schema=PRODUCT_SCHEMA), vectors, popularity)

    return make
