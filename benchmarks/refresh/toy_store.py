"""The input of the refresh runners: catalogues of the sample shop, and an untrained encoder.

The cost of a refresh does not depend on what vectors mean, only on how much there is to encode. So the encoder is
untrained: `tiny` costs little and writes vectors of the usual width, `paper` has the paper's sizes.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import torch

from indexer.refresh.gates import Gate
from indexer.refresh.settings import RefreshSettings
from ubm_embed.data.corpus import PRODUCTS_FILE
from ubm_embed.data.sample_shop.shop import write_sample_shop
from ubm_embed.data.text.tokenizer import InteractionTokenizer, attribute_names, training_texts
from ubm_embed.model.bert import bert_config
from ubm_embed.model.checkpoint import save_checkpoint
from ubm_embed.model.config import UBMConfig
from ubm_embed.model.user_behavior_model import InteractionEncoder, UserBehaviorModel

# Layers, width and heads of the interaction encoder, and layers of the session encoder; vectors are 256 wide in both.
ENCODERS = {"tiny": (1, 32, 2, 1), "paper": (4, 256, 8, 4)}
DIMENSION = 256
# Vectors of an untrained encoder are all alike, which these gates would refuse.
ALLOW = (Gate.NEIGHBOURS, Gate.CENTROID, Gate.UNIFORMITY, Gate.ROWS)
SETTINGS = RefreshSettings()


def write_catalogue(folder: Path, products: int, seed: int) -> Path:
    """Write a catalogue of the sample shop with this number of products; returns its file."""
    write_sample_shop(folder / "shop", products=products, sessions=1, seed=seed, overwrite=True)
    return folder / "shop" / PRODUCTS_FILE


def write_model(folder: Path, catalogue: Path, encoder: str, seed: int) -> Path:
    """Write an untrained model with a vocabulary from the catalogue; returns its folder."""
    sample = pl.scan_parquet(catalogue).head(5000).collect()
    tokenizer = InteractionTokenizer.train(training_texts(sample, []), attribute_names(sample), vocab_size=8000)
    layers, width, heads, session_layers = ENCODERS[encoder]
    torch.manual_seed(seed)
    config = bert_config(vocab_size=tokenizer.vocab_size, layers=layers, width=width, heads=heads)
    sizes = UBMConfig(
        dimension=DIMENSION, session_layers=session_layers, session_heads=8, interaction_encoder=config.to_dict()
    )
    model = UserBehaviorModel(sizes, InteractionEncoder(config, DIMENSION)).eval()
    (folder / "model").mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "model", model, tokenizer, {})
    return folder / "model"
