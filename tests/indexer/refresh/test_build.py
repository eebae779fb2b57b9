"""A build publishes a whole version or changes nothing."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from indexer.index import tuning as choice
from indexer.index import vector_index as index
from indexer.refresh import build, encoding, model_copy, publication, writing
from indexer.refresh.build import build_index
from indexer.refresh.settings import RefreshSettings
from indexer.search import catalogue
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.product_table import ProductTable
from indexer.versions.live import live_number, version_numbers
from indexer.versions.version import StoreVersion, read_version, require_files
from ubm_embed import outputs
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import Conflict, InvalidData, NotFound, QualityGateFailed
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import model_id_of

SESSION = Session((Interaction(Action.VIEW, product_id="p1"), Interaction(Action.SEARCH, query="red")))


def answer(store: Path) -> dict[str, Any]:
    """What the live version answers, without the time it took."""
    found = Retriever.open(store).recommend(SESSION, 8).to_dict()
    del found["took_ms"]
    return found


def stored(store: Path, number: int = 1) -> tuple[pl.DataFrame, np.ndarray]:
    """Rows and vectors of a version."""
    opened = EmbeddingStore.open(store)
    table_version = read_version(opened, number).table_version
    rows = opened.table.read(table_version)
    return rows, opened.table.vectors(table_version, np.arange(rows.height))


def test_a_version_says_what_it_is(store: Path, model_folder: Path) -> None:
    version = read_version(EmbeddingStore.open(store))
    assert version.version == 1
    assert version.model_id == model_id_of(model_folder)
    assert (version.kind, version.metric, version.dimension) == ("flat", "inner_product", 16)
    assert (version.products, version.indexed, version.recall_at_10) == (8, 8, 1.0)
    assert version.source == "products.parquet"
    assert version.created.endswith("+00:00")
    assert (version.base, version.product_model_id) == (None, None)
    assert version.changes == {"new": 8, "changed": 0, "updated": 0, "unchanged": 0, "removed": 0, "encoded": 8}
    assert version.uniformity is not None
    assert version.uniformity < 0
    assert version.alignment is not None  # there are interactions
    assert set(version.gates) >= {"vectors", "indexed", "recall", "uniformity"}
    assert all(gate["passed"] for gate in version.gates.values())
    assert set(version.files) == {index.INDEX_FILE, catalogue.IDS_FILE}
    require_files(version, store / "versions" / "1")


def test_the_store_keeps_the_model(store: Path, model_folder: Path) -> None:
    kept = store / "models" / model_id_of(model_folder)
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == {
        file.name: file.read_bytes() for file in model_folder.iterdir()
    }


def test_vectors_are_the_models(store: Path, model_folder: Path, products: pl.DataFrame) -> None:
    rows, vectors = stored(store)
    expected = Embedder.from_pretrained(model_folder).embed_products(products)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert rows["product_id"].equals(products["product_id"])


def test_rows_are_the_catalogues(store: Path, products_file: Path) -> None:
    catalogue = pl.read_parquet(products_file)
    assert stored(store)[0].select(catalogue.columns).equals(catalogue)


def test_popularity_counts_a_products_interactions(store: Path) -> None:
    counts = dict(stored(store)[0].select("product_id", "popularity").iter_rows())
    assert counts == {"p1": 0, "p2": 1, "p3": 3, "p4": 0, "p5": 1, "p6": 0, "p7": 0, "p8": 0}


def test_progress_counts_the_products_of_all_shards(tmp_path: Path, model_folder: Path, products_file: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    build_index(
        model=model_folder,
        products=products_file,
        store=tmp_path / "s",
        settings=RefreshSettings(shard_rows=3),
        progress=lambda what, done, total, note="": seen.append((what, done, total)),
    )
    assert {(what, total) for what, _, total in seen} == {("encoding products", 8)}
    assert {3, 6, 8} <= {done for _, done, _ in seen}
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_a_rebuild_replaces_what_answers(store: Path, model_folder: Path, products_file: Path) -> None:
    before = answer(store)
    fewer = pl.read_parquet(products_file).filter(pl.col("product_id") != before["matches"][0]["product_id"])
    fewer.write_parquet(products_file)
    version = build_index(model=model_folder, products=products_file, store=store)
    after = answer(store)
    assert version.version == after["version"] == 2
    ids = [match["product_id"] for match in after["matches"]]
    assert ids == [match["product_id"] for match in before["matches"][1:]]
    assert Retriever.open(store, version=1).recommend(SESSION, 8).to_dict()["matches"] == before["matches"]


def test_another_model_brings_its_own_vectors(store: Path, other_model_folder: Path, products_file: Path) -> None:
    reader, before = Retriever.open(store), answer(store)
    version = build_index(model=other_model_folder, products=products_file, store=store)
    after = answer(store)
    assert after["model_id"] == version.model_id == model_id_of(other_model_folder) != before["model_id"]
    # Who had opened the old version goes on with the old model over the old vectors.
    assert reader.recommend(SESSION, 8).to_dict()["matches"] == before["matches"] != after["matches"]
    assert Retriever.open(store, version=1).version.model_id == before["model_id"]


STEPS: list[tuple[Any, str]] = [
    (shutil, "copyfile"),
    (model_copy, "model_id_of"),
    (writing, "cut"),
    (Embedder, "embed_products"),
    (encoding, "require_sound"),
    (ProductTable, "write_fragments"),
    (writing, "fragments_of"),
    (ProductTable, "replace"),
    (ProductTable, "compact"),
    (ProductTable, "fsync"),
    (ProductTable, "read"),
    (ProductTable, "pin"),
    (ProductTable, "batches"),
    (index.VectorIndex, "save"),
    (publication, "write_ids"),
    (index.VectorIndex, "load"),
    (publication, "survey"),
    (ProductTable, "vectors"),
    (choice, "recall_at_k"),
    (publication, "digests"),
    (StoreVersion, "write"),
    (outputs, "_replace_folder"),
    (publication, "make_live"),
    (os, "replace"),
    (os, "fsync"),
]


@pytest.mark.parametrize(("owner", "step"), STEPS, ids=[step for _, step in STEPS])
def test_a_build_that_fails_anywhere_changes_nothing(
    store: Path, other_model_folder: Path, products_file: Path, owner: Any, step: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = answer(store)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(owner, step, fail)
        with pytest.raises(OSError, match="No space left"):
            build_index(model=other_model_folder, products=products_file, store=store)
    assert answer(store) == before
    assert not list(store.rglob("*.partial"))
    version = build_index(model=other_model_folder, products=products_file, store=store)
    assert answer(store)["version"] == version.version
    # A version that was whole but never live keeps its number.
    assert version.version == (3 if step == "make_live" else 2)


def test_a_build_that_is_interrupted_changes_nothing(
    store: Path, other_model_folder: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = answer(store)
    monkeypatch.setattr(publication, "write_ids", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_index(model=other_model_folder, products=products_file, store=store)
    assert answer(store) == before
    assert not list(store.rglob("*.partial"))


def test_the_steps_that_fail_above_are_all_taken(
    store: Path, other_model_folder: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def noted(owner: Any, step: str) -> Callable[..., Any]:
        original = owner.__dict__[step]
        function = original.__func__ if isinstance(original, classmethod) else original

        def call(*arguments: Any, **options: Any) -> Any:
            taken.append(step)
            return function(*arguments, **options)

        return classmethod(call) if isinstance(original, classmethod) else call  # type: ignore[return-value]

    for owner, step in STEPS:
        monkeypatch.setattr(owner, step, noted(owner, step))
    build_index(model=other_model_folder, products=products_file, store=store)
    assert set(taken) == {step for _, step in STEPS}


KILLED = """
import os, signal, sys
from indexer.refresh import build
from ubm_embed import outputs
outputs._replace_folder = lambda new, path: path.parent.name == "versions" and os.kill(os.getpid(), signal.SIGKILL)
build.build_index(model=sys.argv[1], products=sys.argv[2], store=sys.argv[3])
"""


def test_a_killed_build_changes_nothing(store: Path, model_folder: Path, products_file: Path) -> None:
    before = answer(store)
    command = [sys.executable, "-c", KILLED, str(model_folder), str(products_file), str(store)]
    ran = subprocess.run(command, cwd=Path(build.__file__).parents[2], capture_output=True, timeout=120)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert list(store.rglob("*.partial"))
    assert answer(store) == before
    build_index(model=model_folder, products=products_file, store=store)
    assert answer(store)["matches"] == before["matches"]
    assert not list(store.rglob("*.partial"))


@pytest.mark.parametrize("value", [np.nan, 0.0, np.inf, 2.0])
def test_vectors_that_are_none_are_not_published(
    store: Path, model_folder: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    embed = Embedder.embed_products

    def damaged(*arguments: Any, **options: Any) -> np.ndarray:
        vectors = embed(*arguments, **options)
        vectors[3] *= value
        return vectors

    before = answer(store)
    monkeypatch.setattr(Embedder, "embed_products", damaged)
    with pytest.raises(QualityGateFailed, match=r"1 of 8 vectors .* that of product 'p4'"):
        build_index(model=model_folder, products=products_file, store=store)
    assert answer(store) == before


def test_an_index_that_finds_too_little_is_not_published(
    store: Path, model_folder: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "recall_at_k", lambda *_: 0.9)
    with pytest.raises(QualityGateFailed, match=r"'recall': the index finds 0\.900 of the exact ten nearest"):
        build_index(model=model_folder, products=products_file, store=store)
    assert live_number(EmbeddingStore.open(store)) == 1


def test_an_index_that_lacks_a_vector_is_not_published(
    store: Path, model_folder: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = index.VectorIndex.build
    monkeypatch.setattr(index.VectorIndex, "build", lambda parts, **_: whole([np.concatenate(list(parts))[:-1]]))
    with pytest.raises(QualityGateFailed, match="'indexed': 8 rows with 8 different ids, of which the index holds 7"):
        build_index(model=model_folder, products=products_file, store=store)
    assert live_number(EmbeddingStore.open(store)) == 1


def test_a_second_writer_is_refused_and_readers_are_not(store: Path, model_folder: Path, products_file: Path) -> None:
    with EmbeddingStore.open(store).write_lock():
        with pytest.raises(Conflict, match="another process is writing"):
            build_index(model=model_folder, products=products_file, store=store)
        assert answer(store)["version"] == 1


@pytest.mark.parametrize("missing", ["model", "products", "interactions"])
def test_bad_inputs_leave_no_store_behind(
    tmp_path: Path, model_folder: Path, products_file: Path, interactions_file: Path, missing: str
) -> None:
    inputs = {"model": model_folder, "products": products_file, "interactions": interactions_file}
    with pytest.raises(NotFound):
        build_index(**(inputs | {missing: tmp_path / "none"}), store=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("task", [Task.PIP, Task.RLP])
def test_a_model_for_another_task_is_refused(
    tmp_path: Path, task_folders: dict[Task, Path], products_file: Path, task: Task
) -> None:
    with pytest.raises(InvalidData, match=f"fine-tuned for {task}, not for nip") as caught:
        build_index(model=task_folders[task], products=products_file, store=tmp_path / "new")
    assert caught.value.file == task_folders[task] / "config.json"
    assert not (tmp_path / "new").exists()


def test_a_model_for_another_task_leaves_a_store_as_it_was(
    store: Path, task_folders: dict[Task, Path], products_file: Path
) -> None:
    before = {file: file.read_bytes() for file in store.rglob("*") if file.is_file()}
    with pytest.raises(InvalidData):
        build_index(model=task_folders[Task.PIP], products=products_file, store=store)
    assert {file: file.read_bytes() for file in store.rglob("*") if file.is_file()} == before


def test_an_empty_catalogue_is_refused(tmp_path: Path, model_folder: Path, products_file: Path) -> None:
    pl.read_parquet(products_file).clear().write_parquet(products_file)
    with pytest.raises(InvalidData, match="no rows"):
        build_index(model=model_folder, products=products_file, store=tmp_path / "new")


def test_a_column_of_the_stores_own_is_refused(tmp_path: Path, model_folder: Path, products_file: Path) -> None:
    pl.read_parquet(products_file).with_columns(popularity=1).write_parquet(products_file)
    with pytest.raises(InvalidData, match=r"products\.parquet, field 'popularity'"):
        build_index(model=model_folder, products=products_file, store=tmp_path / "new")


def test_without_faiss_nothing_is_embedded(
    tmp_path: Path, model_folder: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(NotFound, match="pip install"):
        build_index(model=model_folder, products=products_file, store=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_damaged_copy_of_the_model_is_replaced(store: Path, model_folder: Path, products_file: Path) -> None:
    before = answer(store)
    kept = store / "models" / model_id_of(model_folder)
    (kept / "config.json").unlink()
    build_index(model=model_folder, products=products_file, store=store)
    assert answer(store)["matches"] == before["matches"]


def test_a_model_that_changes_while_it_is_copied_is_refused(
    tmp_path: Path, model_folder: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copyfile

    def changed(source: Path, target: Path) -> None:
        copy(source, target)
        target.write_bytes(target.read_bytes() + b" ")

    monkeypatch.setattr(shutil, "copyfile", changed)
    with pytest.raises(Conflict, match="changed while it was copied"):
        build_index(model=model_folder, products=products_file, store=tmp_path / "new")


def test_ids_stand_beside_their_vectors(store: Path) -> None:
    rows, vectors = stored(store)
    folder = store / "versions" / "1"
    assert catalogue.read_ids(folder / catalogue.IDS_FILE).equals(rows["product_id"])
    assert (index.VectorIndex.load(folder / index.INDEX_FILE).vectors(np.arange(8)) == vectors).all()


@pytest.mark.parametrize("shard_rows", [1, 3, 8])
def test_how_the_work_is_cut_does_not_show(
    store: Path, tmp_path: Path, model_folder: Path, products_file: Path, interactions_file: Path, shard_rows: int
) -> None:
    build_index(
        model=model_folder,
        products=products_file,
        interactions=interactions_file,
        store=tmp_path / "cut",
        settings=RefreshSettings(shard_rows=shard_rows),
    )
    (rows, vectors), (rows_of_cut, vectors_of_cut) = stored(store), stored(tmp_path / "cut")
    assert rows_of_cut.equals(rows)
    np.testing.assert_allclose(vectors_of_cut, vectors, atol=1e-6)


def test_nothing_is_left_of_the_work(store: Path) -> None:
    assert not (store / "staging").exists()
    assert {entry.name for entry in store.iterdir() if not entry.name.startswith(".")} == {
        "live.json",
        "models",
        "products.lance",
        "versions",
    }


def test_a_build_that_stopped_goes_on_where_it_did(
    store: Path, other_model_folder: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    embed, limit = Embedder.embed_products, 6

    def counted(self: Embedder, products: pl.DataFrame, **options: Any) -> Any:
        if len(encoded) + products.height > limit:
            raise OSError("power cut")
        encoded.extend(products["product_id"])
        return embed(self, products, **options)

    def build_it() -> StoreVersion:
        settings = RefreshSettings(shard_rows=2)
        return build_index(model=other_model_folder, products=products_file, store=store, settings=settings)

    monkeypatch.setattr(Embedder, "embed_products", counted)
    with pytest.raises(OSError, match="power cut"):
        build_it()
    assert live_number(EmbeddingStore.open(store)) == 1
    limit = 8
    build_it()
    assert encoded == [f"p{row}" for row in range(1, 9)]
    rows, vectors = stored(store, 2)
    monkeypatch.undo()
    np.testing.assert_allclose(vectors, Embedder.from_pretrained(other_model_folder).embed_products(rows), atol=1e-6)


def test_old_versions_are_pruned(
    store: Path, model_folder: Path, other_model_folder: Path, products_file: Path
) -> None:
    for model in (model_folder, other_model_folder, other_model_folder):
        build_index(model=model, products=products_file, store=store)
    assert version_numbers(EmbeddingStore.open(store)) == [3, 4]
    assert [folder.name for folder in (store / "models").iterdir()] == [model_id_of(other_model_folder)]
    with pytest.raises(NotFound, match=r"no version 2 in .*; there is: 3, 4"):
        Retriever.open(store, version=2)
