"""Cold start is measured on products that nothing trained has read, against the whole catalogue."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality import cold_start, cold_trial, starts, tables
from benchmarks.quality.cold_trial import AMONG_NEW, KNOWN, NEW, Trial
from indexer.index.index_request import IndexRequest
from indexer.refresh.build import build_index
from indexer.refresh.settings import RefreshSettings
from indexer.search.retriever import Retriever
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.corpus import PRODUCTS_FILE, Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.session import ACTIONS, Action, Interaction, Session
from ubm_embed.evaluation.baselines import Popularity
from ubm_embed.evaluation.next_item import ranks_of
from ubm_embed.model.checkpoint import save_checkpoint

SHARE = ("--share", "0.3", "--size", "smoke", "--finetuning-steps", "2")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny made-up shop."""
    folder = tmp_path_factory.mktemp("cold") / "tiny_shop"
    write_sample_shop(folder, products=80, sessions=500, seed=0)
    return folder


@pytest.fixture(scope="module")
def learned_from() -> dict[str, list[Corpus]]:
    """What was given to each step that learns, by its name."""
    return defaultdict(list)


@pytest.fixture(scope="module")
def report_file(shop: Path, learned_from: dict[str, list[Corpus]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run's report."""

    def watched(name: str, learn: Any) -> Any:
        def call(corpus: Corpus, *given: Any, **named: Any) -> Any:
            learned_from[name].append(corpus)
            return learn(corpus, *given, **named)

        return call

    out = tmp_path_factory.mktemp("report") / "report.json"
    with pytest.MonkeyPatch.context() as patch:
        steps = ((tables, "fresh_model"), (starts, "fresh_model"), (starts, "pretrain"), (cold_trial, "finetune"))
        for module, name in steps:
            patch.setattr(module, name, watched(name, getattr(module, name)))
        cold_start.main(["--data", str(shop), *SHARE, "--out", str(out)])
    return out


@pytest.fixture
def report(report_file: Path) -> dict[str, Any]:
    return json.loads(report_file.read_text("utf-8"))  # type: ignore[no-any-return]


@pytest.fixture
def trial(shop: Path, tmp_path: Path) -> Trial:
    options = argparse.Namespace(data=shop, share=0.3, size="smoke", holdout=0.4, seed=0, device="cpu")
    return Trial.of(options, tmp_path)


def hits(report: dict[str, Any], row: str, asked: str) -> float:
    (found,) = [one for one in report["rows"] if one["row"] == row]
    return float(found["metrics"][asked]["hit@10"]["value"])


def test_neither_vocabulary_nor_training_is_given_new_products_or_interactions_with_them(
    shop: Path, report: dict[str, Any], learned_from: dict[str, list[Corpus]]
) -> None:
    assert learned_from.keys() == {"fresh_model", "pretrain", "finetune"}
    everything = Corpus.open(shop)
    for corpus in (one for given in learned_from.values() for one in given):
        known = set(corpus.products["product_id"])
        assert len(known) == report["products"][KNOWN] == 56
        assert set(corpus.interactions["product_id"].drop_nulls()) <= known
        assert corpus.interactions.height < everything.interactions.height
    assert report["products"][NEW] == 24
    assert report["training"]["with_new_products"] == 0


@pytest.mark.parametrize("row", ["popularity", "co-occurrence", "recent co-occurrence"])
def test_what_only_counts_finds_no_new_product(report: dict[str, Any], row: str) -> None:
    assert hits(report, row, NEW) == hits(report, row, AMONG_NEW) == 0.0
    assert hits(report, row, KNOWN) > 0.0


def test_text_finds_new_products(report: dict[str, Any]) -> None:
    for row in ("TF-IDF, mean", "TF-IDF, concatenated"):
        assert 0.0 < hits(report, row, NEW) <= hits(report, row, AMONG_NEW)


def test_every_figure_has_an_interval_around_it(report: dict[str, Any]) -> None:
    trained = ["UBM, pre-trained", "UBM, fine-tuned", "UBM, shop recipe, words only", "UBM, shop recipe"]
    assert [row["row"] for row in report["rows"]][-4:] == trained
    for row in report["rows"]:
        for metrics in row["metrics"].values():
            assert all(one["low"] <= one["value"] <= one["high"] for one in metrics.values())


def test_new_products_are_ranked_against_the_whole_catalogue(trial: Trial) -> None:
    new = trial.new_products.new
    known_first = Popularity(np.where(new, np.arange(new.size) - 1000, 0).astype(np.float32))
    new_first = Popularity(np.where(new, np.arange(new.size), -1).astype(np.float32))
    below, above = (trial.row("", 0.0, scorer)["metrics"] for scorer in (known_first, new_first))
    assert below[NEW]["hit@10"]["value"] == 0.0, "56 known products stand before them"
    assert below[AMONG_NEW] == above[AMONG_NEW] == above[NEW]
    assert above[NEW]["hit@10"]["value"] > 0.0
    assert above[KNOWN]["hit@10"]["value"] == 0.0, "24 new products stand before them"


def test_a_constant_scorer_gains_nothing_by_ties(trial: Trial) -> None:
    constant = Popularity(np.ones(trial.corpus.products, np.float32))
    assert all(one["hit@10"]["value"] == 0.0 for one in trial.row("", 0.0, constant)["metrics"].values())


def test_the_store_answers_as_the_benchmark_ranks(trial: Trial, shop: Path, tmp_path: Path) -> None:
    checkpoint, (model, store) = trial.bench.pretrained(bert=False), (tmp_path / "model", tmp_path / "store")
    model.mkdir()
    save_checkpoint(model, checkpoint.model, checkpoint.tokenizer, checkpoint.record)
    flat = RefreshSettings(index=IndexRequest(index="flat"))
    build_index(model=model, products=shop / PRODUCTS_FILE, store=store, settings=flat)
    questions = trial.questions[NEW]
    answers = Retriever.open(store).recommend_many(_sessions(trial, questions.prefixes), 10)
    names = trial.new_products.shop.products["product_id"]
    found = [
        names[int(target)] in {match.product_id for match in answer.matches}
        for target, answer in zip(questions.targets, answers, strict=True)
    ]
    ranks = ranks_of(trial.model(checkpoint), questions, trial.corpus.products)
    assert any(found)
    assert found == (ranks <= 10).tolist()


def _sessions(trial: Trial, prefixes: SessionTable) -> list[Session]:
    """As a shop would send them."""
    names = trial.new_products.shop.products["product_id"]
    searches = trial.new_products.shop.interactions.drop_nulls("query")["query"].unique(maintain_order=True)

    def interaction(code: int, row: int) -> Interaction:
        if row >= names.len():
            return Interaction(Action.SEARCH, query=searches[row - names.len()])
        return Interaction(ACTIONS[code], product_id=names[row])

    places = list(zip(prefixes.actions.tolist(), prefixes.rows.tolist(), strict=True))
    bounds = zip(prefixes.offsets[:-1], prefixes.offsets[1:], strict=True)
    return [Session(tuple(interaction(*place) for place in places[start:stop])) for start, stop in bounds]


def test_the_table_comes_from_the_kept_report_alone(report_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cold_start.main(["--show", str(report_file)])
    shown = capsys.readouterr().out
    assert "24 of 80 products are new" in shown
    assert "| co-occurrence                | 0.000 [0.000, 0.000] |" in shown


def test_a_report_holds_no_paths(report_file: Path, shop: Path) -> None:
    assert str(shop) not in report_file.read_text("utf-8"), "a report is published"


def test_a_shop_where_nothing_new_is_asked_for_is_told_so(shop: Path, tmp_path: Path) -> None:
    few = ["--data", str(shop), "--share", "0.001", "--size", "smoke", "--out", str(tmp_path / "report.json")]
    with pytest.raises(SystemExit, match=r"error: 0 sessions .* a larger --share"):
        cold_start.main(few)
    assert not (tmp_path / "report.json").exists()


def test_only_the_rows_that_are_named_are_made(shop: Path, tmp_path: Path) -> None:
    rows = ["--rows", "UBM, shop recipe, words only", "popularity"]
    cold_start.main(["--data", str(shop), *SHARE, *rows, "--out", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert [row["row"] for row in report["rows"]] == ["popularity", "UBM, shop recipe, words only"]


def test_an_unknown_row_is_refused_with_those_there_are(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no row BM25; there is: popularity; co-occurrence; "):
        cold_start.main(["--data", str(shop), *SHARE, "--rows", "BM25", "--out", str(tmp_path / "report.json")])
