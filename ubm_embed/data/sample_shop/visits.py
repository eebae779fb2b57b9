"""The interactions of sample shoppers so far, many visits side by side.

Letters: B visits, N of them that do something, S = 32 interactions at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.sample_shop.catalogue import NOTHING
from ubm_embed.data.session import Action

MAX_LENGTH = 32  # a visit is cut there


@dataclass(frozen=True)
class Visits:
    """B visits and the interactions so far in each.

    Attributes:
        users: [B] the shopper of each.
        lengths: [B].
        actions: [B, S] `Action.code`.
        products: [B, S] rows of the catalogue, `NOTHING` for a search.
        phrases: [B, S] indices in `searched`, `NOTHING` for a product.
        searched: the search phrases.
    """

    users: IntArray
    lengths: IntArray
    actions: NDArray[np.uint8]
    products: NDArray[np.int32]
    phrases: NDArray[np.int32]
    searched: list[str]

    @classmethod
    def empty(cls, users: IntArray) -> Visits:
        """Visits without interactions."""
        shape = (users.size, MAX_LENGTH)
        empty = np.full(shape, NOTHING, dtype=np.int32)
        return cls(users, np.zeros(users.size, np.int64), np.zeros(shape, np.uint8), empty, empty.copy(), [])

    def do(self, who: IntArray, action: Action, products: IntArray) -> None:
        """Append this action with `products` [N] to visits `who` [N]."""
        self._append(who, action, self.products, products)

    def search(self, who: IntArray, phrases: list[str]) -> None:
        """Append a search for each of `phrases` to visits `who` [N]."""
        self._append(who, Action.SEARCH, self.phrases, len(self.searched) + np.arange(who.size))
        self.searched.extend(phrases)

    def _append(self, who: IntArray, action: Action, column: NDArray[np.int32], entries: IntArray) -> None:
        room = self.lengths[who] < MAX_LENGTH
        who = who[room]
        self.actions[who, self.lengths[who]] = action.code
        column[who, self.lengths[who]] = entries[room]
        self.lengths[who] += 1

    def did(self, action: Action) -> NDArray[np.bool_]:
        """[B, S] which interactions are this action with a product."""
        done: NDArray[np.bool_] = (self.actions == action.code) & (self.products != NOTHING)
        return done
