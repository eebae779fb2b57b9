"""A toy shop, its tokenizer and a tiny model: what most tests start from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import polars as pl
import pytest
import torch
from torch import nn

from ubm_embed.data.corpus import PRODUCT_SCHEMA
from ubm_embed.data.text.tokenizer import InteractionTokenizer, attribute_names, training_texts
from ubm_embed.inference.runtimes.graph_writer import write_graphs
from ubm_embed.model.bert import bert_config
from ubm_embed.model.config import UBMConfig
from ubm_embed.model.folder import GRAPHS, PRODUCT_TOWER, model_id_of
from ubm_embed.model.user_behavior_model import InteractionEncoder, UserBehaviorModel


def _product(product_id: str, title: str, category: str | None, **attributes: str) -> dict[str, object]:
    pairs = [{"name": name, "value": value} for name, value in attributes.items()]
    return {"product_id": product_id, "title": title, "category": category, "attributes": pairs}


# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Tiny matrices gain nothing from threads, and threads that wait for each other on a busy machine cost seconds.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture(scope="session")
def products() -> pl.DataFrame:
    """Eight products with titles of several lengths, with and without category and attributes."""
    return pl.DataFrame(
        [
            _product("p1", "red running shoes", "shoes", colour="red", size="42"),
            _product("p2", "blue running shoes for the long road", "shoes", colour="blue"),
            _product("p3", "red shirt", "shirts", colour="red"),
            _product("p4", "blue shirt", "shirts"),
            _product("p5", "walking boots", "shoes", size="43", material="leather"),
            _product("p6", "leather belt", None, colour="brown"),
            _product("p7", "socks", None),
            _product("p8", "running shirt", "shirts", colour="blue", size="M"),
        ],
        schema=PRODUCT_SCHEMA,
    )


@pytest.fixture(scope="session")
def tokenizer(products: pl.DataFrame) -> InteractionTokenizer:
    """A tokenizer learned from the toy shop."""
    texts = [*training_texts(products, ["red shoes", "blue shirt"])] * 2
    return InteractionTokenizer.train(texts, attribute_names(products), vocab_size=256)


@pytest.fixture(scope="session")
def removal_tokenizer(products: pl.DataFrame, tokenizer: InteractionTokenizer) -> InteractionTokenizer:
    """As many tokens, one of them for removals from the cart."""
    texts, size = [*training_texts(products, ["red shoes", "blue shirt"])] * 2, tokenizer.vocab_size
    return InteractionTokenizer.train(texts, attribute_names(products), vocab_size=size, removals=True)


@pytest.fixture
def model(tokenizer: InteractionTokenizer) -> UserBehaviorModel:
    """A tiny model for inference, a fresh one for each test, in which every layer does something."""
    torch.manual_seed(0)
    encoder = bert_config(vocab_size=tokenizer.vocab_size, layers=2, width=16, heads=2)
    config = UBMConfig(
        dimension=16, session_layers=2, session_heads=2, max_interactions=8, interaction_encoder=encoder.to_dict()
    )
    built = UserBehaviorModel(config, InteractionEncoder(encoder, config.dimension))
    stir(built)
    return built.eval()


@pytest.fixture(scope="session")
def with_graphs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Gives a saved model its graphs, and returns its folder. The graphs of a model are made once for all tests."""
    made = tmp_path_factory.mktemp("graphs")

    def complete(folder: Path) -> Path:
        if not (known := made / model_id_of(folder)).is_dir():
            write_graphs(folder)
            shutil.copytree(folder / GRAPHS, known)
        shutil.copytree(known, folder / GRAPHS, dirs_exist_ok=True)
        if (folder / PRODUCT_TOWER).is_dir():
            complete(folder / PRODUCT_TOWER)
        return folder

    return complete


@pytest.fixture(name="stir", scope="session")
def stir_fixture() -> Callable[[nn.Module], None]:
    """`stir`, for tests that build a module of their own."""
    return stir


def stir(module: nn.Module) -> None:
    """Put noise on every weight: a fresh session encoder's branches are silent, and would hide a fault."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
