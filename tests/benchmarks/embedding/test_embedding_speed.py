"""The runner saves what it timed, names what it left out, and makes its table from the report alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.embedding import embedding_speed
from benchmarks.embedding.rivals import write_home
from benchmarks.report import RESULTS
from tests.rounding import LAYER, rounding_error
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import NotFound
from ubm_embed.inference.runtimes import selection
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.start import fresh_model
from ubm_embed.model.user_behavior_model import UserBehaviorModel


def missing(model: Checkpoint, device: str) -> Any:
    raise NotFound("not installed")


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    write_sample_shop(tmp_path / "shop", products=60, sessions=10, seed=0)
    model, tokenizer = fresh_model(Corpus.open(tmp_path / "shop"), seed=0, dimension=16, layers=1, width=16)
    (tmp_path / "model").mkdir()
    save_checkpoint(tmp_path / "model", model, tokenizer, {})
    return tmp_path / "model"


def test_a_report_has_the_seconds_of_every_round(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    builds = {name: missing for name in RuntimeName if name not in (RuntimeName.AUTO, RuntimeName.TORCH)}
    monkeypatch.setattr(selection, "BUILDS", builds)
    # An interpreter without sentence-transformers, which ends with that message.
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\ncase $1 in -c) echo '{}';; *) echo no such module >&2; exit 1;; esac\n")
    python.chmod(0o755)
    out = tmp_path / "report.json"
    arguments = ["--model", model_folder, "--products", 60, "--rounds", 2, "--rival-python", python, "--out", out]
    embedding_speed.main(list(map(str, arguments)))
    report = json.loads(out.read_text("utf-8"))
    assert str(tmp_path) not in json.dumps(report["settings"]), "reports are published, so they hold no paths"
    assert report["catalogue"]["products"] == 60
    (name, row), *others = report["rows"].items()
    assert (name, others) == ("torch", [])
    assert len(row["seconds"]) == 2
    assert (row["nearest"], report["auto"]["runtime"]) == (1.0, "torch")
    assert report["left_out"]["onnx-int8"] == "not installed"
    assert report["left_out"]["sentence-transformers"] == "no such module"
    measured = capsys.readouterr().out
    assert "Left out: openvino: not installed" in measured
    embedding_speed.main(["--show", str(out)])
    assert capsys.readouterr().out == measured, "the table comes from the saved report alone"


def test_rates_are_medians_and_ratios_are_of_one_round() -> None:
    base = {"cosine": 1.0, "min_cosine": 1.0, "nearest": 1.0}
    rows = {
        "openvino": {"seconds": [1.0, 2.0, 5.0], "cosine": 0.99999, "min_cosine": 0.9999, "nearest": 0.996},
        embedding_speed.DEFAULT: {"seconds": [4.0, 6.0, 10.0], **base},
    }
    line = embedding_speed.table({"rows": rows, "catalogue": {"products": 100}}).splitlines()[2]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells == ["openvino", "50", "3.00 x", "0.99999", "0.99990", "99.6%"]


def test_a_rival_has_our_weights_and_token_ids(
    tmp_path: Path, model: UserBehaviorModel, tokenizer: InteractionTokenizer
) -> None:
    from transformers import AutoModel, PreTrainedTokenizerFast

    checkpoint = Checkpoint(model, tokenizer, "toy")
    sequences = TokenTable.from_rows([[2, 10, 100, 5, 3], [2, 50, 3]])
    write_home(tmp_path / "home", checkpoint, sequences)
    texts = json.loads((tmp_path / "home" / "texts.json").read_text("utf-8"))
    words = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "home" / "model" / "tokenizer.json"))
    model_of_rival = AutoModel.from_pretrained(tmp_path / "home" / "model", add_pooling_layer=False).eval()
    expected = embedding_speed.interaction_vectors(checkpoint, sequences)
    for row, text in enumerate(texts):
        ids = words(text)["input_ids"]
        assert ids == sequences.row(row).tolist()
        with torch.inference_mode():
            vector = model_of_rival(input_ids=torch.tensor([ids])).last_hidden_state[0, 0].numpy()
        difference = np.abs(vector / np.linalg.norm(vector) - expected[row]).max()
        assert difference <= rounding_error(2 * LAYER, 64)


def test_earlier_reports_and_quick_runs_are_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    embedding_speed.main(["--show", str(RESULTS / "embedding_speed.json")])
    assert "| torch-bfloat16 " in capsys.readouterr().out
    quick = embedding_speed.parse(["--quick", "--model", "model", "--runtimes", "openvino"])
    assert (quick.products, quick.rivals, quick.runtimes) == (1000, [], ["torch", "openvino"])
