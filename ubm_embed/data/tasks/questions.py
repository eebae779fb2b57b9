"""The questions of one task over a split corpus: what trains, what chooses, what judges.

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
    LEAST_INTERACTIONS,
    Asked,
    Examples,
    Task,
    Walks,
    next_item_examples,
    next_item_walks,
    purchase_examples,
    remaining_length_examples,
)
from ubm_embed.data.tasks.split import Parts, Split, SplitKind
from ubm_embed.errors import InvalidData

# Products that training sees less often are no answers to learn from (4.1.1).
LEAST_COUNT = 5


@dataclass(frozen=True)
class Questions:
    """A task, posed.

    Attributes:
        counts: [M] interactions of each product in the training part.
        least_count: NIP, products with fewer are no answers in training.
        asked_count: NIP, products with fewer are no answers to choose or judge by.
        per_session: NIP, questions that one session gives to an epoch, at most.
        repeats: NIP, also ask for products that the session holds already, as the paper does.
        least: PIP and RLP, interactions of a prefix, at least.
    """

    task: Task
    corpus: TokenizedCorpus
    parts: Parts
    counts: NDArray[np.int64]
    least_count: int = LEAST_COUNT
    asked_count: int = 1
    per_session: int = 8
    repeats: bool = False
    least: int = LEAST_INTERACTIONS

    @classmethod
    def of(cls, task: Task, corpus: TokenizedCorpus, split: Split, **settings: int | bool) -> Questions:
        """Pose a task.

        Args:
            settings: fields from `least_count` on.

        Raises:
            InvalidData: the split cannot pose this task.
        """
        if split.kind is SplitKind.LEAVE_ONE_OUT and task is not Task.NIP:
            raise InvalidData(
                f"a leave-one-out split asks for one next item; {task} needs a split by time or by session"
            )
        parts = split.parts(corpus)
        if split.kind is SplitKind.LEAVE_ONE_OUT:
            # As such sequences are published: every last item is asked, and every item but it is learned from.
            settings |= {"least_count": 0, "asked_count": 0}
        rows = parts.training.rows
        counts = np.bincount(rows[rows < corpus.products], minlength=corpus.products)
        return cls(task, corpus, parts, counts, **settings)  # type: ignore[arg-type]

    def training(self, rng: np.random.Generator) -> Examples:
        """The examples of one epoch, in random order; with a purchase as often as without one (4.1.1).

        Raises:
            InvalidData: fewer than two, or one class only.
        """
        examples = self.drawn(rng)
        if self.task is Task.PIP:
            examples = over_sampled(examples, rng)
        return examples.take(rng.permutation(len(examples)))

    def walks(self, rng: np.random.Generator, *, limit: int) -> Walks:
        """NIP: the sessions of one epoch in random order, each asked at every place of a run of `limit` interactions.

        Raises:
            InvalidData: fewer than two.
        """
        asked, answers = Asked.whole(self.parts.training), self._answers(self.least_count)
        walks = next_item_walks(asked, self.corpus.is_product, rng, limit=limit, known=answers, repeats=self.repeats)
        self._require("train on", asked, walks.targets, self.least_count)
        return walks.take(rng.permutation(len(walks)))

    def drawn(self, rng: np.random.Generator) -> Examples:
        """The examples of one epoch as the world has them.

        Raises:
            InvalidData: fewer than two, or one class only.
        """
        asked, answers = Asked.whole(self.parts.training), self._answers(self.least_count)
        examples = self._examples(asked, rng, self.per_session, answers)
        self._require("train on", asked, examples.targets, self.least_count)
        return examples

    def validation(self, *, most: int, seed: int) -> Examples:
        """At most `most` examples to choose a model by, those of PIP then over-sampled as in training.

        Raises:
            InvalidData: fewer than two, or one class only.
        """
        rng = np.random.default_rng([seed, 1])
        examples = self._judged("choose by", self.parts.validation, rng, most)
        return over_sampled(examples, rng) if self.task is Task.PIP else examples

    def test(self, *, most: int, seed: int) -> Examples:
        """At most `most` examples to judge a model by, as the world has them.

        Raises:
            InvalidData: fewer than two, or one class only.
        """
        return self._judged("judge by", self.parts.test, np.random.default_rng([seed, 2]), most)

    def _judged(self, purpose: str, asked: Asked, rng: np.random.Generator, most: int) -> Examples:
        examples = self._examples(asked, rng, 1, self._answers(self.asked_count))
        chosen = np.sort(rng.permutation(len(examples))[:most])
        examples = examples.take(chosen)
        self._require(purpose, asked, examples.targets, least_count=self.asked_count)
        return examples

    def _examples(self, asked: Asked, rng: np.random.Generator, per_session: int, answers: BoolArray) -> Examples:
        match self.task:
            case Task.NIP:
                is_product = self.corpus.is_product
                return next_item_examples(asked, is_product, rng, most=per_session, known=answers, repeats=self.repeats)
            case Task.PIP:
                return purchase_examples(asked.sessions, rng, least=self.least)
            case Task.RLP:
                return remaining_length_examples(asked.sessions, rng, least=self.least)

    def _answers(self, least_count: int) -> BoolArray:
        """[texts] which rows may be answers."""
        known = np.zeros(len(self.corpus.texts), dtype=bool)
        known[: self.corpus.products] = self.counts >= least_count
        return known

    def _require(self, purpose: str, asked: Asked, targets: NDArray[Any], least_count: int) -> None:
        rule = self._rule(least_count)
        if targets.size < 2:
            found = f"found {targets.size} in {len(asked.sessions)} sessions"
            raise InvalidData(f"expected 2 or more questions of {self.task} to {purpose}, {found}: {rule}")
        if self.task is Task.PIP and np.unique(targets).size < 2:
            which = "a purchase" if targets[0] else "no purchase"
            raise InvalidData(f"all {targets.size} sessions to {purpose} come to {which}, expected both kinds: {rule}")

    def _rule(self, least_count: int) -> str:
        """What makes a question."""
        match self.task:
            case Task.NIP:
                times = "once" if least_count == 1 else f"{least_count} times"
                return (
                    "a question asks for a product that follows another in its session and occurs "
                    f"{times} or more in training"
                )
            case Task.PIP:
                longer = f"a question needs a session of more than {self.least} interactions"
                return f"{longer}, none of the first {self.least} a purchase"
            case Task.RLP:
                return f"a question needs a session of more than {self.least} interactions"


def over_sampled(examples: Examples, rng: np.random.Generator) -> Examples:
    """Purchase examples with the rarer class repeated until both are as frequent (4.1.1)."""
    classes = [np.flatnonzero(examples.targets == bought) for bought in (False, True)]
    most = max(map(len, classes))
    # Each as often as the others, the remainder drawn: a class of 3 up to 10 gives 3, 3 and 4.
    filled = [
        np.concatenate([np.tile(one, most // one.size), rng.permutation(one)[: most % one.size]]) for one in classes
    ]
    return examples.take(np.concatenate(filled))
