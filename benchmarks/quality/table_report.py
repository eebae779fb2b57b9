"""A table's report: the rows so far, each held against one, and the answers they were judged by in a file beside it."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.bench import Bench, Trained
from benchmarks.quality.rows import TABLES, Row
from benchmarks.quality.sizes import SIZES, Size
from benchmarks.report import report_header, write_report
from ubm_embed.data.tables.json_object import read_json_object
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.data.tasks.leaks import LeakReport
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import Conflict, NotFound
from ubm_embed.evaluation.evaluation import Answers, Asking, judged
from ubm_embed.outputs import output_file

# The row that the others are held against; the first of these that was run.
_SUBJECTS = ("UBM, shop recipe", "UBM", "UBM_wo_BERT")
_ANSWERS = ".answers.npz"


def _pretraining(size: Size) -> dict[str, Any]:
    """What the size says of more than fine-tuning, which each row says itself."""
    return {name: value for name, value in asdict(size).items() if name != "finetuning"}


def _hash_of(examples: TaskExamples) -> str:
    """Names these questions and answers."""
    digest = hashlib.sha256()
    for array in (examples.prefixes.actions, examples.prefixes.rows, examples.prefixes.offsets, examples.targets):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _asked(report: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """What rows of one table share; what a row stands in for, it says itself."""
    settings = {name: value for name, value in report.get("settings", {}).items() if name != "stand_in"}
    return settings, report.get("questions_hash")


class TableReport:
    """The rows so far, and each row's answers, in a file beside the report."""

    def __init__(self, file: Path, name: str, options: argparse.Namespace) -> None:
        self.file, self.answers_file = file, file.with_suffix(_ANSWERS)
        settings = {
            key: str(value) if isinstance(value, Task) else value
            for key, value in vars(options).items()
            if key in ("table", "task", "size", "holdout", "split", "seed", "stand_in")
        }
        settings = {**settings, "data": options.data.name, "pretraining": _pretraining(SIZES[options.size])}
        self.document = report_header(name, settings, packages=("scikit-learn",))
        self.stand_in, self.bert = options.stand_in or "", options.bert is not None
        self.rows: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, Answers] = {}
        self._judgements: dict[tuple[str, str], dict[str, Any]] = {}

    def describe(self, bench: Bench) -> None:
        """What is asked, and the rows that need no training."""
        leaks = LeakReport.from_split(bench.corpus, bench.questions.corpus, bench.split, pretrained="yes")
        self.document |= {
            "questions": len(bench.examples),
            "questions_hash": _hash_of(bench.examples),
            "mean_target": None if bench.task is Task.NIP else round(float(bench.examples.targets.mean()), 4),
            "split": bench.split.to_dict(),
            "leaks": leaks.to_dict(),
            "products": bench.questions.corpus.products,
        }
        for answers in Asking(bench.corpus, bench.questions, bench.examples).baselines(bench.seed):
            self._keep(answers, group="simple", note="", seconds=0.0)

    def take_up(self, file: Path, bench: Bench) -> None:
        """The rows of a report that is there, where it asked the same questions."""
        answers_file = file.with_suffix(_ANSWERS)
        for needed in (file, answers_file):
            if not needed.is_file():
                raise NotFound(f"no file {needed} to take rows from")
        before = read_json_object(file)
        if _asked(before) != _asked(self.document):
            raise Conflict(f"{file} was made with other settings or asks other questions: its rows do not belong here")
        with np.load(answers_file) as kept:
            for row in before["rows"]:
                threshold = float(kept[f"threshold {row['row']}"])
                self.answers[row["row"]] = Answers(row["row"], kept[row["row"]], threshold)
                self.rows[row["row"]] = row

    def add(self, row: Row, trained: Trained, seconds: float) -> None:
        """A row that was trained just now."""
        about = asdict(trained)
        del about["answers"]
        started_from_bert = "bert" in (row.needs, row.takes) and self.bert
        note = f"stand-in: {self.stand_in}" if self.stand_in and started_from_bert else row.note
        self._keep(trained.answers, group=row.group, note=note, seconds=round(seconds, 1), **about)

    def _keep(self, answers: Answers, **about: Any) -> None:
        empty = {"parameters": 0, "finetuning": None, "alignment": None, "uniformity": None}
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
