"""Which candidates become matches under caps and with diversity.

Letters: C candidates, K matches, M products, D width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.search.ranking import Ranked
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray

# Candidates whose room under the caps is looked up at once.
_BLOCK = 4_096
# Comparing all codes with one value takes a tenth of the time of looking them all up.
_FEW_VALUES = 8


@dataclass(frozen=True, slots=True)
class Cap:
    """How many matches may share a value of a column.

    Attributes:
        codes: [M], equal for equal values; -1 for products without a value, which are not limited. Do not write to it.
        num_values: every code is below it.
        limit: matches with the same value.
    """

    codes: NDArray[np.int32]
    num_values: int
    limit: int


class Reranker:
    """Takes up to K of the candidates that it is given, best first, in one part or several.

    Args:
        diversity: 0 takes the best for which every cap has room. Otherwise the next one taken is the one of the part
            with the highest (1 - diversity) x its score - diversity x its cosine with the most similar one taken.
        vectors: at positions: [C] -> [C, D], of length 1; called only if diversity is above 0.

    Attributes:
        positions, scores: of those taken, in the order of the answer.
    """

    def __init__(
        self,
        k: int,
        caps: Sequence[Cap],
        diversity: float = 0.0,
        vectors: Callable[[IntArray], FloatArray] | None = None,
    ) -> None:
        self.positions: list[int] = []
        self.scores: list[float] = []
        self._k = k
        self._rooms = [_Room(cap) for cap in caps]
        self._diversity, self._vectors = diversity, vectors

    @property
    def is_full(self) -> bool:
        """Whether K are taken."""
        return len(self.positions) >= self._k

    def add(self, candidates: Ranked) -> None:
        """Take what there is room for, looking at each candidate once, or K times with diversity."""
        if self._diversity and self._vectors is not None:
            self._add_diverse(candidates, self._vectors)
        else:
            self.add_in_order(candidates)

    def add_in_order(self, candidates: Ranked) -> None:
        """As `add`, but by score alone."""
        for first in range(0, len(candidates), _BLOCK):
            block = self._with_room(candidates.part(first, first + _BLOCK))
            codes = [room.codes[block.positions].tolist() for room in self._rooms]
            for row, (position, score) in enumerate(zip(block.positions.tolist(), block.scores.tolist(), strict=True)):
                if self.is_full:
                    return
                values = [column[row] for column in codes]
                if all(room.is_left(value) for room, value in zip(self._rooms, values, strict=True)):
                    self._take(position, score, values)

    def drop_full(self, mask: BoolArray) -> None:
        """Clear in a mask [M] the products whose value has had no room left since the last call."""
        for room in self._rooms:
            if len(room.newly_full) <= _FEW_VALUES:
                for value in room.newly_full:
                    mask &= room.codes != value
            else:
                mask &= ~room.full[room.codes]
            room.newly_full.clear()

    def _add_diverse(self, candidates: Ranked, vectors_of: Callable[[IntArray], FloatArray]) -> None:
        candidates = self._with_room(candidates)
        codes = [room.codes[candidates.positions] for room in self._rooms]
        vectors = vectors_of(candidates.positions)
        cosines = vectors @ vectors.T
        worth = (1 - self._diversity) * candidates.scores
        highest = None  # the cosine of each candidate and the one taken that it is most similar to
        if self.positions:
            highest = (vectors @ vectors_of(np.array(self.positions)).T).max(axis=1)
        for _ in range(len(candidates)):
            marginal = worth if highest is None else worth - self._diversity * highest
            best = int(marginal.argmax())
            if self.is_full or marginal[best] == -np.inf:
                return
            values = [int(column[best]) for column in codes]
            self._take(int(candidates.positions[best]), float(candidates.scores[best]), values)
            worth[best] = -np.inf
            for room, column, value in zip(self._rooms, codes, values, strict=True):
                if not room.is_left(value):
                    worth[column == value] = -np.inf
            highest = cosines[best] if highest is None else np.maximum(highest, cosines[best])

    def _with_room(self, candidates: Ranked) -> Ranked:
        for room in self._rooms:
            if room.any_full:
                candidates = candidates.where(~room.full[room.codes[candidates.positions]])
        return candidates

    def _take(self, position: int, score: float, values: Sequence[int]) -> None:
        self.positions.append(position)
        self.scores.append(score)
        for room, value in zip(self._rooms, values, strict=True):
            room.take(value)


class _Room:
    """How often each value of a cap's column was taken, and which may not be taken again.

    Attributes:
        full: by code; its last entry is for -1, which is never full.
        newly_full: the values whose products are not yet cleared in a mask.
    """

    def __init__(self, cap: Cap) -> None:
        self.codes = cap.codes
        self.full = np.zeros(cap.num_values + 1, bool)
        self.any_full = False
        self.newly_full: list[int] = []
        self._limit = cap.limit
        self._taken = Counter[int]()

    def is_left(self, value: int) -> bool:
        """Whether a further match may have the value."""
        return value < 0 or self._taken[value] < self._limit

    def take(self, value: int) -> None:
        """Count a match with the value."""
        self._taken[value] += 1
        if value >= 0 and self._taken[value] >= self._limit:
            self.full[value] = self.any_full = True
            self.newly_full.append(value)
