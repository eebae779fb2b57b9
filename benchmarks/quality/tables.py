"""The paper's tables on one data set.

    python -m benchmarks.quality.tables --data DIR --task nip --size small --bert FOLDER

Every row is trained and asked by the same code on the same split and the same questions. The report is written anew
after each row, so that a run that is cut off leaves what it has. --add goes on with it, and --take brings in rows of
other runs, so that parts of a table can be trained at the same time. Answers to each question are kept beside the
report, for the paired tests.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.quality.bench import Bench
from benchmarks.quality.rows import TABLES, Row
from benchmarks.quality.sizes import SIZES
from benchmarks.quality.table_report import TableReport
from benchmarks.quality.table_view import markdown
from benchmarks.report import RESULTS
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import SplitKind, Task
from ubm_embed.errors import NotFound, UbmError
from ubm_embed.model.start import fresh_model


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it, write the report, print the table."""
    options = _parser().parse_args(arguments)
    try:
        report = run(options)
    except UbmError as error:
        sys.exit(f"error: {error}")
    print(markdown(report))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a corpus folder as docs/data.md describes it")
    parser.add_argument("--task", type=Task, choices=list(Task), default=Task.NIP)
    parser.add_argument("--table", type=int, choices=list(TABLES), default=1)
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--rows", nargs="*", metavar="NAME", help="only these, by the names in the table")
    parser.add_argument(
        "--bert", metavar="DIR_OR_NAME", help="pre-trained BERT; rows that need one are left out without"
    )
    parser.add_argument("--electra", metavar="DIR_OR_NAME", help="the same for ELECTRA_small")
    parser.add_argument("--stand-in", metavar="NOTE", help="what --bert is, where it is not the paper's; for the table")
    parser.add_argument("--split", choices=list(SplitKind), default="auto")
    parser.add_argument("--holdout", type=float, default=0.2, help="share to choose and judge by, half each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="where to write; default: results/table_TABLE_TASK_DATA_SIZE.json")
    parser.add_argument("--add", action="store_true", help="keep the rows that are there, and run the others")
    parser.add_argument("--take", nargs="+", type=Path, default=[], metavar="FILE", help="reports to take rows from")
    return parser


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train and ask the rows that are wanted; returns the report."""
    name = f"table_{options.table}_{options.task}_{options.data.name}_{options.size}"
    known = [row.name for row in TABLES[options.table]]
    if unknown := set(options.rows or ()) - set(known):
        raise NotFound(f"no row {', '.join(sorted(unknown))} in table {options.table}; there is: {', '.join(known)}")
    report = TableReport(options.out or RESULTS / f"{name}.json", name, options)
    bench = bench_of(
        options.data,
        options.task,
        options.size,
        split=options.split,
        holdout=options.holdout,
        seed=options.seed,
        device=options.device,
        bert=options.bert,
        electra=options.electra,
    )
    report.describe(bench)
    for file in [*options.take, *([report.file] if options.add and report.file.is_file() else [])]:
        report.take_up(file, bench)
    for row in TABLES[options.table]:
        if _wanted(row, options) and row.name not in report.rows:
            started = time.perf_counter()
            print(f"training {row.name}", file=sys.stderr, flush=True)
            trained = row.train(bench, row.name)
            report.add(row, trained, time.perf_counter() - started)
            report.write(bench)
    return report.write(bench)


def bench_of(
    data: Path,
    task: Task,
    size: str,
    *,
    split: str = "auto",
    holdout: float = 0.2,
    seed: int = 0,
    device: str = "cpu",
    bert: str | None = None,
    electra: str | None = None,
) -> Bench:
    """What the rows of a table share.

    Raises:
        UbmError: the corpus cannot be read, split so or asked this.
    """
    corpus = Corpus.open(data)
    _, tokenizer = fresh_model(corpus, seed=seed, **SIZES[size].encoder)
    tokenized = TokenizedCorpus.from_corpus(corpus, tokenizer)
    chosen = Split.choose(tokenized, holdout=holdout, kind=split)
    return Bench(
        corpus=corpus,
        split=chosen,
        questions=TaskDataset.from_split(task, tokenized, chosen),
        size=SIZES[size],
        seed=seed,
        device=device,
        bert=bert,
        electra=electra,
        progress=_Progress(),
    )


def _wanted(row: Row, options: argparse.Namespace) -> bool:
    if options.task not in row.tasks or (options.rows is not None and row.name not in options.rows):
        return False
    if row.needs is not None and getattr(options, row.needs) is None:
        print(f"{row.name} is left out: it needs --{row.needs}", file=sys.stderr)
        return False
    return True


@dataclass
class _Progress:
    """A line now and then."""

    last: float = 0.0

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        if time.monotonic() - self.last > 15 or done == total:
            self.last = time.monotonic()
            print(f"  {what}: {done} of {total} {note}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
