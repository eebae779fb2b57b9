"""What is asked of a session: the next product, from a session cut at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray
from ubm_embed.data.session_table import SessionTable


@dataclass(frozen=True)
class NextItemExamples:
    """E questions: a prefix of a session, and the first product after it that the prefix does not hold.

    Attributes:
        prefixes: E sessions.
        targets: [E] int64 text rows of products.
    """

    prefixes: SessionTable
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return self.targets.size


def next_item_examples(sessions: SessionTable, is_product: BoolArray, rng: np.random.Generator) -> NextItemExamples:
    """One question a session, at a random cut; none for a session that never comes to a second product.

    Every prefix holds a product, so that co-occurrence and popularity are asked the same questions as the model. One
    question a session keeps long sessions from ruling the mean.
    """
    starts, stops, targets = [], [], []
    for start, stop in zip(sessions.offsets[:-1], sessions.offsets[1:], strict=True):
        places = start + np.flatnonzero(is_product[sessions.rows[start:stop]])
        firsts = places[np.sort(np.unique(sessions.rows[places], return_index=True)[1])]
        if firsts.size < 2:
            continue
        target = firsts[rng.integers(1, firsts.size)]
        starts.append(start)
        stops.append(target)
        targets.append(sessions.rows[target])
    prefixes = sessions.slices(_int64(starts), _int64(stops))
    return NextItemExamples(prefixes, _int64(targets))


def _int64(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)
