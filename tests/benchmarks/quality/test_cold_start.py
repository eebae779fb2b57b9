"""Cold start is measured on products that no training has read, against the whole catalogue."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality import cold_start as runner
from benchmarks.quality import experiment
from benchmarks.quality.cold_start import AMONG_NEW, KNOWN, NEW, ColdStart
from indexer.index.index_request import IndexRequest
from indexer.refresh.refresh import build_index
from indexer.refresh.settings import RefreshSettings
from indexer.search.retriever import Retriever
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.corpus import PRODUCTS_FILE, Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.session import ACTIONS, Action, Interaction, Session
from ubm_embed.evaluation.baselines import Popularity
from ubm_embed.evaluation.next_item import ranks_of
from ubm_embed.model.checkpoint import save_checkpoint

SHOP_ROWS = ["UBM, shop recipe, words only", "UBM, shop recipe, without counts", "UBM, shop recipe"]
SHARE = ("--share", "0.3", "--size", "smoke", "--finetuning-steps", "2")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny made-up shop."""
    folder = tmp_path_factory.mktemp("cold") / "tiny_shop"
    write_sample_shop(folder, products=80, sessions=500, seed=0)
    return folder


@pytest.fixture(scope="module")
def training_input() -> dict[str, list[Corpus]]:
    """The corpora given to each step that learns, by the step's name."""
    return defaultdict(list)


@pytest.fixture(scope="module")
def report_file(shop: Path, training_input: dict[str, list[Corpus]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a whole run."""

    def recorded(name: str, learn: Any) -> Any:
        def call(corpus: Corpus, *arguments: Any, **options: Any) -> Any:
            training_input[name].append(corpus)
            return learn(corpus, *arguments, **options)

        return call

    out = tmp_path_factory.mktemp("report") / "report.json"
    with pytest.MonkeyPatch.context() as patch:
        steps = ((experiment, "fresh_model"), (experiment, "pretrain"), (runner, "finetune"))
        for module, name in steps:
            patch.setattr(module, name, recorded(name, getattr(module, name)))
        runner.main(["--data", str(shop), *SHARE, "--out", str(out)])
    return out


@pytest.fixture
def report(report_file: Path) -> dict[str, Any]:
    return json.loads(report_file.read_text("utf-8"))  # type: ignore[no-any-return]


@pytest.fixture
def cold_start(shop: Path, tmp_path: Path) -> ColdStart:
    options = runner.parse(["--data", str(shop), "--share", "0.3", "--size", "smoke", "--holdout", "0.4"])
    return ColdStart.from_options(options, tmp_path)


def hits(report: dict[str, Any], name: str, case: str) -> float:
    (row,) = [row for row in report["rows"] if row["row"] == name]
    return float(row["metrics"][case]["hit@10"]["value"])


def test_vocabulary_and_training_get_neither_new_products_nor_interactions_with_them(
    shop: Path, report: dict[str, Any], training_input: dict[str, list[Corpus]]
) -> None:
    assert training_input.keys() == {"fresh_model", "pretrain", "finetune"}
    everything = Corpus.open(shop)
    for corpus in (corpus for corpora in training_input.values() for corpus in corpora):
        known = set(corpus.products["product_id"])
        assert len(known) == report["products"][KNOWN] == 56
        assert set(corpus.interactions["product_id"].drop_nulls()) <= known
        assert corpus.interactions.height < everything.interactions.height
    assert report["products"][NEW] == 24
    assert report["training"]["with_new_products"] == 0


@pytest.mark.parametrize("row", ["popularity", "co-occurrence", "recent co-occurrence"])
def test_counting_finds_no_new_product(report: dict[str, Any], row: str) -> None:
    assert hits(report, row, NEW) == hits(report, row, AMONG_NEW) == 0.0
    assert hits(report, row, KNOWN) > 0.0


def test_text_finds_new_products(report: dict[str, Any]) -> None:
    for row in ("TF-IDF, mean", "TF-IDF, concatenated"):
        assert 0.0 < hits(report, row, NEW) <= hits(report, row, AMONG_NEW)


def test_every_figure_has_an_interval_around_it(report: dict[str, Any]) -> None:
    trained = ["UBM, pre-trained", "UBM, fine-tuned", *SHOP_ROWS]
    assert [row["row"] for row in report["rows"]][-5:] == trained
    for row in report["rows"]:
        for metrics in row["metrics"].values():
            assert all(one["low"] <= one["value"] <= one["high"] for one in metrics.values())


def test_new_products_are_ranked_against_the_whole_catalogue(cold_start: ColdStart) -> None:
    new = cold_start.new_products.new
    known_first = Popularity(np.where(new, np.arange(new.size) - 1000, 0).astype(np.float32))
    new_first = Popularity(np.where(new, np.arange(new.size), -1).astype(np.float32))
    below, above = (cold_start.row("", 0.0, scorer)["metrics"] for scorer in (known_first, new_first))
    assert below[NEW]["hit@10"]["value"] == 0.0, "56 known products rank above them"
    assert below[AMONG_NEW] == above[AMONG_NEW] == above[NEW]
    assert above[NEW]["hit@10"]["value"] > 0.0
    assert above[KNOWN]["hit@10"]["value"] == 0.0, "24 new products rank above them"


def test_a_constant_scorer_gains_nothing_by_ties(cold_start: ColdStart) -> None:
    constant = Popularity(np.ones(cold_start.corpus.products, np.float32))
    assert all(one["hit@10"]["value"] == 0.0 for one in cold_start.row("", 0.0, constant)["metrics"].values())


def test_the_store_answers_as_the_benchmark_ranks(cold_start: ColdStart, shop: Path, tmp_path: Path) -> None:
    checkpoint, (model, store) = cold_start.experiment.pretrained(bert=False), (tmp_path / "model", tmp_path / "store")
    model.mkdir()
    save_checkpoint(model, checkpoint.model, checkpoint.tokenizer, checkpoint.record)
    flat = RefreshSettings(index=IndexRequest(index="flat"))
    build_index(model=model, products=shop / PRODUCTS_FILE, store=store, settings=flat)
    questions = cold_start.questions[NEW]
    answers = Retriever.open(store, counts=False, words=False).recommend_many(
        _sessions(cold_start, questions.prefixes), 10
    )
    names = cold_start.new_products.shop.products["product_id"]
    hit = [
        names[int(target)] in {match.product_id for match in answer.matches}
        for target, answer in zip(questions.targets, answers, strict=True)
    ]
    ranks = ranks_of(cold_start.model(checkpoint), questions, cold_start.corpus.products)
    assert any(hit)
    assert hit == (ranks <= 10).tolist()


def _sessions(cold_start: ColdStart, prefixes: SessionTable) -> list[Session]:
    """Sessions as a shop would send them."""
    names = cold_start.new_products.shop.products["product_id"]
    searches = cold_start.new_products.shop.interactions.drop_nulls("query")["query"].unique(maintain_order=True)

    def interaction(code: int, row: int) -> Interaction:
        if row >= names.len():
            return Interaction(Action.SEARCH, query=searches[row - names.len()])
        return Interaction(ACTIONS[code], product_id=names[row])

    steps = list(zip(prefixes.actions.tolist(), prefixes.rows.tolist(), strict=True))
    bounds = zip(prefixes.offsets[:-1], prefixes.offsets[1:], strict=True)
    return [Session(tuple(interaction(*step) for step in steps[start:stop])) for start, stop in bounds]


def test_the_table_comes_from_the_saved_report_alone(report_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runner.main(["--show", str(report_file)])
    output = capsys.readouterr().out
    assert "24 of 80 products are new" in output
    assert "| co-occurrence                    | 0.000 [0.000, 0.000] |" in output


def test_a_report_holds_no_paths(report_file: Path, shop: Path) -> None:
    assert str(shop) not in report_file.read_text("utf-8"), "reports are published"


def test_a_shop_without_questions_about_new_products_is_an_error(shop: Path, tmp_path: Path) -> None:
    few = ["--data", str(shop), "--share", "0.001", "--size", "smoke", "--out", str(tmp_path / "report.json")]
    with pytest.raises(SystemExit, match=r"error: 0 sessions .* a larger --share"):
        runner.main(few)
    assert not (tmp_path / "report.json").exists()


def test_only_the_named_rows_are_trained(shop: Path, tmp_path: Path) -> None:
    rows = ["--rows", "UBM, shop recipe, words only", "popularity"]
    runner.main(["--data", str(shop), *SHARE, *rows, "--out", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert [row["row"] for row in report["rows"]] == ["popularity", "UBM, shop recipe, words only"]


def test_an_unknown_row_is_an_error_that_lists_the_rows(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no row BM25; the rows are: popularity; co-occurrence; "):
        runner.main(["--data", str(shop), *SHARE, "--rows", "BM25", "--out", str(tmp_path / "report.json")])
