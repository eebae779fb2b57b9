"""A model's graphs are written with it or not at all, belong to it, and are refused when they are damaged."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import Conflict, InvalidData, NotFound, UbmError
from ubm_embed.inference.runtimes import graph_writer, opening, optional_library
from ubm_embed.inference.runtimes.graph_writer import write_graphs
from ubm_embed.inference.runtimes.graphs import Graphs, read_graphs, verify_graphs
from ubm_embed.inference.runtimes.opening import open_model_runtime
from ubm_embed.model.bert import bert_config
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.config import UBMConfig
from ubm_embed.model.folder import ModelFolder, model_id_of
from ubm_embed.model.user_behavior_model import InteractionEncoder, UserBehaviorModel

TEXTS = TokenTable.from_rows([[2, 100, 101, 3]])


def tiny(tokenizer: InteractionTokenizer, activation: str = "gelu") -> UserBehaviorModel:
    torch.manual_seed(0)
    encoder = bert_config(vocab_size=tokenizer.vocab_size, layers=1, width=16, heads=2)
    encoder.hidden_act = activation
    config = UBMConfig(dimension=16, session_layers=1, session_heads=2, interaction_encoder=encoder.to_dict())
    return UserBehaviorModel(config, InteractionEncoder(encoder, 16)).eval()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, tokenizer: InteractionTokenizer) -> Path:
    """A model with graphs, and a product tower with its own."""
    home = tmp_path_factory.mktemp("written")
    base, tuned = home / "base", home / "tuned"
    base.mkdir()
    tuned.mkdir()
    save_checkpoint(base, tiny(tokenizer), tokenizer, {})
    tower = Checkpoint.from_pretrained(base)
    model = tower.model.fine_tuned(task="nip", product_tower=tower.model_id)
    save_checkpoint(tuned, model.eval(), tokenizer, {}, product_tower=tower)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_writer, "_MIN_WEIGHTS_APART", 1_024)  # so that these tiny ones lie apart, too
        assert write_graphs(tuned)
    return tuned


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(written, tmp_path / "model"))


def graphs(folder: Path) -> Graphs:
    found = read_graphs(folder, model_id_of(folder))
    assert found is not None
    return found


def test_they_stand_in_the_folder_and_change_no_id(folder: Path) -> None:
    before = ModelFolder.open(folder)
    assert (graphs(folder).description.model_id, graphs(folder).head) == (before.model_id, None)
    verify_graphs(graphs(folder))
    verify_graphs(graphs(folder / "product_tower"))
    shutil.rmtree(folder / "graphs")
    assert ModelFolder.open(folder).model_id == before.model_id
    assert read_graphs(folder, before.model_id) is None


def test_all_files_of_a_model_are_as_readable_as_each_other(folder: Path) -> None:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert {file.stat().st_mode for file in files} == {(folder / "config.json").stat().st_mode}


def test_a_bag_of_words_has_graphs_and_weights_that_open(tokenizer: InteractionTokenizer, tmp_path: Path) -> None:
    sizes = {"dimension": 16, "session_layers": 1, "session_heads": 2, "projected": True, "mean_of_tokens": True}
    model = UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size, layers=0, width=16, **sizes)
    save_checkpoint(tmp_path, model.eval(), tokenizer, {})
    assert write_graphs(tmp_path)
    assert Checkpoint.from_pretrained(tmp_path).model.config.projected


def test_they_are_written_again_over_older_ones(folder: Path) -> None:
    (folder / "graphs" / "sessions.onnx").write_bytes(b"damaged")
    (folder / "graphs" / "stray").write_text("")
    assert write_graphs(folder)
    verify_graphs(graphs(folder))
    assert not (folder / "graphs" / "stray").exists()


def test_those_of_another_model_are_refused(folder: Path) -> None:
    with pytest.raises(Conflict, match=r"do not belong to the weights: .* remove the folder graphs"):
        read_graphs(folder, "0123456789abcdef")


@pytest.mark.parametrize("name", ["interactions.onnx", "interactions.weights", "sessions.onnx"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / "graphs" / name).unlink()
    with pytest.raises(InvalidData, match=rf"{name}.*: missing"):
        graphs(folder)


def test_graphs_without_their_description_are_not_complete_yet(folder: Path) -> None:
    (folder / "graphs" / "graphs.json").unlink()
    model_id = ModelFolder.open(folder).model_id
    assert read_graphs(folder, model_id) is None


def test_a_file_cut_short_is_named(folder: Path) -> None:
    file = folder / "graphs" / "sessions.weights"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        InvalidData, match=r"sessions.weights: truncated or damaged: [\d,]+ bytes, expected [\d,]+; remove"
    ):
        graphs(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_called_damaged(folder: Path) -> None:
    (folder / "graphs" / "sessions.weights").chmod(0)
    with pytest.raises(PermissionError, match=r"sessions\.weights"):
        graphs(folder)


def test_a_changed_byte_is_found_by_its_digest(folder: Path) -> None:
    file = folder / "graphs" / "sessions.weights"
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    with pytest.raises(InvalidData, match=r"sessions.weights: damaged"):
        verify_graphs(graphs(folder))


def test_a_graph_of_the_right_size_that_is_none_is_refused(folder: Path) -> None:
    file = folder / "graphs" / "sessions.onnx"
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(InvalidData, match=r"sessions.onnx: not a graph"):
        open_model_runtime(ModelFolder.open(folder), "cpu")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"files": {}}, r"files.*interactions.onnx is not named|files.*sessions.onnx is not named"),
        ({"files": {"../escape.onnx": {"size": 0, "sha256": ""}}}, "files"),
        ({"model_id": 3}, "model_id"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_description_that_is_invalid_names_the_field(folder: Path, change: dict[str, Any], problem: str) -> None:
    file = folder / "graphs" / "graphs.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(InvalidData, match=rf"graphs.json.*({problem})"):
        graphs(folder)


def test_an_encoder_without_a_counterpart_is_left_to_pytorch(tmp_path: Path, tokenizer: InteractionTokenizer) -> None:
    save_checkpoint(tmp_path, tiny(tokenizer, "hardswish"), tokenizer, {})
    with pytest.warns(UserWarning, match=r"left without graphs.*activation .*, got Hardswish"):
        assert not write_graphs(tmp_path)
    assert not (tmp_path / "graphs").exists()
    assert open_model_runtime(ModelFolder.open(tmp_path), "cpu").name == "torch"


def test_a_model_whose_vectors_are_nowhere_is_left_to_pytorch(tmp_path: Path, tokenizer: InteractionTokenizer) -> None:
    model = tiny(tokenizer)
    with torch.no_grad():
        model.session_encoder.layers.layer[0].output.dense.bias.fill_(float("nan"))
    save_checkpoint(tmp_path, model, tokenizer, {})
    with pytest.warns(UserWarning, match="expected vectors with a cosine of at least"):
        assert not write_graphs(tmp_path)
    assert not (tmp_path / "graphs").exists()


def test_without_the_library_that_writes_them_there_are_none(
    tmp_path: Path, tokenizer: InteractionTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(module: str) -> Any:
        raise ImportError(f"No module named {module!r}")

    save_checkpoint(tmp_path, tiny(tokenizer), tokenizer, {})
    monkeypatch.setattr(optional_library, "import_module", missing)
    with pytest.warns(UserWarning, match=r"No module named 'onnx'.*pip install 'ubm-embed\[onnx\]'"):
        assert not write_graphs(tmp_path)


def test_without_graphs_and_pytorch_it_says_what_to_type(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    assert open_model_runtime(ModelFolder.open(folder), "cpu").name == "onnx"
    shutil.rmtree(folder / "graphs")
    with pytest.raises(NotFound, match=r"PyTorch has to read model.*not installed.*pip install 'ubm-embed\[train\]'"):
        open_model_runtime(ModelFolder.open(folder), "cpu")


def test_no_error_of_a_damaged_file_is_a_traceback(folder: Path) -> None:
    for file in sorted((folder / "graphs").glob("*.onnx")):
        content = file.read_bytes()
        for size in (0, 10, len(content) // 2):
            file.write_bytes(content[:size].ljust(len(content), b"\xff"))
            with pytest.raises(UbmError, match=file.name):
                open_model_runtime(ModelFolder.open(folder), "cpu")
        file.write_bytes(content)


@pytest.mark.parametrize("file", ["graphs/interactions.weights", "model.safetensors"])
def test_a_file_cut_short_while_it_is_read_is_named(
    tmp_path: Path, tokenizer: InteractionTokenizer, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_writer, "_MIN_WEIGHTS_APART", 1_024)
    model = tiny(tokenizer)
    model.add_item_embeddings(TEXTS, tokenizer)
    save_checkpoint(tmp_path, model, tokenizer, {})
    assert write_graphs(tmp_path)
    runtime = open_model_runtime(ModelFolder.open(tmp_path), "cpu")
    runtime.encode_interactions(TEXTS)
    with open(tmp_path / file, "r+b") as stream:
        stream.truncate(10)
    with pytest.raises(InvalidData, match=rf"{file}: changed while it was in use: 10 bytes"):
        runtime.encode_interactions(TEXTS)
