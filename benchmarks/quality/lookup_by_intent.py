"""Does `lookup` find a product of the session from the words that the shopper typed first?

    python -m benchmarks.quality.lookup_by_intent --data DIR --init CHECKPOINT [--seeds 0 1 2]

The corpus has sessions that begin with a search. `pretrain`, `finetune nip` and `build-index` run as a user types them,
each in a process of its own, with one thread; the training part alone is read and counted. Each search of the part
that is asked is then answered as `lookup --query` and `query` do, and by TF-IDF, by the checkpoint as it comes, and by
both fused by rank. benchmarks/quality/README.md says what the figures show and what they do not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.command_line import runner_parser, show_or_measure
from benchmarks.quality.baselines.text_match import text_of
from benchmarks.quality.baselines.text_search import best, fused_scores, sentence_scores, tfidf_scores
from benchmarks.report import markdown_table, report_header, write_report
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from ubm_embed.data.corpus import PRODUCTS_FILE, Corpus
from ubm_embed.data.products import iter_products
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.data.tasks.split import Split
from ubm_embed.evaluation.intervals import bootstrap_intervals
from ubm_embed.evaluation.significance import paired_p_values

K = 10
UBM, RIVALS = "UBM, lookup", ("TF-IDF", "checkpoint as it comes", "both fused by rank")
# Other ways to ask the model: as a session of one search with counts, and with one part of the score left out.
_RULES = {UBM: Rules(counts=False), "UBM, query": Rules(), "UBM, without words": Rules(words=False)}
_METRICS = ("hit@10", "ndcg@10")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Questions:
    """Search phrases, and which products the shoppers took after them.

    Attributes:
        phrases: [Q].
        wanted: [Q] ids of products.
    """

    phrases: list[str]
    wanted: list[frozenset[str]]

    @classmethod
    def from_sessions(cls, interactions: pl.DataFrame) -> Questions:
        """Of the sessions that begin with a search and go on to a product."""
        sessions = (
            interactions.sort("session_id", "position")
            .group_by("session_id", maintain_order=True)
            .agg(pl.first("query"), pl.col("product_id").drop_nulls())
            .filter(pl.col("query").is_not_null() & (pl.col("product_id").list.len() > 0))
        )
        return cls(sessions["query"].to_list(), [frozenset(ids) for ids in sessions["product_id"].to_list()])

    def measured(self, answers: Iterable[Sequence[str]]) -> Floats:
        """hit@10 and ndcg@10 of each question: [Q, 2].

        Args:
            answers: [Q] the ids of products, best first.
        """
        return np.array([_quality(found, wanted) for found, wanted in zip(answers, self.wanted, strict=True)])


def _quality(found: Sequence[str], wanted: frozenset[str]) -> tuple[float, float]:
    """Whether a wanted product is there, and NDCG with one gain for each (Järvelin and Kekäläinen 2002)."""
    gains = [1 / np.log2(2 + rank) for rank in range(K)]
    gained = sum(gain for gain, name in zip(gains, found, strict=False) if name in wanted)
    return float(gained > 0), gained / sum(gains[: len(wanted)])


def train(corpus: Path, home: Path, seed: int, options: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """A store that was made by the commands, and the seconds of each with what fine-tuning chose."""
    base, model, store, counted = (home / name for name in ("base", "model", "store", "counted.parquet"))
    seconds: dict[str, float] = {}

    def run(name: str, *arguments: str | Path | int | float) -> None:
        started, words = time.perf_counter(), list(map(str, arguments))
        command = [sys.executable, "-m", "cli", *words]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        if done.returncode:
            sys.exit(f"ubm-embed {' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
        seconds[name] = round(time.perf_counter() - started, 1)
        print(f"{corpus.name}, seed {seed}: {name} {seconds[name]} s", file=sys.stderr, flush=True)

    split: list[str | float] = ["--split", "session", "--holdout", options.holdout, "--seed", seed]
    start: list[str | int] = ["--init", options.init, "--max-steps", 0] if options.init else []
    run("pretrain", "pretrain", "--corpus", corpus, "--out", base, *split, *start)
    training: list[str | Path | int] = ["--model", base, "--corpus", corpus, "--out", model, "--seed", seed]
    run("finetune", "finetune", "nip", *training, *options.finetune)
    part_of(Corpus.open(corpus), options.holdout, "training").write_parquet(counted)
    products: list[str | Path] = ["--products", corpus / PRODUCTS_FILE, "--interactions", counted]
    run("build-index", "build-index", "--model", model, *products, "--store", store)
    record = json.loads((model / "training.json").read_text("utf-8"))["finetuning"]
    return store, {"seconds": seconds, "best": {name: record.get(name) for name in ("step", "validation_hit_at_10")}}


def part_of(corpus: Corpus, holdout: float, name: str) -> pl.DataFrame:
    """The interactions of a part of a corpus that is split by session."""
    times = corpus.session_times()
    membership = Split.choose(times, holdout=holdout, kind="session").membership(times)
    return corpus.select_sessions(pl.Series(times.session_ids[membership == name], dtype=pl.String)).interactions


def asked(store: Path, questions: Questions) -> dict[str, Floats]:
    """What a store answers, in each of the ways."""
    with Retriever.open(store, device="cpu") as retriever:

        def found(phrase: str, rules: Rules) -> list[str]:
            search = Session((Interaction(Action.SEARCH, query=phrase),))
            return [match.product_id for match in retriever.recommend(search, K, rules).matches]

        return {
            name: questions.measured(found(phrase, rules) for phrase in questions.phrases)
            for name, rules in _RULES.items()
        }


def rivals(corpus: Corpus, checkpoint: str | None, questions: Questions) -> dict[str, Floats]:
    """What needs no training."""
    ids, texts = corpus.products["product_id"].to_list(), list(map(text_of, iter_products(corpus.products)))
    words = tfidf_scores(texts, questions.phrases)
    scores = {RIVALS[0]: words}
    if checkpoint is not None:
        sentences = sentence_scores(texts, questions.phrases, checkpoint)
        scores |= {RIVALS[1]: sentences, RIVALS[2]: fused_scores([words, sentences])}
    return {
        name: questions.measured([ids[at] for at in row] for row in best(one, K).tolist())
        for name, one in scores.items()
    }


def _means(values: Floats) -> dict[str, float]:
    return dict(zip(_METRICS, values.mean(axis=0).tolist(), strict=True))


def rows(measured: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """Each row's metrics with intervals, and how it differs from the model's `lookup`.

    Args:
        measured: [Q, 2] for each row; the mean over the seeds where there are several.
    """
    ours = measured[UBM]

    def with_interval(values: Floats) -> dict[str, Any]:
        ends = bootstrap_intervals(lambda drawn: _means(values[drawn]), len(values))
        return {
            name: {"value": value, "low": ends[name][0], "high": ends[name][1]}
            for name, value in _means(values).items()
        }

    result = []
    for name, values in measured.items():
        row: dict[str, Any] = {"row": name, "metrics": with_interval(values)}
        if name not in _RULES:
            p_values = paired_p_values(_means, ours, values)
            row |= {"lookup_gains": with_interval(ours - values), "p_values": p_values}
        result.append(row)
    return result


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report."""
    settings = {name: getattr(options, name) for name in ("part", "holdout", "seeds", "finetune")}
    settings |= {"data": options.data.name, "init": Path(options.init).name if options.init else None, "threads": 1}
    report = report_header(f"lookup_by_intent_{options.data.name}", settings, packages=("scikit-learn",))
    corpus = Corpus.open(options.data)
    questions = Questions.from_sessions(part_of(corpus, options.holdout, options.part))
    if not questions.phrases:
        sys.exit(f"{options.data}: no session of the {options.part} part begins with a search")
    fixed, by_seed = rivals(corpus, options.init, questions), list[dict[str, Floats]]()
    report |= {"questions": len(questions.phrases), "runs": []}
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            store, run = train(options.data, Path(folder), seed, options)
            by_seed.append(asked(store, questions))
        metrics = {name: _means(values) for name, values in by_seed[-1].items()}
        report["runs"].append({"seed": seed, **run, "metrics": metrics})
        averaged = {name: np.mean([one[name] for one in by_seed], axis=0) for name in _RULES}
        report["rows"] = rows(averaged | fixed)
        write_report(report, options.out)  # what a seed has found outlives the next one
    return report


def table(report: Mapping[str, Any]) -> str:
    """The rows with intervals, and what the model's `lookup` gains over each rival."""
    cells = []
    for row in report["rows"]:
        metrics, gains = row["metrics"], row.get("lookup_gains")
        cells.append(
            (
                row["row"],
                *(_with_interval(metrics[name]) for name in _METRICS),
                f"{_with_interval(gains['hit@10'])}, p = {row['p_values']['hit@10']:.3f}" if gains else "",
            )
        )
    title = f"{report['settings']['data']}, {report['questions']} searches of the {report['settings']['part']} part"
    columns = ("row", *_METRICS, "lookup's gain in hit@10")
    return f"{title}, {len(report['runs'])} seeds\n\n{markdown_table(columns, cells)}"


def _with_interval(value: Mapping[str, float]) -> str:
    return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    parser = runner_parser("quality.lookup_by_intent", __doc__, default_out="lookup_by_intent_DATA")
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="a corpus folder (docs/data.md)")
    add("--init", metavar="DIR_OR_NAME", help="a checkpoint of sentence-transformers; default: from scratch")
    add("--holdout", type=float, default=0.4, help="share of validation and test, half each, by session")
    add("--part", choices=("validation", "test"), default="test", help="the part whose searches are asked")
    add("--seeds", type=int, nargs="+", default=[0])
    add("finetune", nargs="*", metavar="OPTION", help="options of finetune, after --")
    show_or_measure(parser, arguments, measure, table)


if __name__ == "__main__":
    main()
