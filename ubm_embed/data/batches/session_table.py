"""Sessions as flat arrays: the action and text row of each interaction, and where each session begins.

Letters: S sessions, I interactions of all sessions end to end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, IntArray, offsets_of, ragged_index
from ubm_embed.data.removals import taken_back_steps
from ubm_embed.data.session import Action

# The paper reads up to 32 interactions (4.1.1).
MAX_INTERACTIONS = 32


@dataclass(frozen=True)
class SessionTable:
    """S sessions over the rows of a token table.

    Attributes:
        actions: [I] uint8, `Action.code`.
        rows: [I] int32, which text.
        offsets: [S + 1] int64; session s is `[offsets[s]:offsets[s + 1]]` of both.
    """

    actions: NDArray[np.uint8]
    rows: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return self.offsets.size - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[S] interactions in each session."""
        return np.diff(self.offsets)

    def take(self, sessions: IntArray) -> SessionTable:
        """A table of these sessions ([K] indices, repeats allowed), in this order."""
        return self.slices(self.offsets[sessions], self.offsets[np.asarray(sessions) + 1])

    def slices(self, starts: IntArray, stops: IntArray) -> SessionTable:
        """A table whose sessions are the slices `starts[k]:stops[k]` of this table's interactions."""
        lengths = np.asarray(stops) - np.asarray(starts)
        index = ragged_index(starts, lengths)
        return SessionTable(self.actions[index], self.rows[index], offsets_of(lengths))

    def last(self, limit: int) -> SessionTable:
        """Each session cut to its last `limit` interactions."""
        stops = self.offsets[1:]
        return self.slices(np.maximum(self.offsets[:-1], stops - limit), stops)

    def session_of(self) -> NDArray[np.int64]:
        """[I] which session each interaction is in."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def taken_back(self) -> BoolArray:
        """[I] which interactions are removals from the cart, or adds that they take back (see `removals`)."""
        removes = self.actions == Action.REMOVE.code
        mask = np.zeros(removes.size, dtype=bool)
        if removes.any():
            steps = np.flatnonzero(removes | (self.actions == Action.ADD.code))
            products = self.session_of()[steps] << 32 | self.rows[steps]
            mask[steps] = taken_back_steps(products, removes[steps])
        return mask

    def take_back(self) -> SessionTable:
        """The sessions without removals and the adds that they take back; some may be empty."""
        left = ~self.taken_back()
        if left.all():
            return self
        return SessionTable(self.actions[left], self.rows[left], offsets_of(left.astype(np.int64))[self.offsets])

    def purchase_segments(self, *, purchases_only: bool, limit: int = MAX_INTERACTIONS) -> SessionTable:
        """The sessions of pre-training (4.1.1): each purchase with up to `limit` interactions since the one before.

        Consecutive purchases are one, like a cart. The interactions after the last purchase of a session, and a session
        without a purchase, are cut to their last `limit` interactions, or left out with `purchases_only`, as in the
        paper.
        """
        buys = self.actions == Action.BUY.code
        last_of_session = np.zeros(buys.size, dtype=bool)
        last_of_session[self.offsets[1:][self.lengths > 0] - 1] = True
        buys_on = np.append(buys[1:], False) & ~last_of_session
        ends = (buys & ~buys_on) | last_of_session
        stops = np.flatnonzero(ends) + 1
        starts = np.append(0, stops)[:-1]  # a table without sessions has none
        if purchases_only:
            bought = buys[stops - 1]
            starts, stops = starts[bought], stops[bought]
        return self.slices(np.maximum(starts, stops - limit), stops)

    def next_item_pairs(self, is_product: BoolArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions [K] of products, and for each that of the next different product of its session (3.3.3).

        What was taken back out of the cart is left out: it pairs with nothing.

        Args:
            is_product: [texts] whether a text row is a product rather than a search phrase.
        """
        positions = np.flatnonzero(is_product[self.rows] & ~self.taken_back())
        session, rows = self.session_of()[positions], self.rows[positions]
        # Viewing and then adding a product is no pair: take the first of each run of one product.
        run_starts = np.ones(positions.size, dtype=bool)
        run_starts[1:] = (session[1:] != session[:-1]) | (rows[1:] != rows[:-1])
        positions, session = positions[run_starts], session[run_starts]
        follows = session[1:] == session[:-1]
        return positions[:-1][follows], positions[1:][follows]
