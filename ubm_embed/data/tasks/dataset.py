"""The examples of one task over a split corpus: to train on, to validate with, to test with.

Letters: E examples, M products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.tasks.examples import (
    TargetRange,
    TargetSequences,
    TaskExamples,
    purchase_examples,
    purchase_sequences,
    remaining_length_examples,
    remaining_length_sequences,
)
from ubm_embed.data.tasks.next_item_examples import next_item_examples, next_item_sequences
from ubm_embed.data.tasks.split import Split, SplitParts
from ubm_embed.data.tasks.task import MIN_COUNT, MIN_INTERACTIONS, SplitKind, Task
from ubm_embed.errors import InvalidData


@dataclass(frozen=True)
class TaskDataset:
    """A task's examples in the three parts of a split corpus.

    Attributes:
        counts: [M] interactions of each product in the training part, without what was taken back out of the cart.
        min_count: NIP, products with fewer are no targets in training.
        min_eval_count: NIP, products with fewer are no targets in validation and test.
        max_per_session: NIP, examples that one session adds to an epoch.
        repeats: NIP, also take products that the prefix holds already as targets, as the paper does.
        min_interactions: PIP and RLP, the shortest prefix.
    """

    task: Task
    corpus: TokenizedCorpus
    parts: SplitParts
    counts: NDArray[np.int64]
    min_count: int = MIN_COUNT
    min_eval_count: int = 1
    max_per_session: int = 8
    repeats: bool = False
    min_interactions: int = MIN_INTERACTIONS

    @classmethod
    def from_split(cls, task: Task, corpus: TokenizedCorpus, split: Split, **settings: int | bool) -> TaskDataset:
        """The dataset of a corpus split by `split`.

        Args:
            settings: fields from `min_count` on.

        Raises:
            InvalidData: a leave-one-out split and a task other than NIP.
        """
        return cls.from_parts(task, corpus, split.parts(corpus), split.kind, **settings)

    @classmethod
    def from_parts(
        cls, task: Task, corpus: TokenizedCorpus, parts: SplitParts, kind: SplitKind, **settings: int | bool
    ) -> TaskDataset:
        """The dataset of parts that are given; the rest as `from_split`."""
        if kind is SplitKind.LEAVE_ONE_OUT:
            if task is not Task.NIP:
                raise InvalidData(
                    f"a leave-one-out split has one next item; {task} needs a split by time or by session"
                )
            # As results on such data are published: every last item is a target, and training uses all the others.
            settings |= {"min_count": 0, "min_eval_count": 0}
        rows = parts.training.take_back().rows
        counts = np.bincount(rows[rows < corpus.products], minlength=corpus.products)
        return cls(task, corpus, parts, counts, **settings)  # type: ignore[arg-type]

    def training(self, rng: np.random.Generator) -> TaskExamples:
        """The examples of one epoch, in random order; for PIP with as many purchases as not (4.1.1).

        Raises:
            InvalidData: fewer than two, or one class only.
        """
        examples = self.unbalanced_training(rng)
        if self.task is Task.PIP:
            examples = over_sampled(examples, rng)
        return examples.take(rng.permutation(len(examples)))

    def sequences(self, rng: np.random.Generator, *, limit: int) -> TargetSequences:
        """The sessions of one epoch in random order, each with all targets in a window of `limit` interactions.

        For PIP the classes are as frequent as in the log.

        Raises:
            InvalidData: fewer than two targets, or one class only.
        """
        part = TargetRange.whole(self.parts.training)
        sequences = self._sequences(part, rng, limit)
        self._require_enough("train on", part, sequences.targets, self.min_count)
        return sequences.take(rng.permutation(len(sequences)))

    def unbalanced_training(self, rng: np.random.Generator) -> TaskExamples:
        """The examples of one epoch with the classes as frequent as in the log.

        Raises:
            InvalidData: fewer than two, or one class only.
        """
        part, allowed = TargetRange.whole(self.parts.training), self._allowed(self.min_count)
        examples = self._examples(part, rng, self.max_per_session, allowed)
        self._require_enough("train on", part, examples.targets, self.min_count)
        return examples

    def validation(self, *, max_examples: int, seed: int) -> TaskExamples:
        """Examples to choose a model by, drawn at random; for PIP over-sampled as in training, on top of the limit.

        Raises:
            InvalidData: fewer than two, or one class only.
        """
        rng = np.random.default_rng([seed, 1])
        examples = self._sampled("validate with", self.parts.validation, rng, max_examples, searches=True)
        return over_sampled(examples, rng) if self.task is Task.PIP else examples

    def test(self, *, max_examples: int, seed: int) -> TaskExamples:
        """Examples to measure a model by, drawn at random, with the classes as frequent as in the log.

        Raises:
            InvalidData: fewer than two, or one class only.
        """
        return self._sampled("test with", self.parts.test, np.random.default_rng([seed, 2]), max_examples)

    def _sampled(
        self,
        purpose: str,
        part: TargetRange,
        rng: np.random.Generator,
        max_examples: int,
        *,
        searches: bool = False,
    ) -> TaskExamples:
        examples = self._examples(part, rng, 1, self._allowed(self.min_eval_count), searches=searches)
        examples = examples.take(np.sort(rng.permutation(len(examples))[:max_examples]))
        self._require_enough(purpose, part, examples.targets, self.min_eval_count)
        return examples

    def _examples(
        self,
        part: TargetRange,
        rng: np.random.Generator,
        max_per_session: int,
        allowed: BoolArray,
        *,
        searches: bool = False,
    ) -> TaskExamples:
        match self.task:
            case Task.NIP:
                return next_item_examples(
                    part,
                    self.corpus.is_product,
                    rng,
                    max_per_session=max_per_session,
                    allowed=allowed,
                    repeats=self.repeats,
                    searches=searches,
                )
            case Task.PIP:
                return purchase_examples(part.sessions, rng, min_interactions=self.min_interactions)
            case Task.RLP:
                return remaining_length_examples(part.sessions, rng, min_interactions=self.min_interactions)

    def _sequences(self, part: TargetRange, rng: np.random.Generator, limit: int) -> TargetSequences:
        match self.task:
            case Task.NIP:
                return next_item_sequences(
                    part,
                    self.corpus.is_product,
                    rng,
                    limit=limit,
                    allowed=self._allowed(self.min_count),
                    repeats=self.repeats,
                    searches=True,
                )
            case Task.PIP:
                return purchase_sequences(part.sessions, rng, min_interactions=self.min_interactions, limit=limit)
            case Task.RLP:
                return remaining_length_sequences(
                    part.sessions, rng, min_interactions=self.min_interactions, limit=limit
                )

    def _allowed(self, min_count: int) -> BoolArray:
        """[texts] which rows may be targets."""
        allowed = np.zeros(len(self.corpus.texts), dtype=bool)
        allowed[: self.corpus.products] = self.counts >= min_count
        return allowed

    def _require_enough(self, purpose: str, part: TargetRange, targets: NDArray[Any], min_count: int) -> None:
        rule = self._rule(min_count)
        if targets.size < 2:
            number = f"found {targets.size} in {len(part.sessions)} sessions"
            raise InvalidData(f"expected 2 or more examples of {self.task} to {purpose}, {number}: {rule}")
        if self.task is Task.PIP and np.unique(targets).size < 2:
            outcome = "end in a purchase" if targets[0] else "end without a purchase"
            raise InvalidData(f"all {targets.size} sessions to {purpose} {outcome}, expected both kinds: {rule}")

    def _rule(self, min_count: int) -> str:
        """What an example needs."""
        longer = f"an example needs a session of more than {self.min_interactions} interactions"
        match self.task:
            case Task.NIP:
                times = "once" if min_count == 1 else f"{min_count} times"
                return (
                    f"a target is a product that follows another in its session and occurs {times} or more in training"
                )
            case Task.PIP:
                return f"{longer}, none of the first {self.min_interactions} a purchase"
            case Task.RLP:
                return longer


def over_sampled(examples: TaskExamples, rng: np.random.Generator) -> TaskExamples:
    """Purchase examples with the rarer class repeated until both are as frequent (4.1.1)."""
    classes = [np.flatnonzero(examples.targets == bought) for bought in (False, True)]
    size = max(map(len, classes))
    # Each example as often as the others of its class, the remainder drawn: 3 examples up to 10 give 3, 3 and 4.
    filled = [
        np.concatenate([np.tile(members, size // members.size), rng.permutation(members)[: size % members.size]])
        for members in classes
    ]
    return examples.take(np.concatenate(filled))
