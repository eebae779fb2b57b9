"""A build that fails, is killed or is given something wrong changes nothing."""

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

from indexer.index import recall
from indexer.index import vector_index as index
from indexer.refresh import going_live, model_copy, probes, publication, refresh, shards, writing, written_version
from indexer.refresh.refresh import build_index
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.product_table import ProductTable
from indexer.versions.live import live_number
from indexer.versions.version import StoreVersion
from tests.indexer.refresh.shop import answer_of
from ubm_embed import outputs
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import Conflict, InvalidData, NotFound, QualityGateFailed
from ubm_embed.inference.embedder import Embedder

STEPS: list[tuple[Any, str]] = [
    (shutil, "copyfile"),
    (model_copy, "model_id_of"),
    (writing, "stage_shards"),
    (Embedder, "embed_products"),
    (shards, "require_unit_length"),
    (ProductTable, "write_fragments"),
    (writing, "fragments_of"),
    (ProductTable, "replace"),
    (ProductTable, "compact"),
    (ProductTable, "fsync"),
    (ProductTable, "read"),
    (ProductTable, "pin"),
    (ProductTable, "batches"),
    (index.VectorIndex, "save"),
    (written_version, "write_catalogue"),
    (index.VectorIndex, "load"),
    (probes, "exact_scan"),
    (ProductTable, "vectors"),
    (recall, "recall_at_k"),
    (probes.Probes, "write"),
    (publication, "digests"),
    (StoreVersion, "write"),
    (outputs, "_replace_folder"),
    (going_live, "make_live"),
    (os, "replace"),
    (os, "fsync"),
]


@pytest.mark.parametrize(("owner", "step"), STEPS, ids=[step for _, step in STEPS])
def test_a_build_that_fails_anywhere_changes_nothing(
    store: Path, other_model_folder: Path, products_file: Path, owner: Any, step: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = answer_of(store)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(owner, step, fail)
        with pytest.raises(OSError, match="No space left"):
            build_index(model=other_model_folder, products=products_file, store=store)
    assert answer_of(store) == before
    assert not list(store.rglob("*.partial"))
    version = build_index(model=other_model_folder, products=products_file, store=store)
    assert answer_of(store)["version"] == version.version
    # The number of a version that was whole but never live is not used again.
    assert version.version == (3 if step == "make_live" else 2)


def test_an_interrupted_build_changes_nothing(
    store: Path, other_model_folder: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    before = answer_of(store)
    monkeypatch.setattr(written_version, "write_catalogue", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_index(model=other_model_folder, products=products_file, store=store)
    assert answer_of(store) == before
    assert not list(store.rglob("*.partial"))


def test_every_step_that_fails_above_is_taken(
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
from indexer.refresh.refresh import build_index
from ubm_embed import outputs
outputs._replace_folder = lambda new, path: path.parent.name == "versions" and os.kill(os.getpid(), signal.SIGKILL)
build_index(model=sys.argv[1], products=sys.argv[2], store=sys.argv[3])
"""


def test_a_killed_build_changes_nothing(
    store: Path, model_folder: Path, products_file: Path, interactions_file: Path
) -> None:
    before = answer_of(store)
    command = [sys.executable, "-c", KILLED, str(model_folder), str(products_file), str(store)]
    ran = subprocess.run(command, cwd=Path(refresh.__file__).parents[2], capture_output=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert list(store.rglob("*.partial"))
    assert answer_of(store) == before
    build_index(model=model_folder, products=products_file, interactions=interactions_file, store=store)
    assert answer_of(store)["matches"] == before["matches"]
    assert not list(store.rglob("*.partial"))


@pytest.mark.parametrize("value", [np.nan, 0.0, np.inf, 2.0])
def test_bad_vectors_are_not_published(
    store: Path, model_folder: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    embed = Embedder.embed_products

    def damaged(*arguments: Any, **options: Any) -> np.ndarray:
        vectors = embed(*arguments, **options)
        vectors[3] *= value
        return vectors

    before = answer_of(store)
    monkeypatch.setattr(Embedder, "embed_products", damaged)
    with pytest.raises(QualityGateFailed, match=r"1 of 8 vectors .* that of product 'p4'"):
        build_index(model=model_folder, products=products_file, store=store)
    assert answer_of(store) == before


def test_an_index_with_too_little_recall_is_not_published(
    store: Path, model_folder: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall, "recall_at_k", lambda *_: 0.9)
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
        assert answer_of(store)["version"] == 1


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
