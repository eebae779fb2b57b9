"""Folders of sentence-transformers say how tokens become a vector."""

import json

import pytest

from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.pooling import takes_mean_of_tokens

MEAN = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
CLS = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}


def write(folder, pooling=MEAN, kinds=("Transformer", "Pooling", "Normalize")):
    modules = [
        {"idx": number, "path": f"{number}_{kind}" if number else "", "type": f"sentence_transformers.models.{kind}"}
        for number, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize(("pooling", "mean"), [(MEAN, True), (CLS, False)])
@pytest.mark.parametrize("kinds", [("Transformer", "Pooling"), ("Transformer", "Pooling", "Normalize")])
def test_mean_or_cls(tmp_path, pooling, mean, kinds):
    write(tmp_path, pooling, kinds)
    assert takes_mean_of_tokens(tmp_path) is mean


def test_another_folder_says_nothing(tmp_path):
    assert takes_mean_of_tokens(tmp_path) is None


@pytest.mark.parametrize(
    ("pooling", "problem"),
    [
        ({"pooling_mode_max_tokens": True}, "got pooling_mode_max_tokens"),
        (MEAN | {"pooling_mode_cls_token": True}, "got pooling_mode_mean_tokens, pooling_mode_cls_token"),
        ({}, "got neither"),
    ],
)
def test_another_pooling_is_refused(tmp_path, pooling, problem):
    write(tmp_path, pooling)
    with pytest.raises(InvalidData, match=problem) as caught:
        takes_mean_of_tokens(tmp_path)
    assert caught.value.file == tmp_path / "1_Pooling" / "config.json"


@pytest.mark.parametrize(
    ("kinds", "problem"), [(("Transformer", "Pooling", "Dense"), "got Dense"), (("Transformer",), "one module Pooling")]
)
def test_other_modules_are_refused(tmp_path, kinds, problem):
    write(tmp_path, kinds=kinds)
    with pytest.raises(InvalidData, match=problem):
        takes_mean_of_tokens(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[" * 100_000])
def test_damaged_modules_are_named(tmp_path, text):
    (tmp_path / "modules.json").write_text(text)
    with pytest.raises(InvalidData) as caught:
        takes_mean_of_tokens(tmp_path)
    assert caught.value.file == tmp_path / "modules.json"


def test_a_missing_configuration(tmp_path):
    write(tmp_path)
    (tmp_path / "1_Pooling" / "config.json").unlink()
    with pytest.raises(NotFound, match=r"1_Pooling/config\.json is missing"):
        takes_mean_of_tokens(tmp_path)
