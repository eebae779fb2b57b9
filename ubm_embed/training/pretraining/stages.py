"""The two stages of pre-training (paper 3.2): what an epoch draws from, what a step reads, what it compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.batches.distinct_batches import SessionBatch, TokenBatch
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import InvalidData
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.encoding import AT_ONCE, Encoding
from ubm_embed.training.pretraining.views import Views, item_views, session_views

ITEM_LOSSES = ("item_token_masking", "next_item_pairing")
SESSION_LOSSES = ("interaction_reordering", "action_and_item_token_masking")
LOSSES = ITEM_LOSSES + SESSION_LOSSES


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
        """The vectors of a batch, [K, D]; of the whole one, whoever shares in the work."""


@dataclass(frozen=True)
class ItemStage:
    """Stage 1: the interaction encoder learns from products and the ones that follow them (equations 1 and 2).

    Attributes:
        items, next_items: [P] text rows of all pairs.
        session_of: [P] which session each pair comes from.
        pairs_per_session: at most so many of a session an epoch, so that wholesale baskets do not rule.
        actions: [P] action codes, to read the items as the interactions they were; None for products alone.
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
    number: int = 1

    @classmethod
    def of(
        cls,
        tokenizer: InteractionTokenizer,
        corpus: TokenizedCorpus,
        sessions: SessionTable,
        *,
        batch_size: int,
        pairs_per_session: int,
        losses: frozenset[str],
        item_actions: bool = False,
    ) -> ItemStage:
        """From the sessions that pre-training reads.

        Raises:
            InvalidData: fewer than two pairs of neighbouring products to an epoch.
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
        actions = sessions.actions[first].astype(np.int64) if item_actions else None
        return cls(
            tokenizer, corpus, rows[first], rows[second], session_of, batch_size, pairs_per_session, losses, actions
        )

    def epoch(self, rng: np.random.Generator) -> IntArray:
        """Pairs in random order, at most `pairs_per_session` of each session."""
        order = rng.permutation(self.items.size)
        by_session = np.argsort(self.session_of[order], kind="stable")
        session = self.session_of[order][by_session]
        begins = np.searchsorted(session, session)
        kept = np.arange(session.size) - begins < self.pairs_per_session
        return order[np.sort(by_session[kept])]

    def views(self, chosen: IntArray, rng: np.random.Generator) -> Views:
        """The batch of these pairs."""
        items, next_items = self.items[chosen], self.next_items[chosen]
        actions = None if self.actions is None else self.actions[chosen]
        return item_views(self.tokenizer, self.corpus.texts, items, next_items, self.losses, rng, actions)

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
