"""A model folder read without its weights: what it tells, when it hashes, and what it notices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.model import folder as folder_module
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.config import CONFIG_FILE
from ubm_embed.model.folder import (
    GRAPHS,
    PRODUCT_TOWER,
    RECORD_FILE,
    WEIGHTS_FILE,
    ModelFolder,
    copy_checkpoint,
    model_id_of,
    require_task,
)
from ubm_embed.model.user_behavior_model import UserBehaviorModel

RECORD = {"products": 8}


@pytest.fixture
def base(model: UserBehaviorModel, tokenizer: InteractionTokenizer, tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    save_checkpoint(tmp_path / "base", model, tokenizer, RECORD)
    return tmp_path / "base"


@pytest.fixture
def folder(base: Path, model: UserBehaviorModel, tokenizer: InteractionTokenizer, tmp_path: Path) -> Path:
    """A model that reads sessions, with the model of `base` as its product tower."""
    (tmp_path / "model").mkdir()
    tuned = model.fine_tuned(task=Task.NIP, product_tower=model_id_of(base))
    save_checkpoint(tmp_path / "model", tuned, tokenizer, RECORD, Checkpoint.from_pretrained(base))
    return tmp_path / "model"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders whose files were hashed."""
    folders: list[Path] = []

    def counted(folder: Path) -> str:
        folders.append(folder)
        return model_id_of(folder)

    monkeypatch.setattr(folder_module, "model_id_of", counted)
    return folders


def test_tells_what_the_checkpoint_tells(folder: Path) -> None:
    opened, checkpoint = ModelFolder.open(folder), Checkpoint.from_pretrained(folder)
    assert (opened.path, opened.config, opened.model_id) == (folder, checkpoint.config, checkpoint.model_id)
    assert opened.record == checkpoint.record == {**RECORD, "model_id": opened.model_id}
    assert opened.tokenizer.vocab_size == checkpoint.tokenizer.vocab_size
    assert checkpoint.product_tower is not None
    assert opened.products.model_id == checkpoint.product_tower.model_id
    assert opened.products.products is opened.products
    assert Checkpoint.from_folder(opened).model_id == opened.model_id


def test_is_read_without_pytorch(folder: Path) -> None:
    script = (
        "import sys; from ubm_embed.model.folder import ModelFolder; ModelFolder.open(sys.argv[1]);"
        "print([name for name in ('torch', 'transformers', 'polars', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestIdentity:
    def test_every_file_is_hashed_unless_the_id_is_known(self, folder: Path, hashed: list[Path]) -> None:
        model_id = ModelFolder.open(folder).model_id
        assert sorted(hashed) == [folder, folder / PRODUCT_TOWER]
        hashed.clear()
        assert ModelFolder.open(folder, model_id=model_id).model_id == model_id
        assert hashed == []

    def test_a_known_id_that_the_record_does_not_name_is_proved(self, folder: Path, hashed: list[Path]) -> None:
        model_id = model_id_of(folder)
        (folder / RECORD_FILE).unlink()
        assert ModelFolder.open(folder, model_id=model_id).model_id == model_id
        assert hashed == [folder]

    def test_another_model_than_expected_is_a_conflict(self, folder: Path) -> None:
        with pytest.raises(Conflict, match=f"is model {model_id_of(folder)}, expected {'0' * 16}"):
            ModelFolder.open(folder, model_id="0" * 16)

    def test_another_tower_than_expected_is_a_conflict(self, folder: Path, hashed: list[Path]) -> None:
        record = json.loads((folder / PRODUCT_TOWER / RECORD_FILE).read_text())
        (folder / PRODUCT_TOWER / RECORD_FILE).write_text(json.dumps(record | {"model_id": "0" * 16}))
        with pytest.raises(Conflict, match=f"was written as model {'0' * 16}"):
            ModelFolder.open(folder, model_id=model_id_of(folder))


class TestDamage:
    @pytest.mark.parametrize("part", ["", PRODUCT_TOWER])
    @pytest.mark.parametrize("keep", [0, 7, 100, -1])
    def test_weights_that_were_cut_short_are_noticed_without_hashing(self, folder: Path, part: str, keep: int) -> None:
        file, model_id = folder / part / WEIGHTS_FILE, model_id_of(folder)
        file.write_bytes(file.read_bytes()[:keep])
        with pytest.raises(InvalidData, match="truncated or not a safetensors file") as caught:
            ModelFolder.open(folder, model_id=model_id)
        assert caught.value.file == file

    @pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE, "tokenizer.json"])
    def test_a_missing_file_is_named(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        with pytest.raises(NotFound, match=name):
            ModelFolder.open(folder)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_weights_that_may_not_be_read_are_not_called_missing(self, folder: Path) -> None:
        (folder / WEIGHTS_FILE).chmod(0)
        with pytest.raises(PermissionError, match=WEIGHTS_FILE):
            ModelFolder.open(folder)

    def test_a_tokenizer_of_another_model_is_refused(self, folder: Path) -> None:
        words = " ".join(f"word{chr(97 + number % 26)}{number}" for number in range(300))
        InteractionTokenizer.train([words, words], [], vocab_size=400).save_pretrained(folder)
        with pytest.raises(InvalidData, match="the tokenizer does not belong to the model"):
            ModelFolder.open(folder)


def test_a_task_is_asked_of_it_as_of_a_checkpoint(folder: Path) -> None:
    require_task(ModelFolder.open(folder), Task.NIP)
    with pytest.raises(InvalidData, match="the model was fine-tuned for nip, not for pip") as caught:
        require_task(ModelFolder.open(folder), Task.PIP)
    assert (caught.value.file, caught.value.field) == (folder / CONFIG_FILE, "task")


def test_a_copy_has_the_graphs_too(folder: Path, tmp_path: Path) -> None:
    for part in (folder / GRAPHS, folder / PRODUCT_TOWER / GRAPHS):
        part.mkdir(exist_ok=True)
        (part / "sessions.onnx").write_bytes(b"graph")
    copy_checkpoint(folder, tmp_path / "copy")
    assert (tmp_path / "copy" / GRAPHS / "sessions.onnx").read_bytes() == b"graph"
    assert (tmp_path / "copy" / PRODUCT_TOWER / GRAPHS / "sessions.onnx").read_bytes() == b"graph"
