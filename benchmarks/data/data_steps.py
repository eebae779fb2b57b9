"""The steps from a log to token ids, each with a baseline; this process runs one of them and times it.

Their input is in one folder: `corpus`, `log.parquet`, `log.csv`, `log.jsonl`, `longer.parquet` and, after the step
"vocabulary", `tokenizer.json`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.memory import peak_megabytes
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import INTERACTIONS_FILE, PRODUCTS_FILE, Corpus
from ubm_embed.data.interactions import INTERACTION_SCHEMA
from ubm_embed.data.logs.ingestion import ingest
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import MAX_TOKENS, InteractionTokenizer, attribute_names, training_texts

OURS, BASELINE = "ours", "baseline"
VOCABULARY = 8192
_TEXTS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Step:
    """A piece of work to time.

    Attributes:
        run: the work; nothing else is timed.
        items: number of interactions or texts that it reads.
        check: a digest of the result of `run`, equal for equal results; not timed.
    """

    run: Callable[[], Any]
    items: int
    check: Callable[[Any], str] = lambda result: ""


Preparation = Callable[[Path, Path], Step]  # from the folder to read and the one to write


def ingesting(log: str) -> Preparation:
    """Prepares the ingestion of this log, with the products of the corpus."""

    def prepare(folder: Path, out: Path) -> Step:
        catalogue, sources = folder / "corpus" / PRODUCTS_FILE, [folder / log]
        rows = _rows(folder / ("longer.parquet" if log == "longer.parquet" else "log.parquet"))
        return Step(
            run=lambda: ingest(sources, kind="native", out=out / "corpus", catalogue=catalogue),
            items=rows,
            check=lambda _: _hash(out / "corpus" / INTERACTIONS_FILE),
        )

    return prepare


def ingesting_plainly(folder: Path, out: Path) -> Step:
    """The same for JSON Lines, event by event into a dictionary of sessions."""
    catalogue = folder / "corpus" / PRODUCTS_FILE

    def run() -> None:
        product_ids = set(pl.read_parquet(catalogue, columns=["product_id"])["product_id"])
        sessions: dict[str, list[dict[str, Any]]] = {}
        with (folder / "log.jsonl").open(encoding="utf-8") as lines:
            for event in map(json.loads, lines):
                if event["query"] if event["action"] == "search" else event["product_id"] in product_ids:
                    sessions.setdefault(event["session_id"], []).append(event)
        pl.DataFrame(list(_plain_rows(sessions)), infer_schema_length=None).write_parquet(out / INTERACTIONS_FILE)

    return Step(run, _rows(folder / "log.parquet"), lambda _: _hash(out / INTERACTIONS_FILE))


def _plain_rows(sessions: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    for events in sorted(sessions.values(), key=lambda events: min(map(_moment, events))):
        ordered = sorted(events, key=lambda event: (_moment(event), event["position"]))
        runs = itertools.groupby(ordered, lambda event: (event["action"], event["product_id"], event["query"]))
        for position, (_, run) in enumerate(runs):
            yield next(run) | {"position": position}


def _moment(event: dict[str, Any]) -> str:
    return event.get("timestamp") or ""


def opening(folder: Path, out: Path) -> Step:
    """Read and check a corpus."""
    return Step(lambda: Corpus.open(folder / "corpus"), _rows(folder / "corpus" / INTERACTIONS_FILE))


def learning(folder: Path, out: Path) -> Step:
    """Learn a vocabulary from all texts."""
    corpus = Corpus.open(folder / "corpus")

    def run() -> InteractionTokenizer:
        return InteractionTokenizer.train(_texts(corpus), attribute_names(corpus.products), vocab_size=VOCABULARY)

    def check(tokenizer: InteractionTokenizer) -> str:
        tokenizer.save_pretrained(folder)
        return ""

    return Step(run, sum(1 for _ in _texts(corpus)), check)


def learning_plainly(folder: Path, out: Path) -> Step:
    """Give the trainer every text as often as it occurs."""
    from tokenizers import BertWordPieceTokenizer

    corpus = Corpus.open(folder / "corpus")

    def run() -> None:
        BertWordPieceTokenizer().train_from_iterator(_texts(corpus), vocab_size=VOCABULARY, show_progress=False)

    return Step(run, sum(1 for _ in _texts(corpus)))


def tokenizing(folder: Path, out: Path) -> Step:
    """Tokenize the texts of all products."""
    products, tokenizer = _products(folder), InteractionTokenizer.from_pretrained(folder)
    return Step(lambda: tokenizer.product_texts(products), products.height)


def tokenizing_with_padding(folder: Path, out: Path) -> Step:
    """The same by transformers' fast tokenizer: padded, and with title, category and values as one plain text."""
    from transformers import PreTrainedTokenizerFast

    products = _products(folder)
    file = str(folder / "tokenizer.json")
    tokenizer_class: Callable[..., Any] = PreTrainedTokenizerFast
    tokenizer = tokenizer_class(tokenizer_file=file, pad_token="[PAD]", unk_token="[UNK]")

    def run() -> list[Any]:
        values = pl.col("attributes").list.eval(pl.element().struct.field("value")).list.join(" ", ignore_nulls=True)
        joined = pl.concat_str("title", "category", values, separator=" ", ignore_nulls=True)
        texts = products.select(joined).to_series().to_list()
        settings = {"padding": True, "truncation": True, "max_length": MAX_TOKENS, "return_tensors": "np"}
        starts = range(0, len(texts), _TEXTS_AT_ONCE)
        return [tokenizer(texts[start : start + _TEXTS_AT_ONCE], **settings) for start in starts]

    return Step(run, products.height)


def tokenizing_all(folder: Path, out: Path) -> Step:
    """Tokenize all texts and sessions of a corpus into arrays."""
    corpus, tokenizer = Corpus.open(folder / "corpus"), InteractionTokenizer.from_pretrained(folder)
    return Step(lambda: TokenizedCorpus.from_corpus(corpus, tokenizer), corpus.interactions.height)


def naming(folder: Path, out: Path) -> Step:
    """Compute the fingerprint of the tokenized corpus."""
    tokenized = _tokenized(folder)
    return Step(tokenized.fingerprint, tokenized.sessions.rows.size)


def finding_equal_texts(folder: Path, out: Path) -> Step:
    """Find the first equal text of every text."""
    texts = _tokenized(folder).texts
    return Step(texts.firsts, len(texts), lambda firsts: str(firsts.sum()))


def finding_equal_texts_plainly(folder: Path, out: Path) -> Step:
    """The same with a dictionary of rows."""
    texts = _tokenized(folder).texts
    return Step(lambda: _plain_firsts(texts), len(texts), lambda firsts: str(sum(firsts)))


def _plain_firsts(texts: TokenTable) -> list[int]:
    first: dict[bytes, int] = {}
    return [first.setdefault(texts.row(index).tobytes(), index) for index in range(len(texts))]


STEPS: dict[str, dict[str, Preparation]] = {
    "parquet": {OURS: ingesting("log.parquet")},
    "longer": {OURS: ingesting("longer.parquet")},
    "csv": {OURS: ingesting("log.csv")},
    "jsonl": {OURS: ingesting("log.jsonl"), BASELINE: ingesting_plainly},
    "open": {OURS: opening},
    "vocabulary": {OURS: learning, BASELINE: learning_plainly},
    "texts": {OURS: tokenizing, BASELINE: tokenizing_with_padding},
    "tokenized": {OURS: tokenizing_all},
    "equal": {OURS: finding_equal_texts, BASELINE: finding_equal_texts_plainly},
    "fingerprint": {OURS: naming},
}


def run_step(name: str, variant: str, folder: Path) -> dict[str, Any]:
    """Run a step once: its seconds, and the peak memory of this process before and after it."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        step = STEPS[name][variant](folder, Path(out))
        before, started = peak_megabytes(), time.perf_counter()
        result = step.run()
        seconds = time.perf_counter() - started
        peak = peak_megabytes()
        return {
            "seconds": seconds,
            "items": step.items,
            "megabytes_before": before,
            "megabytes": peak,
            "result": step.check(result),
        }


def _products(folder: Path) -> pl.DataFrame:
    return Corpus.open(folder / "corpus").products


def _tokenized(folder: Path) -> TokenizedCorpus:
    return TokenizedCorpus.from_corpus(Corpus.open(folder / "corpus"), InteractionTokenizer.from_pretrained(folder))


def _texts(corpus: Corpus) -> Iterator[str]:
    return training_texts(corpus.products, corpus.interactions["query"].drop_nulls())


def _rows(file: Path) -> int:
    return int(pl.scan_parquet(file).select(pl.len()).collect().item())


def _hash(file: Path) -> str:
    """A hash of the interactions in their order."""
    rows = pl.read_parquet(file, columns=list(INTERACTION_SCHEMA)).cast({"position": pl.Int64})
    return f"{rows.height} {np.bitwise_xor.reduce(rows.with_row_index('row').hash_rows().to_numpy())}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one step and print its figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data.data_steps", description="Run one step.")
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("variant", choices=(OURS, BASELINE))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    print(json.dumps(run_step(options.step, options.variant, options.folder)))


if __name__ == "__main__":
    main()
