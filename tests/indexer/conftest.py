"""A toy shop's files, and a store built from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from torch import nn

from indexer.build import build_index
from ubm_embed.data.tasks import Task
from ubm_embed.data.tokenizer import InteractionTokenizer
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel


@pytest.fixture
def model_folder(tmp_path: Path, model: UserBehaviorModel, tokenizer: InteractionTokenizer) -> Path:
    """A folder with the tiny model."""
    (tmp_path / "model").mkdir()
    save_checkpoint(tmp_path / "model", model, tokenizer, {"note": "toy"})
    return tmp_path / "model"


@pytest.fixture
def other_model_folder(
    tmp_path: Path,
    model_folder: Path,  # saved first: stirring changes the weights in place
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    stir: Callable[[nn.Module], None],
) -> Path:
    """A folder with a model of the same shape and other weights."""
    (tmp_path / "other_model").mkdir()
    stir(model)
    save_checkpoint(tmp_path / "other_model", model, tokenizer, {})
    return tmp_path / "other_model"


@pytest.fixture
def session_model_folder(
    tmp_path: Path,
    model_folder: Path,
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    stir: Callable[[nn.Module], None],
) -> Path:
    """A folder with a model that reads sessions only; the tiny model is its product tower."""
    tower = Checkpoint.from_pretrained(model_folder)
    tuned = model.fine_tuned(task=Task.NIP, product_tower=tower.model_id)
    stir(tuned)
    (tmp_path / "session_model").mkdir()
    save_checkpoint(tmp_path / "session_model", tuned, tokenizer, {}, tower)
    return tmp_path / "session_model"


@pytest.fixture
def task_folders(
    tmp_path: Path, model: UserBehaviorModel, tokenizer: InteractionTokenizer, stir: Callable[[nn.Module], None]
) -> dict[Task, Path]:
    """A folder with a model for purchase intention, and one for remaining length."""
    folders = {}
    for task in (Task.PIP, Task.RLP):
        tuned = model.fine_tuned(task=task)
        stir(tuned)
        folders[task] = tmp_path / f"{task}_model"
        folders[task].mkdir()
        save_checkpoint(folders[task], tuned, tokenizer, {})
    return folders


@pytest.fixture
def products_file(tmp_path: Path, products: pl.DataFrame) -> Path:
    """The toy shop's eight products, with a price."""
    file = tmp_path / "products.parquet"
    products.with_columns(price=pl.Series([float(row) for row in range(products.height)])).write_parquet(file)
    return file


@pytest.fixture
def interactions_file(tmp_path: Path) -> Path:
    """p3 is chosen three times, p5 and p2 once each, and one product that the catalogue lacks twice."""
    chosen = ["p3", "p5", "p3", "gone", "p2", "p3", "gone"]
    frame = pl.DataFrame({"session_id": ["s"] * 7, "position": range(7), "action": ["view"] * 7, "product_id": chosen})
    frame.write_parquet(tmp_path / "interactions.parquet")
    return tmp_path / "interactions.parquet"


@pytest.fixture
def store(tmp_path: Path, model_folder: Path, products_file: Path, interactions_file: Path) -> Path:
    """A store with one version."""
    build_index(model=model_folder, products=products_file, interactions=interactions_file, store=tmp_path / "store")
    return tmp_path / "store"
