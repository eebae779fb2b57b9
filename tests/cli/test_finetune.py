"""Fine-tuning and evaluating from the command line: the three tasks, and the exit code of each kind of bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cli.main import run
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.evaluation import evaluation
from ubm_embed.evaluation.head_baselines import LINEAR, TREES
from ubm_embed.model.start import fresh_model
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.pretrain import pretrain

SIZES: dict[str, Any] = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 1, "vocab_size": 512}
TINY = ("--layers", "1", "--width", "16", "--session-layers", "1", "--vocab-size", "512", "--holdout", "0.3")
SHORT = ("--only-session-encoder", "--max-steps", "4", "--validation-steps", "2", "--learning-rate", "1e-3")
METRICS = {
    "nip": {"hit@10", "mrr@10", "ndcg@10", "hit@20", "mrr@20", "ndcg@20"},
    "pip": {"accuracy", "auroc", "f1", "kappa"},
    "rlp": {"mae", "mse", "msle", "r2"},
}
MODELS = ["UBM", "the other model", "UBM without counts", "the other model without counts"]
COUNTING = ["co-occurrence", "recent co-occurrence", "directional counting", "VMIS-kNN", "POP"]
BASELINES = {"nip": ["UBM without counts", *COUNTING], "pip": ["RAND", LINEAR, TREES], "rlp": ["FIXED", TREES]}


def shell(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small corpus, a model pre-trained on it, and one fine-tuned from that for each task."""
    folder = tmp_path_factory.mktemp("shop")
    write_sample_shop(folder / "corpus", products=120, sessions=500, seed=1)
    corpus = Corpus.open(folder / "corpus")
    config = PretrainingConfig(max_steps=2, item_batch=16, session_batch=8, holdout=0.3)
    pretrain(corpus, *fresh_model(corpus, **SIZES), folder / "base", config)
    # One in a process of its own; each of them costs seconds of imports.
    done = shell(folder, "finetune", "nip", "--model", "base", "--corpus", "corpus", "--out", "nip", *SHORT)
    assert done.returncode == 0, done.stderr
    assert "nip: model " in done.stderr
    assert "split by time: " in done.stderr
    assert done.stdout == "", "there is no data"
    given = ("--model", str(folder / "base"), "--corpus", str(folder / "corpus"))
    for task in ("pip", "rlp"):
        assert run(["finetune", task, *given, "--out", str(folder / task), *SHORT]) == 0
    return folder


@pytest.fixture
def here(shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command line in this process: its exit code, its output, and its messages in one line."""
    monkeypatch.chdir(shop)
    # Five resamples are enough to see that there are intervals.
    monkeypatch.setattr(evaluation, "evaluate", partial(evaluation.evaluate, rounds=5))

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(list(arguments))
        written = capsys.readouterr()
        return code, written.out, " ".join(written.err.replace("│", " ").split())

    return call


@pytest.mark.parametrize("task", METRICS)
def test_a_fine_tuned_model_records_its_task_and_its_origin(shop: Path, task: str) -> None:
    record = json.loads((shop / task / "training.json").read_text("utf-8"))
    base = json.loads((shop / "base/training.json").read_text("utf-8"))
    config = json.loads((shop / task / "config.json").read_text("utf-8"))
    assert config["task"] == task
    assert record["initial_model"] == base["model_id"] != record["model_id"]
    assert record["split"] == base["split"], "the model's own"
    assert record["leaks"]["pretraining_respects_split"] is True
    assert record["finetuning"]["step"] in (0, 2, 4)
    # Next item prediction scores sessions against the products of the model that it started from.
    assert config["product_tower"] == (base["model_id"] if task == "nip" else None)
    assert (shop / task / "product_tower").exists() == (task == "nip")
    assert (shop / task / "metrics.jsonl").exists()
    assert not (shop / f"{task}.training").exists()


@pytest.mark.parametrize("task", METRICS)
def test_evaluate_in_json(here: Callable[..., Any], task: str) -> None:
    code, out, messages = here("evaluate", task, "--model", task, "--corpus", "corpus", "--format", "json")
    assert code == 0, messages
    result = json.loads(out)
    assert result["task"] == task
    assert [row["row"] for row in result["rows"]] == ["UBM", *BASELINES[task]]
    assert all(row["metrics"].keys() == METRICS[task] for row in result["rows"])
    assert result["rows"][0]["p_values"] is None
    assert result["rows"][1]["p_values"].keys() == METRICS[task]
    assert 2 <= result["examples"] <= result["leaks"]["test"]
    assert f"{result['leaks']['test']:,} for the test" in messages


def test_evaluate_in_json_lines(here: Callable[..., Any]) -> None:
    code, out, messages = here("evaluate", "rlp", "--model", "rlp", "--corpus", "corpus", "--format", "jsonl")
    assert code == 0, messages
    assert [json.loads(line)["row"] for line in out.splitlines()] == ["UBM", "FIXED", TREES]


def test_evaluate_as_a_table_beside_another_model(here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    arguments = ("nip", "--model", "nip", "--corpus", "corpus", "--against", "base", "--format", "table")
    code, out, messages = here("evaluate", *arguments)
    assert code == 0, messages
    lines = out.splitlines()
    end = next(place for place, line in enumerate(lines) if line.startswith("hit@10 by"))
    ranking, bands = lines[:end], lines[end:]
    assert "examples; ± is half of the 95% interval" in ranking[0]
    assert ranking[1].split() == ["model", "hit@10", "MRR@10", "NDCG@10", "hit@20", "MRR@20", "NDCG@20"]
    assert [line.split("  ")[0].strip() for line in ranking[2:]] == MODELS + COUNTING
    assert all(line.count("±") == 6 for line in ranking[2:])
    assert bands[1].startswith("seen in training")
    assert [line.split("  ")[0].strip() for line in bands[3:]] == MODELS + COUNTING
    assert "* differs from the first row, p < 0.05" in messages


def test_a_pipe_gets_json(here: Callable[..., Any]) -> None:
    code, out, messages = here("evaluate", "nip", "--model", "base", "--corpus", "corpus", "--max-examples", "20")
    assert code == 0, messages
    assert json.loads(out)["examples"] == 20


def test_evaluate_on_another_corpus(here: Callable[..., Any], tmp_path: Path) -> None:
    write_sample_shop(tmp_path / "later", products=120, sessions=400, seed=2)
    code, out, messages = here("evaluate", "nip", "--model", "base", "--corpus", str(tmp_path / "later"))
    assert code == 0, messages
    result = json.loads(out)
    assert result["corpus"]["is_training_corpus"] is False
    assert result["examples"] <= result["leaks"]["test"]


@pytest.fixture(scope="module")
def causal(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as `pretrain` makes it with nothing given but sizes."""
    out = tmp_path_factory.mktemp("causal") / "model"
    few = ("--item-batch", "16", "--session-batch", "8", "--max-steps", "2", "--session-max-steps", "1")
    assert run(["pretrain", "--corpus", str(shop / "corpus"), "--out", str(out), *TINY, *few]) == 0
    return out


class TestRecipe:
    """Settings that are not given are the recipe's; which recipe follows from how the model was pre-trained."""

    def finetuned(self, here: Callable[..., Any], out: Path, *arguments: str) -> dict[str, Any]:
        given = ("--corpus", "corpus", "--out", str(out), "--max-steps", "2", "--validation-steps", "1")
        code, _, messages = here("finetune", "nip", *given, *arguments)
        assert code == 0, messages
        return {**json.loads((out / "training.json").read_text("utf-8"))["finetuning"], "messages": messages}

    def test_pretrain_makes_a_model_for_shops(self, causal: Path) -> None:
        config = json.loads((causal / "config.json").read_text("utf-8"))
        assert (config["causal"], config["mean_of_tokens"]) == (True, True)
        settings = json.loads((causal / "training.json").read_text("utf-8"))["pretraining"]
        assert (settings["learning_rate"], settings["max_steps"], settings["item_actions"]) == (1e-3, 2, True)

    def test_pretrain_with_the_paper_s_recipe(self, shop: Path, tmp_path: Path) -> None:
        given = ("--corpus", str(shop / "corpus"), "--out", str(tmp_path / "paper"), "--recipe", "paper", *TINY)
        few = ("--item-batch", "8", "--session-batch", "4", "--max-steps", "1")
        assert run(["pretrain", *given, *few]) == 0
        config = json.loads((tmp_path / "paper" / "config.json").read_text("utf-8"))
        assert (config["causal"], config["mean_of_tokens"]) == (False, False)
        settings = json.loads((tmp_path / "paper" / "training.json").read_text("utf-8"))["pretraining"]
        assert (settings["learning_rate"], settings["purchases_only"], settings["item_actions"]) == (3e-5, True, False)
        assert settings["positive_in_denominator"] is False

    def test_a_causal_model_gets_the_recipe_for_shops(
        self, here: Callable[..., Any], causal: Path, tmp_path: Path
    ) -> None:
        result = self.finetuned(here, tmp_path / "out", "--model", str(causal), "--batch", "16")
        assert (result["all_positions"], result["item_embeddings"], result["train_products"]) == (True, True, True)
        assert (result["learning_rate"], result["batch"]) == (1e-3, 16)
        assert result["read_texts_every"] is None
        assert "validation hit at 10 " in result["messages"]
        assert not (tmp_path / "out" / "product_tower").exists()

    @pytest.mark.parametrize(("given", "every"), [((), 0), (("--read-texts-every", "1"), 1)])
    def test_a_deep_text_encoder_is_not_trained_unless_asked_for(
        self, here: Callable[..., Any], shop: Path, tmp_path: Path, given: tuple[str, ...], every: int
    ) -> None:
        deep, few = tmp_path / "deep", ("--item-batch", "8", "--session-batch", "4", "--max-steps", "1")
        sizes = (*TINY, "--layers", "5", "--stage", "1")
        assert run(["pretrain", "--corpus", str(shop / "corpus"), "--out", str(deep), *sizes, *few]) == 0
        result = self.finetuned(here, tmp_path / "out", "--model", str(deep), "--batch", "16", *given)
        assert result["read_texts_every"] == every
        assert ("each text is read once" in result["messages"]) == (not every)

    def test_given_settings_win(self, here: Callable[..., Any], causal: Path, tmp_path: Path) -> None:
        given = ("--one-position", "--words-only", "--learning-rate", "0.01", "--batch", "8", "--min-count", "2")
        result = self.finetuned(here, tmp_path / "out", "--model", str(causal), *given)
        assert (result["all_positions"], result["item_embeddings"], result["train_products"]) == (False, False, True)
        assert (result["learning_rate"], result["batch"], result["min_count"]) == (0.01, 8, 2)

    def test_the_paper_s_recipe_on_request(self, here: Callable[..., Any], causal: Path, tmp_path: Path) -> None:
        result = self.finetuned(here, tmp_path / "out", "--model", str(causal), "--recipe", "paper")
        assert (result["all_positions"], result["train_products"], result["learning_rate"]) == (False, False, 3e-5)
        assert (result["batch"], result["cooldown"], result["epochs"]) == (32, None, 30)

    def test_a_bidirectional_model_gets_the_paper_s_recipe(self, here: Callable[..., Any], tmp_path: Path) -> None:
        result = self.finetuned(here, tmp_path / "out", "--model", "base")
        assert (result["all_positions"], result["item_embeddings"], result["train_products"]) == (False, False, False)
        assert (result["learning_rate"], result["batch"]) == (3e-5, 32)

    def test_the_session_encoder_alone_learns_no_item_embeddings(
        self, here: Callable[..., Any], causal: Path, tmp_path: Path
    ) -> None:
        result = self.finetuned(here, tmp_path / "out", "--model", str(causal), "--only-session-encoder")
        assert (result["only_session_encoder"], result["item_embeddings"], result["all_positions"]) == (
            True,
            False,
            True,
        )


class TestRefusals:
    """Each is one message with the exit code of its kind, and nothing is written."""

    @pytest.fixture(autouse=True)
    def nothing_written(self, shop: Path) -> Any:
        before = {file: file.stat().st_mtime_ns for file in shop.rglob("*") if file.is_file()}
        yield
        assert {file: file.stat().st_mtime_ns for file in shop.rglob("*") if file.is_file()} == before

    FINETUNE = ("--model", "base", "--corpus", "corpus", "--out", "new")

    def test_a_corpus_without_purchases(self, here: Callable[..., Any], shop: Path, tmp_path: Path) -> None:
        corpus, log = Corpus.open(shop / "corpus"), tmp_path / "views"
        log.mkdir()
        corpus.products.write_parquet(log / "products.parquet")
        corpus.interactions.filter(pl.col("action") != "buy").write_parquet(log / "interactions.parquet")
        out = tmp_path / "new"
        code, _, messages = here(
            "finetune", "pip", "--model", "base", "--corpus", str(log), "--out", str(out), "--holdout", "0.3"
        )
        assert code == 3
        assert "end without a purchase" in messages
        assert [file.name for file in tmp_path.iterdir()] == ["views"]

    @pytest.mark.parametrize("command", [("finetune", "--out", "new"), ("evaluate",)], ids=lambda words: words[0])
    def test_an_unknown_task(self, here: Callable[..., Any], command: tuple[str, ...]) -> None:
        name, *rest = command
        code, _, messages = here(name, "lottery", "--model", "base", "--corpus", "corpus", *rest)
        assert code == 2
        assert "'lottery' is not one of 'nip', 'pip', 'rlp'" in messages

    @pytest.mark.parametrize("command", [("finetune", "--out", "new"), ("evaluate",)], ids=lambda words: words[0])
    @pytest.mark.parametrize("missing", ["model", "corpus"])
    def test_a_missing_folder(self, here: Callable[..., Any], command: tuple[str, ...], missing: str) -> None:
        name, *rest = command
        folders = {"model": "base", "corpus": "corpus"} | {missing: "nowhere"}
        code, _, messages = here(name, "nip", "--model", folders["model"], "--corpus", folders["corpus"], *rest)
        assert code == 4
        assert "nowhere" in messages

    def test_an_output_that_exists(self, here: Callable[..., Any]) -> None:
        code, _, messages = here("finetune", "rlp", "--model", "base", "--corpus", "corpus", "--out", "nip")
        assert code == 5
        assert "--overwrite" in messages

    def test_a_split_that_the_model_was_not_pre_trained_with(self, here: Callable[..., Any]) -> None:
        code, _, messages = here("finetune", "nip", *self.FINETUNE, "--split", "session")
        assert code == 5
        assert "pre-trained with a split by time" in messages

    def test_a_holdout_that_the_model_was_not_pre_trained_with(self, here: Callable[..., Any]) -> None:
        code, _, messages = here("finetune", "nip", *self.FINETUNE, "--holdout", "0.2")
        assert code == 5
        assert "holds out 0.3; another would test it on sessions that it has read" in messages

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("pip", "--train-products"), "--train-products"),  # it has no products to score
            (("nip", "--item-embeddings"), "--item-embeddings needs --train-products"),
            (("nip", "--learning-rate", "0"), "--learning-rate"),
            (("nip", "--holdout", "1"), "--holdout"),
            (("nip", "--device", "abacus"), "abacus"),
            (("nip", "--device", "meta"), "meta"),
            (("nip", "--device", "cuda:99"), "cuda:99"),
        ],
        ids=lambda value: value if isinstance(value, str) else None,
    )
    def test_invalid_settings(self, here: Callable[..., Any], arguments: tuple[str, ...], message: str) -> None:
        code, _, messages = here("finetune", *arguments, *self.FINETUNE)
        assert code == 2
        assert message in messages

    def test_a_recipe_for_a_causal_model_on_a_bidirectional_one(self, shop: Path) -> None:
        done = shell(shop, "finetune", "nip", *self.FINETUNE, "--recipe", "shop")
        assert (done.returncode, done.stdout) == (3, "")
        messages = " ".join(done.stderr.split())
        assert "pre-train with --recipe shop, or fine-tune with --one-position or --recipe paper" in messages
        assert "Traceback" not in messages

    def test_an_unknown_recipe(self, here: Callable[..., Any]) -> None:
        code, _, messages = here("finetune", "nip", *self.FINETUNE, "--recipe", "soup")
        assert code == 2
        assert "'soup' is not one of 'shop', 'paper'" in messages

    def test_evaluating_on_a_missing_device(self, here: Callable[..., Any]) -> None:
        code, _, messages = here("evaluate", "nip", "--model", "base", "--corpus", "corpus", "--device", "abacus")
        assert code == 2
        assert "abacus" in messages

    def test_a_model_without_a_head(self, here: Callable[..., Any]) -> None:
        code, out, messages = here("evaluate", "pip", "--model", "base", "--corpus", "corpus")
        assert (code, out) == (3, "")
        assert "`ubm-embed finetune pip`" in messages

    def test_a_model_for_another_task(self, here: Callable[..., Any]) -> None:
        code, _, messages = here("evaluate", "nip", "--model", "rlp", "--corpus", "corpus")
        assert code == 3
        assert "fine-tuned for rlp, not for nip" in messages
