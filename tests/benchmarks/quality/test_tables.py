"""Every row of the tables is trained, evaluated and written; an interrupted run can be resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertModel

from benchmarks.quality import tables
from benchmarks.quality.rows import TABLE_1, TABLE_2
from benchmarks.quality.sizes import SIZES
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.evaluation.head_baselines import LINEAR, TREES
from ubm_embed.model.bert import bert_config


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny made-up shop."""
    folder = tmp_path_factory.mktemp("tables") / "shop"
    write_sample_shop(folder, products=60, sessions=500, seed=0)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT checkpoint of random weights, with a vocabulary of letters."""
    folder = tmp_path_factory.mktemp("tables") / "bert"
    letters = [chr(code) for code in range(97, 123)] + [str(digit) for digit in range(10)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    torch.manual_seed(0)
    BertModel(bert_config(vocab_size=len(words), layers=2, width=16, heads=2)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    return folder


COUNTING = ["co-occurrence", "recent co-occurrence", "directional counting", "VMIS-kNN", "POP"]


def run(shop, out, *options):
    # Few rounds: the width of an interval does not matter here, and classification metrics are slow.
    few = ["--size", "smoke", "--bootstrap-rounds", "5"]
    tables.main(["--data", str(shop), *few, "--out", str(out), *map(str, options)])
    return json.loads(out.read_text("utf-8"))


@pytest.mark.parametrize("task", ["nip", "pip", "rlp"])
def test_every_row_of_table_1_is_trained_and_evaluated(shop, bert, tmp_path, task, capsys):
    report = run(shop, tmp_path / "table.json", "--task", task, "--bert", bert, "--stand-in", "random weights")
    names = [row.name for row in TABLE_1 if task in row.tasks and row.needs != "electra"]
    simple = {"nip": COUNTING, "pip": ["RAND", LINEAR, TREES], "rlp": ["FIXED", TREES]}[task]
    assert [row["row"] for row in report["rows"]] == [*simple, *names]
    assert report["subject"] == "UBM, shop recipe"
    for row in report["rows"]:
        assert all(one["low"] <= one["high"] for one in row["metrics"].values())
        assert (row["p_values"] is None) == (row["row"] == report["subject"])
        assert (row["uniformity"] is not None) == (row["row"].startswith(("BERT", "UBM")))
        starts_from_bert = row["row"].startswith("BERT") or row["row"] in ("UBM", "UBM, products trained", "UBM_wo")
        assert row["note"] == ("stand-in: random weights" if starts_from_bert else "")
    output = capsys.readouterr()
    assert "| UBM " in output.out
    assert "ELECTRA_small is left out: it needs --electra" in output.err


def test_table_2_leaves_out_one_loss_at_a_time(shop, tmp_path):
    report = run(shop, tmp_path / "table.json", "--table", "2")
    names = [row["row"] for row in report["rows"] if row["group"] == "ours"]
    assert names == [row.name for row in TABLE_2] == ["UBM", *(f"UBM_no_loss{number}" for number in (1, 2, 3, 4))]


def test_rows_without_their_checkpoint_are_left_out(shop, tmp_path, capsys):
    report = run(shop, tmp_path / "table.json", "--rows", "BERT_mini", "UBM_wo")
    assert [row["row"] for row in report["rows"]] == [*COUNTING, "UBM_wo"]
    assert "BERT_mini is left out: it needs --bert" in capsys.readouterr().err


def test_a_table_is_resumed_and_combined_from_parts(shop, tmp_path, monkeypatch, capsys):
    whole = run(shop, tmp_path / "whole.json", "--rows", "GRU4Rec", "static text")
    first = run(shop, tmp_path / "first.json", "--rows", "static text")
    assert [row["row"] for row in first["rows"]][len(COUNTING) :] == ["static text"]
    capsys.readouterr()
    both = run(shop, tmp_path / "first.json", "--resume", "--rows", "GRU4Rec", "static text")
    output = capsys.readouterr().err
    assert "training GRU4Rec" in output
    assert "training static text" not in output
    run(shop, tmp_path / "other.json", "--rows", "GRU4Rec")
    taken = run(
        shop, tmp_path / "taken.json", "--rows", "--rows-from", tmp_path / "first.json", tmp_path / "other.json"
    )
    for report in (both, taken):
        assert [row["metrics"] for row in report["rows"]] == [row["metrics"] for row in whole["rows"]]
    stand_in = ["--stand-in", "of other rows"]
    run(shop, tmp_path / "noted.json", "--rows", "--rows-from", tmp_path / "first.json", *stand_in)
    monkeypatch.setitem(SIZES, "smoke", replace(SIZES["smoke"], questions=50))
    with pytest.raises(SystemExit, match="other questions"):
        run(shop, tmp_path / "first.json", "--resume")


def test_an_unknown_row_is_an_error_that_lists_the_rows(shop, tmp_path):
    with pytest.raises(SystemExit, match=r"error: no row GRU5Rec in table 1; there is: GRU4Rec, SASRec, .*UBM"):
        run(shop, tmp_path / "table.json", "--rows", "GRU5Rec", "SASRec")
    assert not (tmp_path / "table.json").exists()


def test_a_task_that_does_not_fit_the_split_is_a_one_line_error(shop, tmp_path):
    with pytest.raises(SystemExit, match="error: a leave-one-out split has one next item"):
        run(shop, tmp_path / "table.json", "--task", "pip", "--split", "leave-one-out")
    assert not (tmp_path / "table.json").exists()
