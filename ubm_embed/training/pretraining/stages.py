"""The two stages of pre-training (paper 3.2): what an epoch draws from, what a step reads, how it is encoded.

Letters: P pairs of an item and its next one, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.batches.packing import SessionBatch, TokenBatch
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import InvalidData
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.encoding import AT_ONCE, Encoding
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.views import KnownNextItems, Views, item_views, session_views


class Stage(Protocol):
    """What the training loop asks of a stage."""

    @property
    def number(self) -> int:
        """1 or 2."""

    @property
    def batch_size(self) -> int:
        """Examples a step."""

    def epoch(self, rng: np.random.Generator) -> IntArray:
        """The examples of one epoch, in the order in which they are read."""

    def views(self, chosen: IntArray, rng: np.random.Generator) -> Views:
        """The batch of these examples."""

    def encode(self, model: UserBehaviorModel, views: Views, encoding: Encoding = AT_ONCE) -> Tensor:
        """The vectors of the whole batch, [K, D], however many processes share the work."""


@dataclass(frozen=True)
class ItemStage:
    """Stage 1: the interaction encoder learns from products and the ones that follow them (equations 1 and 2).

    Attributes:
        items, next_items: [P] text rows of all pairs.
        session_of: [P] which session each pair comes from.
        pairs_per_session: the most pairs of a session in an epoch, so that wholesale baskets do not dominate it.
        actions: [P] action codes, to read the items as the interactions they were; None reads products alone.
        known: the next items of each item in any session, which are no negatives of it; None counts them as negatives.
    """

    tokenizer: InteractionTokenizer
    corpus: TokenizedCorpus
    items: IntArray
    next_items: IntArray
    session_of: IntArray
    batch_size: int
    pairs_per_session: int
    losses: frozenset[str]
    actions: IntArray | None = None
    known: KnownNextItems | None = None
    number: int = 1

    @classmethod
    def from_sessions(
        cls,
        tokenizer: InteractionTokenizer,
        corpus: TokenizedCorpus,
        sessions: SessionTable,
        *,
        batch_size: int,
        pairs_per_session: int,
        losses: frozenset[str],
        item_actions: bool = False,
        mask_known_next_items: bool = False,
    ) -> ItemStage:
        """The stage over the pairs of these sessions.

        Raises:
            InvalidData: an epoch has fewer than two pairs of neighbouring products.
        """
        first, second = sessions.next_item_pairs(corpus.is_product)
        session_of = sessions.session_of()[first]
        read = np.minimum(np.bincount(session_of, minlength=1), pairs_per_session).sum()
        if read < 2:
            raise InvalidData(
                f"{read} pairs of neighbouring products in {len(sessions)} sessions, at most {pairs_per_session} of "
                "each; contrastive pre-training needs at least 2"
            )
        rows = sessions.rows.astype(np.int64)
        items, next_items = rows[first], rows[second]
        return cls(
            tokenizer,
            corpus,
            items,
            next_items,
            session_of,
            batch_size,
            pairs_per_session,
            losses,
            actions=sessions.actions[first].astype(np.int64) if item_actions else None,
            known=KnownNextItems.from_pairs(items, next_items, len(corpus.texts)) if mask_known_next_items else None,
        )

    def epoch(self, rng: np.random.Generator) -> IntArray:
        """Pairs in random order, at most `pairs_per_session` of each session."""
        order = rng.permutation(self.items.size)
        by_session = np.argsort(self.session_of[order], kind="stable")
        session = self.session_of[order][by_session]
        begins = np.searchsorted(session, session)
        within = np.arange(session.size) - begins < self.pairs_per_session
        return order[np.sort(by_session[within])]

    def views(self, chosen: IntArray, rng: np.random.Generator) -> Views:
        """The batch of these pairs."""
        items, next_items = self.items[chosen], self.next_items[chosen]
        actions = None if self.actions is None else self.actions[chosen]
        return item_views(self.tokenizer, self.corpus.texts, items, next_items, self.losses, rng, actions, self.known)

    def encode(self, model: UserBehaviorModel, views: Views, encoding: Encoding = AT_ONCE) -> Tensor:
        """b' of every sequence."""
        assert isinstance(views.batch, TokenBatch)
        return encoding.interactions(model, views.batch)


@dataclass(frozen=True)
class SessionStage:
    """Stage 2: the whole model learns from sessions and their augmentations (equations 3 and 4)."""

    tokenizer: InteractionTokenizer
    corpus: TokenizedCorpus
    sessions: SessionTable
    batch_size: int
    losses: frozenset[str]
    number: int = 2

    def epoch(self, rng: np.random.Generator) -> IntArray:
        """Sessions in random order."""
        order: IntArray = rng.permutation(len(self.sessions))
        return order

    def views(self, chosen: IntArray, rng: np.random.Generator) -> Views:
        """The batch of these sessions."""
        return session_views(self.tokenizer, self.corpus.texts, self.sessions.take(chosen), self.losses, rng)

    def encode(self, model: UserBehaviorModel, views: Views, encoding: Encoding = AT_ONCE) -> Tensor:
        """h' of every view of every session."""
        assert isinstance(views.batch, SessionBatch)
        return encoding.sessions(model, views.batch)


def stage_steps(stage: Stage, config: PretrainingConfig) -> int:
    """The number of steps of a stage: its epochs of whole batches, limited by `max_steps`."""
    examples = stage.epoch(_epoch_generator(config, stage, 0)).size
    steps = config.epochs * max(1, examples // stage.batch_size)
    limit = config.max_steps_of(stage.number)
    return steps if limit is None else min(steps, limit)


def batches(stage: Stage, config: PretrainingConfig, first: int = 0) -> Iterator[tuple[int, IntArray]]:
    """(step, chosen examples) of a stage, from step `first` on. An epoch's remainder after whole batches is not read.

    Both follow from the settings and the step's number alone, so that a run that was cut off reads on as it would have.
    """
    step, epoch, total = 0, 0, stage_steps(stage, config)
    while step < total:
        order = stage.epoch(_epoch_generator(config, stage, epoch))
        for batch in range(max(1, order.size // stage.batch_size)):
            if first <= step < total:
                yield step, order[batch * stage.batch_size : (batch + 1) * stage.batch_size]
            step += 1
        epoch += 1


def _epoch_generator(config: PretrainingConfig, stage: Stage, epoch: int) -> np.random.Generator:
    # Steps are seeded with three numbers; the fourth keeps an epoch's order apart from every step's.
    return np.random.default_rng([config.seed, stage.number, epoch, 1])
