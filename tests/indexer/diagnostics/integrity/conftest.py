"""A catalogue large enough for every kind of index, and stores made of it once."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index
from ubm_embed.data.arrays import FloatArray
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.folder import model_id_of

# Changes the vectors that a build writes: [M, D] -> [M, D].
Plant = Callable[[FloatArray], FloatArray]
MakeStore = Callable[..., Path]

_WORDS = (
    ("red", "blue", "brown"),
    ("running", "walking", "leather", "long", "road"),
    ("shoes", "shirt", "belt", "socks"),
)


@pytest.fixture(scope="session")
def catalogue_frame() -> pl.DataFrame:
    """420 products, of which the last 8 have the texts of the first 8."""
    titles = [" ".join(words) for words in itertools.product(*_WORDS, ("22", "24", "32", "34", "42", "43", "44"))]
    titles[-8:] = titles[:8]
    return pl.DataFrame({"product_id": [f"p{row}" for row in range(len(titles))], "title": titles})


@pytest.fixture
def make_store(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, model_folder: Path, catalogue_frame: pl.DataFrame
) -> MakeStore:
    """Makes a store under a name, once, and returns a copy of it."""

    def make(name: str, plant: Plant | None = None, *, model: Path = model_folder, **options: Any) -> Path:
        made = tmp_path_factory.getbasetemp() / f"integrity-{name}-{model_id_of(model)}"
        if not made.exists():
            file = tmp_path / "catalogue.parquet"
            catalogue_frame.write_parquet(file)
            with pytest.MonkeyPatch.context() as patch:
                if plant is not None:
                    patch.setattr(Embedder, "embed_products", _planted(plant))
                build_index(model=model, products=file, store=made, allow=[*Gate], device="cpu", **options)
        return Path(shutil.copytree(made, tmp_path / "store"))

    return make


def _planted(plant: Plant) -> Callable[..., FloatArray]:
    embed = Embedder.embed_products
    return lambda embedder, products, **options: plant(embed(embedder, products, **options))
