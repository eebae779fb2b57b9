"""What a service is asked about, made once: stores of two versions, their products and sessions."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.retrieval.shop_home import TrainedShop
from benchmarks.retrieval.trained_shop import SESSIONS
from benchmarks.serving.shoppers import Document
from indexer.refresh.gates import Gate
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import version_numbers
from ubm_embed.data.corpus import PRODUCTS_FILE, Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.outputs import output_folder

# No product of the sample shop costs as much, so a price says which version a match was read from.
DEARER = 10_000.0


@dataclass(frozen=True)
class ServingShop:
    """A shop as it is served.

    Attributes:
        folder: with its store and what else is made of it.
        corpus: its products.
        model: folder of the model that reads it.
        sessions: with product ids, at least two interactions each.
        product_ids: of all products.
    """

    folder: Path
    corpus: Path
    model: Path
    sessions: Sequence[Document]
    product_ids: Sequence[str]

    @property
    def store(self) -> Path:
        """Its store, of two versions."""
        return self.folder / "store"

    def versions(self) -> tuple[int, int]:
        """The two versions; the second has the products of the first, each `DEARER`."""
        *_, first, second = version_numbers(EmbeddingStore.open(self.store))
        return first, second


def serving_shop(home: TrainedShop, products: int | None, sessions: int) -> ServingShop:
    """Make what HOME lacks.

    Args:
        products: None for all of HOME's; else those of another sample shop, which the same model reads.
        sessions: how many are read.

    Raises:
        RuntimeError: a command failed; stderr has why.
    """
    folder = home.home / "serving" / (f"{products}_products" if products else "all_products")
    shop = home if products is None else TrainedShop(folder)
    if not shop.corpus.exists():
        write_sample_shop(shop.corpus, products=products or 0, sessions=SESSIONS, seed=0)
    _make_store(folder, home.store if products is None else None, home.model, shop.corpus / PRODUCTS_FILE)
    documents = [one for one in shop.sessions() if len(one["interactions"]) > 1][:sessions]
    names = Corpus.open(shop.corpus).products["product_id"].to_list()
    return ServingShop(folder, shop.corpus, home.model, documents, names)


def _make_store(folder: Path, source: Path | None, model: Path, catalogue: Path) -> None:
    """A store of two versions: a copy of `source`, if there is one, and the products at other prices."""
    if (folder / "store").exists():
        return
    with output_folder(folder / "store") as aside:
        if source is not None:
            shutil.copytree(source, aside, dirs_exist_ok=True)
        else:
            command("build-index", "--model", model, "--products", catalogue, "--store", aside)
        dearer = aside.with_name("dearer.parquet")
        pl.read_parquet(catalogue).with_columns(pl.col("price") + DEARER).write_parquet(dearer)
        command("refresh", "--store", aside, "--products", dearer)
        dearer.unlink()


def command(*arguments: str | Path) -> None:
    """Run a command of this code; gates are open, as the model need not be a good one.

    Raises:
        RuntimeError: it failed; stderr has why.
    """
    gates = [part for gate in Gate for part in ("--allow", gate.value)]
    line = [sys.executable, "-P", "-m", "cli", *map(str, arguments), "--device", "cpu", *gates]
    if subprocess.run(line, stdout=subprocess.DEVNULL, check=False).returncode:
        raise RuntimeError(f"failed: {' '.join(line)}")
