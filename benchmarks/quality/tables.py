"""Does the model answer better than the rows of the paper's table 1, and what does each of its losses bring (table 2)?

    python -m benchmarks.quality.tables --data DIR --task nip --size small --bert FOLDER

Every row is trained and evaluated by the same code on the same split and the same questions. The report is rewritten
after each row, so an interrupted run leaves the rows it has. --resume adds the missing rows, and --rows-from takes rows
of other reports, so that parts of a table can be trained in parallel. Each row's predictions are saved beside the
report for the paired tests.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command_line import runner_parser
from benchmarks.quality.experiment import Experiment, open_experiment
from benchmarks.quality.row_training import RowResult
from benchmarks.quality.rows import TABLES, Row
from benchmarks.quality.sizes import SIZES, Size
from benchmarks.quality.table_view import markdown
from benchmarks.report import RESULTS, report_header, write_report
from ubm_embed.data.tables.json_files import read_json_object
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.data.tasks.leaks import LeakReport
from ubm_embed.data.tasks.task import SplitKind, Task
from ubm_embed.errors import Conflict, NotFound, UbmError
from ubm_embed.evaluation.evaluation import Evaluator, Predictions, summarize
from ubm_embed.outputs import output_file

# The row that the others are compared with: the first of these that was run.
_SUBJECTS = ("UBM, shop recipe", "UBM", "UBM_wo_BERT")
_PREDICTIONS = ".answers.npz"


def _pretraining(size: Size) -> dict[str, Any]:
    """The size without fine-tuning, whose settings are in each row."""
    return {name: value for name, value in asdict(size).items() if name != "finetuning"}


def _hash_of(examples: TaskExamples) -> str:
    """A hash of the questions and their predictions."""
    digest = hashlib.sha256()
    for array in (examples.prefixes.actions, examples.prefixes.rows, examples.prefixes.offsets, examples.targets):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _identity(report: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """What reports must share for their rows to stand in one table; a stand-in is named in its row."""
    settings = {name: value for name, value in report.get("settings", {}).items() if name != "stand_in"}
    return settings, report.get("questions_hash")


class TableReport:
    """The rows so far; their predictions are saved in a file beside the report."""

    def __init__(self, file: Path, name: str, options: argparse.Namespace) -> None:
        self.file, self.predictions_file = file, file.with_suffix(_PREDICTIONS)
        settings = {
            key: str(value) if isinstance(value, Task) else value
            for key, value in vars(options).items()
            if key in ("table", "task", "size", "holdout", "split", "seed", "stand_in", "sessions")
        }
        settings = {**settings, "data": options.data.name, "pretraining": _pretraining(SIZES[options.size])}
        self.document = report_header(name, settings, packages=("scikit-learn",))
        self.stand_in, self.bert = options.stand_in or "", options.bert is not None
        self.rounds: int | None = options.bootstrap_rounds
        self.rows: dict[str, dict[str, Any]] = {}
        self.predictions: dict[str, Predictions] = {}
        self._summaries: dict[tuple[str, str], dict[str, Any]] = {}

    def describe(self, experiment: Experiment) -> None:
        """Add the questions, the split and the baselines, which need no training."""
        corpus, split = experiment.dataset.corpus, experiment.split
        leaks = LeakReport.from_split(experiment.corpus, corpus, split, pretraining_problem=None)
        self.document |= {
            "questions": len(experiment.examples),
            "questions_hash": _hash_of(experiment.examples),
            "mean_target": None if experiment.task is Task.NIP else round(float(experiment.examples.targets.mean()), 4),
            "split": split.to_dict(),
            "leaks": leaks.to_dict(),
            "products": corpus.products,
        }
        for predictions in Evaluator(experiment.corpus, experiment.dataset, experiment.examples).baselines(
            experiment.seed
        ):
            self._add(predictions, group="simple", note="", seconds=0.0)

    def load_rows(self, file: Path) -> None:
        """Take over the rows of another report.

        Raises:
            NotFound: a file is missing.
            Conflict: its settings or questions are different.
        """
        predictions_file = file.with_suffix(_PREDICTIONS)
        for required in (file, predictions_file):
            if not required.is_file():
                raise NotFound(f"no file {required} to take rows from")
        before = read_json_object(file)
        if _identity(before) != _identity(self.document):
            raise Conflict(f"{file} has other settings or other questions; its rows do not fit this table")
        with np.load(predictions_file) as arrays:
            for row in before["rows"]:
                threshold = float(arrays[f"threshold {row['row']}"])
                self.predictions[row["row"]] = Predictions(row["row"], arrays[row["row"]], threshold)
                self.rows[row["row"]] = row

    def add(self, row: Row, result: RowResult, seconds: float) -> None:
        """Add a trained row."""
        entries = asdict(result)
        del entries["predictions"]
        started_from_bert = "bert" in (row.needs, row.takes) and self.bert
        note = f"stand-in: {self.stand_in}" if self.stand_in and started_from_bert else row.note
        self._add(result.predictions, group=row.group, note=note, seconds=round(seconds, 1), **entries)

    def _add(self, predictions: Predictions, **entries: Any) -> None:
        empty = {"parameters": 0, "finetuning": None, "alignment": None, "uniformity": None}
        self.predictions[predictions.name] = predictions
        self.rows[predictions.name] = {"row": predictions.name, **empty, **entries}

    def write(self, experiment: Experiment) -> dict[str, Any]:
        """Compute the figures of every row, compare each with the subject, and write the report."""
        subject = next((self.predictions[name] for name in _SUBJECTS if name in self.predictions), None)
        order = [row.name for row in TABLES[self.document["settings"]["table"]]]
        # Baselines without training are in no table and come first.
        names = sorted(self.rows, key=lambda name: order.index(name) if name in order else -1)
        rows = [self._with_figures(experiment, name, subject) for name in names]
        report = {**self.document, "subject": None if subject is None else subject.name, "rows": rows}
        with output_file(self.predictions_file) as aside, open(aside, "wb") as stream:
            np.savez_compressed(stream, **dict(self._arrays()))  # type: ignore[arg-type]
        write_report(report, self.file)
        return report

    def _with_figures(self, experiment: Experiment, name: str, subject: Predictions | None) -> dict[str, Any]:
        """A row with its figures; they depend only on the row itself and on the subject."""
        predictions, first = self.predictions[name], subject or self.predictions[name]
        key = (name, first.name)
        if key not in self._summaries:
            summary = summarize(
                experiment.dataset, experiment.examples, predictions, first, seed=experiment.seed, rounds=self.rounds
            )
            self._summaries[key] = summary.to_dict()
        return {**self.rows[name], **self._summaries[key]}

    def _arrays(self) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        for name, predictions in self.predictions.items():
            yield name, predictions.values
            yield f"threshold {name}", np.array(predictions.threshold)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train and evaluate the rows of the options; returns the report.

    Raises:
        UbmError: the corpus cannot be read, a row does not exist, or another report does not fit.
    """
    name = f"table_{options.table}_{options.task}_{options.data.name}_{options.size}"
    known = [row.name for row in TABLES[options.table]]
    if unknown := set(options.rows or ()) - set(known):
        raise NotFound(f"no row {', '.join(sorted(unknown))} in table {options.table}; there is: {', '.join(known)}")
    report = TableReport(options.out or RESULTS / f"{name}.json", name, options)
    experiment = open_experiment(
        options.data,
        options.task,
        options.size,
        split=options.split,
        holdout=options.holdout,
        seed=options.seed,
        device=options.device,
        bert=options.bert,
        electra=options.electra,
        sessions=options.sessions,
    )
    report.describe(experiment)
    for file in [*options.rows_from, *([report.file] if options.resume and report.file.is_file() else [])]:
        report.load_rows(file)
    for row in TABLES[options.table]:
        if _wanted(row, options) and row.name not in report.rows:
            started = time.perf_counter()
            print(f"training {row.name}", file=sys.stderr, flush=True)
            result = row.train(experiment, row.name)
            report.add(row, result, time.perf_counter() - started)
            report.write(experiment)
    return report.write(experiment)


def _wanted(row: Row, options: argparse.Namespace) -> bool:
    if options.task not in row.tasks or (options.rows is not None and row.name not in options.rows):
        return False
    if row.needs is not None and getattr(options, row.needs) is None:
        print(f"{row.name} is left out: it needs --{row.needs}", file=sys.stderr)
        return False
    return True


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    default_out = "table_TABLE_TASK_DATA_SIZE"
    parser = runner_parser("quality.tables", __doc__, default_out=default_out, show=False)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a corpus folder (docs/data.md)")
    add("--task", type=Task, choices=list(Task), default=Task.NIP)
    add("--table", type=int, choices=list(TABLES), default=1)
    add("--size", choices=list(SIZES), default="small")
    add("--rows", nargs="*", metavar="NAME", help="only these rows, named as in the table")
    add("--bert", metavar="DIR_OR_NAME", help="a pre-trained BERT; without it, rows that need one are left out")
    add("--electra", metavar="DIR_OR_NAME", help="the same for ELECTRA_small")
    add("--stand-in", metavar="NOTE", help="what --bert is if it is not the paper's; printed below the table")
    add("--split", choices=list(SplitKind), default="auto")
    add("--holdout", type=float, default=0.2, help="share of validation and test, half each")
    add("--seed", type=int, default=0)
    add("--sessions", type=int, metavar="N", help="a shop of N of the sessions and the products in them; default: all")
    add("--device", default="cpu")
    add("--bootstrap-rounds", type=int, metavar="N", help="of intervals and paired tests; default: as in `evaluate`")
    add("--resume", action="store_true", help="keep the rows of the report in --out, and train the others")
    add("--rows-from", nargs="+", type=Path, default=[], metavar="FILE", help="reports to take rows from")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, write the report and print its table."""
    options = parse(arguments)
    try:
        report = run(options)
    except UbmError as error:
        sys.exit(f"error: {error}")
    print(markdown(report))


if __name__ == "__main__":
    main()
