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

from indexer import build, catalogue, index
from indexer.build import build_index
from indexer.retrieval import Retriever
from indexer.store import EmbeddingStore
from indexer.version import StoreVersion, live_number, read_version
from ubm_embed import outputs
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.data.tasks import Task
from ubm_embed.embedder import Embedder
from ubm_embed.errors import Conflict, InvalidData, NotFound, QualityGateFailed
from ubm_embed.model.checkpoint import model_id_of

SESSION = Session((Interaction(Action.VIEW, product_id="p1"), Interaction(Action.SEARCH, query="red")))


def answer(store: Path) -> dict[str, Any]:
    """What the live version answers, without the time it took."""
    found = Retriever.open(store).recommend(SESSION, 8).to_dict()
    del found["took_ms"]
    return found


def test_a_version_says_what_it_is(store: Path, model_folder: Path) -> None:
    version = read_version(EmbeddingStore.open(store))
    assert version.version == 1
    assert version.model_id == model_id_of(model_folder)
    assert (version.kind, version.metric, version.dimension) == ("flat", "inner_product", 16)
    assert (version.products, version.indexed, version.recall_at_10) == (8, 8, 1.0)
    assert version.source == "products.parquet"
    assert version.created.endswith("+00:00")


def test_the_store_keeps_the_model(store: Path, model_folder: Path) -> None:
    kept = EmbeddingStore.open(store).model_folder(model_id_of(model_folder))
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == {
        file.name: file.read_bytes() for file in model_folder.iterdir()
    }


def test_vectors_are_the_models(store: Path, model_folder: Path, products: pl.DataFrame) -> None:
    stored = EmbeddingStore.open(store).read_vectors(1)
    expected = Embedder.from_pretrained(model_folder).embed_products(products)
    np.testing.assert_allclose(stored.vectors, expected, atol=1e-6)
    assert stored.product_ids.equals(products["product_id"])


def test_popularity_counts_a_products_interactions(store: Path) -> None:
    counts = dict(EmbeddingStore.open(store).read_products(1).select("product_id", "popularity").iter_rows())
    assert counts == {"p1": 0, "p2": 1, "p3": 3, "p4": 0, "p5": 1, "p6": 0, "p7": 0, "p8": 0}


def test_progress_reaches_the_end(tmp_path: Path, model_folder: Path, products_file: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    build_index(
        model=model_folder,
        products=products_file,
        store=tmp_path / "s",
        progress=lambda what, done, total, note="": seen.append((what, done, total)),
    )
    assert seen[-1] == ("embedding products", 8, 8)


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
    (build, "model_id_of"),
    (Embedder, "embed_products"),
    (EmbeddingStore, "write"),
    (EmbeddingStore, "_require_each_once"),
    (EmbeddingStore, "read_vectors"),
    (index.VectorIndex, "save"),
    (build, "write_ids"),
    (index.VectorIndex, "load"),
    (build, "index_recall_at_k"),
    (StoreVersion, "write"),
    (outputs, "_replace_folder"),
    (build, "make_live"),
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
    monkeypatch.setattr(build, "write_ids", interrupt)
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
from indexer import build
from ubm_embed import outputs
outputs._replace_folder = lambda new, path: path.parent.name == "versions" and os.kill(os.getpid(), signal.SIGKILL)
build.build_index(model=sys.argv[1], products=sys.argv[2], store=sys.argv[3])
"""


def test_a_killed_build_changes_nothing(store: Path, model_folder: Path, products_file: Path) -> None:
    before = answer(store)
    command = [sys.executable, "-c", KILLED, str(model_folder), str(products_file), str(store)]
    ran = subprocess.run(command, cwd=Path(build.__file__).parents[1], capture_output=True, timeout=120)
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
    monkeypatch.setattr(build, "index_recall_at_k", lambda *_: 0.9)
    with pytest.raises(QualityGateFailed, match=r"finds 0\.900 of the exact ten nearest"):
        build_index(model=model_folder, products=products_file, store=store)
    assert live_number(EmbeddingStore.open(store)) == 1


def test_an_index_that_lacks_a_vector_is_not_published(
    store: Path, model_folder: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = index.VectorIndex.build
    monkeypatch.setattr(index.VectorIndex, "build", lambda vectors: whole(vectors[:-1]))
    with pytest.raises(QualityGateFailed, match="holds 7 vectors, expected 8"):
        build_index(model=model_folder, products=products_file, store=store)
    assert live_number(EmbeddingStore.open(store)) == 1


def test_a_second_writer_is_refused_and_readers_are_not(store: Path, model_folder: Path, products_file: Path) -> None:
    with EmbeddingStore.open(store).writing():
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
    kept = EmbeddingStore.open(store).model_folder(model_id_of(model_folder))
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
    opened = EmbeddingStore.open(store)
    stored = opened.read_vectors(1)
    loaded = index.VectorIndex.load(opened.version_folder(1) / index.INDEX_FILE)
    assert catalogue.read_ids(opened.version_folder(1) / catalogue.IDS_FILE).equals(stored.product_ids)
    assert (loaded.vectors(np.arange(8)) == stored.vectors).all()
