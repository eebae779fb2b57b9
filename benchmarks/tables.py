"""The paper's tables on one data set: python -m benchmarks.tables --data DIR --task nip --size small --bert FOLDER

Every row is trained and asked by the same code on the same split and the same questions. The report is written anew
after each row, so that a run that is cut off leaves what it has; --add goes on with it, and takes rows that another run
made over, so that halves of a table can be trained at the same time. Answers to each question are kept beside the
report, for the paired tests.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import RESULTS, heading, write_report
from benchmarks.rows import TABLES, Bench, Row, Trained
from benchmarks.sizes import SIZES
from benchmarks.table_view import markdown
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.json_object import read_json_object
from ubm_embed.data.leaks import LeakReport
from ubm_embed.data.questions import Questions
from ubm_embed.data.split import SPLITS, Split
from ubm_embed.data.tasks import Task
from ubm_embed.data.tokenized_corpus import TokenizedCorpus
from ubm_embed.errors import UbmError
from ubm_embed.evaluation.evaluation import Answers, Asking, judged
from ubm_embed.model.start import fresh_model
from ubm_embed.outputs import output_file

# The row that the others are held against; the first of these that was run.
_SUBJECTS = ("UBM", "UBM_wo_BERT")
_ANSWERS = ".answers.npz"


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
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these, by the names in the table")
    parser.add_argument(
        "--bert", metavar="DIR_OR_NAME", help="pre-trained BERT; rows that need one are left out without"
    )
    parser.add_argument("--electra", metavar="DIR_OR_NAME", help="the same for ELECTRA_small")
    parser.add_argument("--stand-in", metavar="NOTE", help="what --bert is, where it is not the paper's; for the table")
    parser.add_argument("--split", choices=SPLITS, default="auto")
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
    report = Report(options.out or RESULTS / f"{name}.json", name, options)
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
    for file in [*options.take, *([report.file] if options.add else [])]:
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
    tokenized = TokenizedCorpus.of(corpus, tokenizer)
    chosen = Split.choose(tokenized, holdout=holdout, kind=split)
    return Bench(
        corpus=corpus,
        split=chosen,
        questions=Questions.of(task, tokenized, chosen),
        size=SIZES[size],
        seed=seed,
        device=device,
        bert=bert,
        electra=electra,
        progress=_Progress(),
    )


def _wanted(row: Row, options: argparse.Namespace) -> bool:
    if options.task not in row.tasks or (options.rows and row.name not in options.rows):
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


class Report:
    """The rows so far, and each row's answers, in a file beside the report."""

    def __init__(self, file: Path, name: str, options: argparse.Namespace) -> None:
        self.file, self.answers_file = file, file.with_suffix(_ANSWERS)
        settings = {
            key: str(value) if isinstance(value, Task) else value
            for key, value in vars(options).items()
            if key in ("table", "task", "size", "holdout", "split", "seed", "stand_in")
        }
        settings = {**settings, "data": options.data.name, "sizes": asdict(SIZES[options.size])}
        self.document = heading(name, settings, packages=("scikit-learn",))
        self.stand_in = options.stand_in or ""
        self.rows: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, Answers] = {}
        self._judgements: dict[tuple[str, str], dict[str, Any]] = {}

    def describe(self, bench: Bench) -> None:
        """What is asked, and the rows that need no training."""
        leaks = LeakReport.of(bench.corpus, bench.questions.corpus, bench.split, pretrained="yes")
        self.document |= {
            "questions": len(bench.examples),
            "split": bench.split.to_dict(),
            "leaks": leaks.to_dict(),
            "products": bench.questions.corpus.products,
        }
        for answers in Asking(bench.corpus, bench.questions, bench.examples).baselines(bench.seed):
            self._keep(answers, group="simple", note="", seconds=0.0)

    def take_up(self, file: Path, bench: Bench) -> None:
        """The rows of a report that is there, where it asked the same questions."""
        answers_file = file.with_suffix(_ANSWERS)
        if not (file.is_file() and answers_file.is_file()):
            return
        before = read_json_object(file)
        if before["settings"] != self.document["settings"] or before["questions"] != len(bench.examples):
            sys.exit(f"{file} was made with other settings: its rows do not belong here")
        with np.load(answers_file) as kept:
            for row in before["rows"]:
                threshold = float(kept[f"threshold {row['row']}"])
                self.answers[row["row"]] = Answers(row["row"], kept[row["row"]], threshold)
                self.rows[row["row"]] = row

    def add(self, row: Row, trained: Trained, seconds: float) -> None:
        """A row that was trained just now."""
        note = f"stand-in: {self.stand_in}" if self.stand_in and row.needs == "bert" else ""
        self._keep(
            trained.answers,
            group=row.group,
            note=note,
            seconds=round(seconds, 1),
            parameters=trained.parameters,
            alignment=trained.alignment,
            uniformity=trained.uniformity,
        )

    def _keep(self, answers: Answers, **about: Any) -> None:
        empty = {"parameters": 0, "alignment": None, "uniformity": None}
        self.answers[answers.name] = answers
        self.rows[answers.name] = {"row": answers.name, **empty, **about}

    def write(self, bench: Bench) -> dict[str, Any]:
        """Judge every row against the one that the table is about, and write it all."""
        subject = next((self.answers[name] for name in _SUBJECTS if name in self.answers), None)
        order = [row.name for row in TABLES[self.document["settings"]["table"]]]
        names = sorted(
            self.rows, key=lambda name: order.index(name) if name in order else -1
        )  # those of no training first
        rows = [self._judged(bench, name, subject) for name in names]
        report = {**self.document, "subject": None if subject is None else subject.name, "rows": rows}
        with output_file(self.answers_file) as aside, open(aside, "wb") as stream:
            np.savez_compressed(stream, **dict(self._arrays()))  # type: ignore[arg-type]
        write_report(report, self.file)
        return report

    def _judged(self, bench: Bench, name: str, subject: Answers | None) -> dict[str, Any]:
        """A row's figures; they change only with the row that they are held against."""
        answers, first = self.answers[name], subject or self.answers[name]
        key = (name, first.name)
        if key not in self._judgements:
            judgement = judged(bench.questions, bench.examples, answers, first, seed=bench.seed)
            self._judgements[key] = judgement.to_dict()
        return {**self.rows[name], **self._judgements[key]}

    def _arrays(self) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        for name, answers in self.answers.items():
            yield name, answers.values
            yield f"threshold {name}", np.array(answers.threshold)


if __name__ == "__main__":
    main()
