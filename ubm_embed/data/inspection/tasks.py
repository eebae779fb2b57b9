"""What each task could be asked with: its examples by the project's own rules, for each way to split the corpus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray
from ubm_embed.data.inspection.numbered_corpus import NumberedCorpus
from ubm_embed.data.session import Action
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.examples import (
    TargetRange,
    purchase_examples,
    remaining_length_examples,
)
from ubm_embed.data.tasks.next_item_examples import next_item_examples
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import SplitKind, Task
from ubm_embed.wording import counted

HOLDOUT = 0.1  # as `pretrain --holdout` is unless it is given
# A test of so many examples measures a rate within about 5 points: 1.96 * sqrt(0.25 / 385) = 0.05.
ENOUGH = 385


@dataclass(frozen=True)
class TaskCounts:
    """The examples of a task under a split.

    Attributes:
        task, split: names, such as "nip" and "time".
        training: examples of one epoch.
        validation, test: examples, one per session at most.
        test_purchases: of the test examples, those that end in a purchase; None for tasks other than PIP.
        half_width: half of the 95% interval of a rate of one half, measured on the test examples (PIP: on those of the
            rarer outcome), between 0 and 1; None without examples, and for RLP, whose errors are no rates.
        problem: why the task cannot be trained or tested; None if it can.
    """

    task: str
    split: str
    training: int
    validation: int
    test: int
    test_purchases: int | None
    half_width: float | None
    problem: str | None


@dataclass(frozen=True)
class TaskStatistics:
    """The tasks under each split.

    Attributes:
        purchases: sessions with a purchase.
        holdout: the fraction held out, half of it for the test.
        counts: one for each task and kind of split that the corpus allows; time needs a timestamp in every session.
    """

    purchases: int
    holdout: float
    counts: tuple[TaskCounts, ...]

    @classmethod
    def measure(cls, corpus: NumberedCorpus, *, seed: int = 0) -> TaskStatistics:
        """Count the examples of each task.

        Args:
            seed: of the draw of examples; it hardly changes their number.
        """
        session_of, actions = corpus.sessions.session_of(), corpus.sessions.actions
        bought = np.unique(session_of[actions == Action.BUY.code]).size
        return cls(bought, HOLDOUT, tuple(_counts(corpus, seed)))


def _counts(corpus: NumberedCorpus, seed: int) -> Iterator[TaskCounts]:
    tokenized = corpus.without_texts()
    for kind in (SplitKind.TIME, SplitKind.SESSION, SplitKind.LEAVE_ONE_OUT):
        if kind is SplitKind.TIME and corpus.starts is None:
            continue
        parts = Split.choose(tokenized, holdout=HOLDOUT, kind=kind).parts(tokenized)
        for task in Task:
            if kind is not SplitKind.LEAVE_ONE_OUT or task is Task.NIP:
                yield _count(TaskDataset.from_parts(task, tokenized, parts, kind), kind, seed)


def _count(dataset: TaskDataset, kind: SplitKind, seed: int) -> TaskCounts:
    parts = dataset.parts
    training = _targets(dataset, TargetRange.whole(parts.training), dataset.max_per_session, dataset.min_count, seed)
    validation = _targets(dataset, parts.validation, 1, dataset.min_eval_count, seed, searches=True)
    test = _targets(dataset, parts.test, 1, dataset.min_eval_count, seed)
    is_pip = dataset.task is Task.PIP
    return TaskCounts(
        task=str(dataset.task),
        split=str(kind),
        training=training.size,
        validation=validation.size,
        test=test.size,
        test_purchases=int(test.sum()) if is_pip else None,
        half_width=None if dataset.task is Task.RLP else _half_width(_rarer(test) if is_pip else test.size),
        problem=_problem(dataset, {"training": training, "validation": validation, "test": test}),
    )


def _targets(
    dataset: TaskDataset,
    part: TargetRange,
    max_per_session: int,
    min_count: int,
    seed: int,
    *,
    searches: bool = False,
) -> NDArray[Any]:
    """The targets of a part by the rules of `TaskDataset`, which raises where there are too few to use them."""
    rng = np.random.default_rng([seed, 4])
    match dataset.task:
        case Task.NIP:
            is_product = dataset.corpus.is_product
            allowed: BoolArray = np.append(dataset.counts >= min_count, False)
            examples = next_item_examples(
                part, is_product, rng, max_per_session=max_per_session, allowed=allowed, searches=searches
            )
        case Task.PIP:
            examples = purchase_examples(part.sessions, rng, min_interactions=dataset.min_interactions)
        case Task.RLP:
            examples = remaining_length_examples(part.sessions, rng, min_interactions=dataset.min_interactions)
    return examples.targets


def _problem(dataset: TaskDataset, targets: dict[str, NDArray[Any]]) -> str | None:
    """What `finetune` or `evaluate` would refuse."""
    for name, values in targets.items():
        if values.size < 2:
            return f"{counted(values.size, 'example')} in the {name} part, at least 2 are needed"
        if dataset.task is Task.PIP and not _rarer(values):
            outcome = "with" if values[0] else "without"
            return f"all {values.size:,} examples of the {name} part end {outcome} a purchase"
    return None


def _rarer(bought: NDArray[Any]) -> int:
    return min(int(bought.sum()), int(bought.size - bought.sum()))


def _half_width(examples: int) -> float | None:
    return float(1.96 * 0.5 / np.sqrt(examples)) if examples else None
