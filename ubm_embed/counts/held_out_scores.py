"""What weights of counts are fitted to: the cosines of held-out sessions with products that have counts, and others.

Letters: E examples, M products, N entries: the products with counts of each example, end to end, T temperatures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from scipy.special import logsumexp

from ubm_embed.counts.counting import only_products
from ubm_embed.counts.session_counts import SessionCounts
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.tasks.examples import TaskExamples

Cosines: TypeAlias = Callable[[SessionTable], FloatArray]
Floats: TypeAlias = NDArray[np.float64]
# Of the cosines. A model that knows its training sessions by heart is less sure of others than its own one says.
TEMPERATURES = (0.03, 0.05, 0.07, 0.1, 0.14, 0.2)
_MAX_SCORES = 1 << 24  # cosines in memory at once: 64 MB, and as much for their exponentials
_NEVER = np.float32(-1e9)  # the cosine of a product that is no candidate
_PRESENT = np.float32(1e-20)  # the logarithm of one more than this is 0


@dataclass(frozen=True)
class HeldOutScores:
    """The scores of E examples, as far as counts can change how likely their targets are.

    Attributes:
        prefixes: E sessions.
        pattern: sparse [E, M] with N entries, the candidates with counts, which hold their cosines.
        others: [T, E] for each of the temperatures, the logarithm of the sum of exponentials over all other candidates.
        targets: [E] cosines of the targets.
        entries: [E] which entry the target is; -1 where it has no counts.
    """

    prefixes: SessionTable
    pattern: csr_array
    others: Floats
    targets: Floats
    entries: NDArray[np.int64]

    @classmethod
    def gather(
        cls, cosines: Cosines, examples: TaskExamples, counts: SessionCounts, *, repeats: bool = False
    ) -> HeldOutScores:
        """Score the examples, some at a time.

        Args:
            counts: what they name are the products with counts.
            repeats: whether products that the prefix holds are candidates, too.
        """
        step = max(1, _MAX_SCORES // max(counts.transitions.products, 1))
        starts = range(0, len(examples), step)
        batches = [examples.take(np.arange(first, min(first + step, len(examples)))) for first in starts]
        scored = [_scored(cosines(batch.prefixes), batch, counts, repeats=repeats) for batch in batches]
        patterns, others, targets = zip(*scored, strict=True)
        pattern = csr_array(vstack(patterns, format="csr"))
        entries = _entries_of(pattern, examples.targets)
        return cls(examples.prefixes, pattern, np.concatenate(others, axis=1), np.concatenate(targets), entries)

    def sums_of(self, counts: SessionCounts) -> Floats:
        """[N] the sums of counts of the entries; those of products that are no entries are left out."""
        present = csr_array(
            (np.ones_like(self.pattern.data), self.pattern.indices, self.pattern.indptr), shape=self.pattern.shape
        )
        sums = csr_array(counts.sums(self.prefixes).multiply(present) + present * _PRESENT)
        sums.sort_indices()
        return np.asarray(sums.data, dtype=np.float64)

    def loss(self, bonus: Floats, temperature: float) -> tuple[float, Floats]:
        """The negative log-likelihood of the targets, and its derivatives with respect to the bonuses.

        Args:
            bonus: [N] what counts add, in units of the temperature.
            temperature: one of `TEMPERATURES`.
        """
        offsets = self.pattern.indptr
        some = np.flatnonzero(np.diff(offsets))
        scores = self.pattern.data / temperature + bonus
        totals = self.others[TEMPERATURES.index(temperature)].copy()
        largest = np.maximum(np.maximum.reduceat(scores, offsets[some]), totals[some]) if some.size else totals[some]
        exponentials = np.exp(scores - np.repeat(largest, np.diff(offsets)[some]))
        if some.size:
            totals[some] = largest + np.log(
                np.exp(totals[some] - largest) + np.add.reduceat(exponentials, offsets[some])
            )
        errors = np.exp(scores - np.repeat(totals, np.diff(offsets)))
        counted = self.entries[self.entries >= 0]
        errors[counted] -= 1
        value = float(np.sum(totals - self.targets / temperature) - np.sum(bonus[counted]))
        return value, errors


def _scored(
    cosines: FloatArray, examples: TaskExamples, counts: SessionCounts, *, repeats: bool
) -> tuple[csr_array, Floats, Floats]:
    """Of some examples: their entries with cosines, the logarithms of the other sums, and the targets' cosines."""
    each = np.arange(len(examples))
    targets = cosines[each, examples.targets].astype(np.float64)
    candidates = cosines.astype(np.float32)  # a copy
    if not repeats:
        held = only_products(examples.prefixes, candidates.shape[1])
        candidates[held.session_of(), held.rows] = _NEVER
        candidates[each, examples.targets] = targets
    pattern = csr_array(counts.sums(examples.prefixes))
    pattern.sort_indices()
    rows = np.repeat(each, np.diff(pattern.indptr))
    pattern.data = candidates[rows, pattern.indices].astype(np.float64)
    candidates[rows, pattern.indices] = _NEVER
    others = [logsumexp(candidates / np.float32(temperature), axis=1) for temperature in TEMPERATURES]
    return pattern, np.asarray(others, dtype=np.float64), targets


def _entries_of(pattern: csr_array, targets: IntArray) -> NDArray[np.int64]:
    """[E] which entry of the pattern each target is; -1 for none."""
    rows = np.repeat(np.arange(targets.size), np.diff(pattern.indptr))
    is_target = np.flatnonzero(pattern.indices == targets[rows])
    entries = np.full(targets.size, -1, dtype=np.int64)
    entries[rows[is_target]] = is_target
    return entries
