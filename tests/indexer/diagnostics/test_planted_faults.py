"""Each fault, planted into a healthy shop, is named by its report; the healthy shop gets no warning.

The shop is the sample shop with a small model that was trained on it for some seconds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from cli.main import run
from indexer.diagnostics.diagnosis import Sources, diagnose_models, diagnose_run, diagnose_version
from indexer.diagnostics.finding import Fault, Severity
from indexer.diagnostics.report import Diagnosis
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index
from indexer.store.embedding_store import EmbeddingStore, model_folder, version_folder
from indexer.store.product_table import ProductTable, VectorBatch
from ubm_embed.data.arrays import FloatArray, IntArray, unit_rows
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.tasks.task import SplitKind, Task
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.folder import ModelFolder
from ubm_embed.model.start import fresh_model
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.finetuning.finetune import finetune
from ubm_embed.training.pretraining.pretrain import pretrain
from ubm_embed.training.recipes import Recipe, finetuning_config, model_sizes, pretraining_config

# Changes the vectors that a build writes: products and their vectors [N, D] -> [N, D].
Plant = Callable[[pl.DataFrame, FloatArray], FloatArray]

EMBED = Embedder.embed_products
# A damaged vector is not that of its text, nor the one in the index.
_OF_OTHER_VECTORS = (Fault.STALE_VECTORS, Fault.FOREIGN_INDEX)
SETTINGS = DiagnosisSettings(queries=300, sessions=300, rounds=50)
SIZES = {"layers": 1, "width": 64, "session_layers": 1, "dimension": 64, "vocab_size": 2048}


@dataclass(frozen=True)
class Shop:
    """A corpus, a model that was trained on it, and a folder for stores.

    Attributes:
        head: a model that predicts purchases.
    """

    home: Path
    model: Path
    head: Path
    corpus: Corpus

    @property
    def products(self) -> Path:
        """The catalogue's file."""
        return self.home / "shop" / "products.parquet"

    @property
    def sources(self) -> Sources:
        """What all diagnoses here read."""
        return Sources(corpus=self.corpus, settings=SETTINGS, device="cpu")

    def build(self, store: Path, plant: Plant | None = None, model: Path | None = None) -> EmbeddingStore:
        """Make a version of a store, with a fault in its vectors."""

        def embed_and_plant(embedder: Embedder, products: pl.DataFrame, **options: Any) -> FloatArray:
            vectors = EMBED(embedder, products, **options)
            return vectors if plant is None else unit_rows(plant(products, vectors).astype(np.float32))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Embedder, "embed_products", embed_and_plant)
            build_index(
                model=model or self.model,
                products=self.products,
                interactions=self.home / "shop" / "interactions.parquet",
                store=store,
                allow=[*Gate],
                device="cpu",
            )
        return EmbeddingStore.open(store)

    def diagnose(self, store: EmbeddingStore, against: int | None = None) -> Diagnosis:
        """The report of the live version."""
        return diagnose_version(store, against=against, sources=self.sources)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    home = tmp_path_factory.mktemp("planted")
    write_sample_shop(home / "shop", products=600, sessions=1000, seed=0)
    corpus = Corpus.open(home / "shop")
    model, tokenizer = fresh_model(corpus, seed=0, **model_sizes(Recipe.SHOP, **SIZES).model_dump())
    steps = {"max_steps": 40, "session_max_steps": 5, "item_batch": 64, "session_batch": 32, "learning_rate": 3e-3}
    config = pretraining_config(Recipe.SHOP, **steps, holdout=0.5, split=SplitKind.SESSION)
    trained = pretrain(corpus, model, tokenizer, home / "model", config)
    tuning = finetuning_config(Recipe.SHOP, Task.PIP, max_steps=40, batch=64, validation_steps=40, learning_rate=1e-3)
    finetune(corpus, trained, home / "head", tuning)
    return Shop(home, home / "model", home / "head", corpus)


@pytest.fixture(scope="module")
def healthy(shop: Shop) -> Path:
    """A store with two healthy versions; the second has other prices."""
    shop.build(shop.home / "healthy")
    shop.build(shop.home / "healthy")
    return shop.home / "healthy"


@pytest.fixture
def store(healthy: Path, tmp_path: Path) -> Path:
    """A copy of the healthy store, to be broken."""
    return Path(shutil.copytree(healthy, tmp_path / "store"))


def faults(diagnosis: Diagnosis) -> set[Fault]:
    """What a report warns of."""
    return {finding.fault for finding in diagnosis.findings if finding.severity is not Severity.NOTE}


def point_to_first_axis(model: UserBehaviorModel) -> None:
    """Make all sessions' vectors nearly alike."""
    layers: Any = model.session_encoder.layers
    with torch.no_grad():
        layers.layer[-1].output.LayerNorm.bias[0] += 100.0


def changed_model(folder: Path, to: Path, change: Callable[[Checkpoint], None]) -> Path:
    """A copy of a model with other weights."""
    checkpoint = Checkpoint.from_pretrained(folder)
    with torch.no_grad():
        change(checkpoint)
    to.mkdir()
    save_checkpoint(to, checkpoint.model, checkpoint.tokenizer, dict(checkpoint.record), checkpoint.product_tower)
    return to


class TestHealthy:
    def test_a_version_gets_no_warning(self, shop: Shop, healthy: Path) -> None:
        assert shop.diagnose(EmbeddingStore.open(healthy), against=1).findings == ()

    def test_a_model_gets_no_warning(self, shop: Shop) -> None:
        sources = Sources(corpus=shop.corpus, heads=[ModelFolder.open(shop.head)], settings=SETTINGS, device="cpu")
        assert diagnose_models([shop.model], sources).findings == ()

    def test_its_training_gets_no_warning(self, shop: Shop) -> None:
        diagnosis = diagnose_run(shop.model)
        assert diagnosis.findings == ()
        assert "final_loss" in diagnosis.metrics


class TestAModel:
    def test_collapsed(self, shop: Shop, tmp_path: Path) -> None:
        broken = changed_model(shop.model, tmp_path / "broken", lambda whole: point_to_first_axis(whole.model))
        assert Fault.COLLAPSED in faults(diagnose_models([broken], shop.sources))

    @pytest.mark.filterwarnings("error::RuntimeWarning")
    def test_weights_that_are_not_numbers(self, shop: Shop, tmp_path: Path) -> None:
        def spoil(checkpoint: Checkpoint) -> None:
            next(checkpoint.model.interaction_encoder.parameters()).fill_(np.nan)

        diagnosis = diagnose_models([changed_model(shop.model, tmp_path / "broken", spoil)], shop.sources)
        assert faults(diagnosis) == {Fault.INVALID_VECTORS}
        json.dumps(diagnosis.to_dict(), allow_nan=False)

    def test_overconfident(self, shop: Shop, tmp_path: Path) -> None:
        def exaggerate(checkpoint: Checkpoint) -> None:
            head: Any = checkpoint.model.head
            counting = head.counting
            for value in [*list(head.parameters())[-2:], counting.weights, counting.bias, counting.values]:
                value *= 10.0

        broken = changed_model(shop.head, tmp_path / "broken", exaggerate)
        sources = Sources(corpus=shop.corpus, heads=[ModelFolder.open(broken)], settings=SETTINGS, device="cpu")
        assert Fault.OVERCONFIDENT in faults(diagnose_models([shop.model], sources))

    def test_popular_products_for_every_session(self, shop: Shop, tmp_path: Path) -> None:
        popular = shop.corpus.interactions["product_id"].drop_nulls().value_counts(sort=True)["product_id"].head(15)
        direction = np.eye(SIZES["dimension"], dtype=np.float32)[0]
        tower = Checkpoint.from_pretrained(shop.model)
        session_tower = tower.model.fine_tuned(task=Task.NIP, product_tower=tower.model_id)
        point_to_first_axis(session_tower)
        (tmp_path / "broken").mkdir()
        save_checkpoint(tmp_path / "broken", session_tower, tower.tokenizer, dict(tower.record), tower)

        def gather(products: pl.DataFrame, vectors: FloatArray) -> FloatArray:
            ids = products["product_id"].to_list()
            vectors = vectors.copy()
            for rank, product_id in enumerate(popular, start=1):  # the more popular, the nearer to every session
                row = ids.index(product_id)
                vectors[row] = direction + 0.05 * rank * vectors[row]
            return vectors

        store = shop.build(tmp_path / "store", gather, tmp_path / "broken")
        assert Fault.POPULARITY_ONLY in faults(shop.diagnose(store))


class TestAVersion:
    def test_vectors_that_belong_to_other_products(self, shop: Shop, tmp_path: Path) -> None:
        store = shop.build(tmp_path / "store", lambda _, vectors: np.roll(vectors, 1, axis=0))
        assert Fault.SWAPPED_VECTORS in faults(shop.diagnose(store))

    def test_half_of_the_catalogue_stale(self, shop: Shop, tmp_path: Path) -> None:
        embedder = Embedder.from_pretrained(shop.model)

        def stale(products: pl.DataFrame, vectors: FloatArray) -> FloatArray:
            before = products.with_columns(title=pl.format("old {} model", pl.col("title").str.slice(0, 8)))
            old = EMBED(embedder, before)
            half = np.arange(len(vectors))[:, None] % 2 == 0
            return np.where(half, old, vectors)

        store = shop.build(tmp_path / "store", stale)
        assert Fault.STALE_VECTORS in faults(shop.diagnose(store))

    def test_the_index_of_another_version(self, shop: Shop, tmp_path: Path) -> None:
        shop.build(tmp_path / "store", lambda _, vectors: vectors[:, ::-1])
        store = shop.build(tmp_path / "store")
        folders = [tmp_path / "store" / version_folder(number) for number in (1, 2)]
        shutil.copy(folders[0] / "index.faiss", folders[1] / "index.faiss")
        assert Fault.FOREIGN_INDEX in faults(shop.diagnose(store))

    def test_a_tokenizer_exchanged(self, shop: Shop, store: Path) -> None:
        opened = EmbeddingStore.open(store)
        model_id = ModelFolder.open(shop.model).model_id
        file = store / model_folder(model_id) / "tokenizer.json"
        tokenizer = json.loads(file.read_text("utf-8"))
        vocabulary = tokenizer["model"]["vocab"]
        words = [word for word in vocabulary if not word.startswith("[")]
        numbers = [vocabulary[word] for word in words]
        vocabulary |= dict(zip(words, numbers[1:] + numbers[:1], strict=True))
        file.write_text(json.dumps(tokenizer), "utf-8")
        assert Fault.CHANGED_ANSWERS in faults(shop.diagnose(opened))

    def test_duplicates(self, shop: Shop, tmp_path: Path) -> None:
        def duplicate(products: pl.DataFrame, vectors: FloatArray) -> FloatArray:
            vectors = vectors.copy()
            tenth = len(vectors) // 10
            vectors[:tenth] = vectors[tenth]
            return vectors

        store = shop.build(tmp_path / "store", duplicate)
        assert Fault.DUPLICATE_VECTORS in faults(shop.diagnose(store))


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_vectors_that_are_not_numbers(shop: Shop, healthy: Path, monkeypatch: pytest.MonkeyPatch, bad: float) -> None:
    """No section passes them on: a report with a NaN in it would be no JSON."""
    read_batches, read_vectors = ProductTable.batches, ProductTable.vectors

    def batches(table: ProductTable, version: int) -> Iterator[VectorBatch]:
        for batch in read_batches(table, version):
            yield batch._replace(vectors=spoilt(batch.vectors, np.arange(len(batch.vectors))))

    def vectors(table: ProductTable, version: int, rows: IntArray) -> FloatArray:
        return spoilt(read_vectors(table, version, rows), rows)

    def spoilt(read: FloatArray, rows: IntArray) -> FloatArray:
        return np.where(np.asarray(rows)[:, None] % 50 == 3, np.float32(bad), read)

    monkeypatch.setattr(ProductTable, "batches", batches)
    monkeypatch.setattr(ProductTable, "vectors", vectors)
    diagnosis = shop.diagnose(EmbeddingStore.open(healthy), against=1)
    assert {Fault.INVALID_VECTORS} <= faults(diagnosis) <= {Fault.INVALID_VECTORS, *_OF_OTHER_VECTORS}
    json.dumps(diagnosis.to_dict(), allow_nan=False)


def test_one_category_shifted(shop: Shop, store: Path) -> None:
    category = pl.read_parquet(shop.products)["category"].value_counts(sort=True)["category"][3]

    def shift(products: pl.DataFrame, vectors: FloatArray) -> FloatArray:
        moved = (products["category"] == category).fill_null(value=False).to_numpy()[:, None]
        return np.where(moved, np.roll(vectors, 7, axis=1), vectors)

    diagnosis = shop.diagnose(shop.build(store, shift), against=2)
    (finding,) = (finding for finding in diagnosis.findings if finding.fault is Fault.SHIFTED_CATEGORY)
    assert category in finding.problem


def test_a_nightly_job_stops_at_a_fault(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = shop.build(tmp_path / "store", lambda _, vectors: np.roll(vectors, 1, axis=0))
    code = run(["diagnose", "--store", str(store.uri), "--format", "json", "--fail-on", "error"])
    captured = capsys.readouterr()
    assert code == 6
    assert json.loads(captured.out)["findings"][0]["fault"] == Fault.SWAPPED_VECTORS
    assert "--fail-on error: " in captured.err
