"""Does the order within sessions say anything, and is it the order of time or only that of the product ids?

Each session is its products in order of first occurrence; a step leads from one to the next. Three questions are asked
of the steps as they are, and of the same sessions shuffled:

    hit     is the product among the ten that most often come next after the same product in other sessions?
    near    is its id one of the ten nearest to the last product's id?
    up      is its id larger?

If the order carries nothing, the answers agree but for chance. Other sessions are the other half of the sample, with
those of the same set of products on one side: a copied list would repeat its order, whatever made it.

Letters: S sessions, N products of all sessions end to end, T steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, IntArray
from ubm_embed.data.inspection.numbered_corpus import NumberedCorpus

MAX_SESSIONS = 50_000
MAX_PRODUCTS = 100  # of one session: a robot's must not dominate
_ROUNDS = 5  # divisions into halves, and shuffles
_HITS = 10
_QUANTILE = 1.96  # of the normal distribution, for a 95% interval


@dataclass(frozen=True)
class Comparison:
    """A share of the steps, beside the same share in shuffled sessions.

    Attributes:
        share, shuffled: between 0 and 1.
        low, high: 95% interval of their difference; sessions are what is drawn, not steps.
    """

    share: float
    shuffled: float
    low: float
    high: float


@dataclass(frozen=True)
class OrderStatistics:
    """The order within sessions.

    Attributes:
        sessions, steps: of the sample: sessions with two different products or more, and steps in them.
        sampled: whether sessions were left out, at most 50,000 are used, the first 100 products of each.
        hit, near, up: the three questions; None without a step.
        later_share: steps with a later timestamp than the step before, of those with timestamps; None without any.
        same_time_share: steps with the same timestamp.
    """

    sessions: int
    steps: int
    sampled: bool
    hit: Comparison | None
    near: Comparison | None
    up: Comparison | None
    later_share: float | None
    same_time_share: float | None

    @classmethod
    def measure(cls, corpus: NumberedCorpus, product_ids: pl.Series, *, seed: int = 0) -> OrderStatistics:
        """Compare the steps of a sample of sessions with shuffled ones.

        Args:
            product_ids: [M].
            seed: of the sample, the halves and the shuffles.
        """
        rng = np.random.default_rng([seed, 3])
        sample, sampled = _Sample.draw(corpus, rng)
        later, same_time = sample.time_shares()
        if not sample.steps.size:
            return cls(0, 0, sampled, None, None, None, later, same_time)
        ranks = max(id_ranks(product_ids), key=sample.agreement)  # it depends on the shop how ids are sorted
        real = np.zeros((3, sample.steps.size))
        shuffled = np.zeros_like(real)
        for _ in range(_ROUNDS):
            half = sample.halves(rng)
            likely = sample.likely_steps(half)
            for answers, rows in ((real, sample.rows), (shuffled, sample.shuffled(rng))):
                answers += sample.answers(rows, ranks[rows], likely, half) / _ROUNDS
        hit, near, up = (sample.compare(*pair) for pair in zip(real, shuffled, strict=True))
        return cls(sample.size, sample.steps.size, sampled, hit, near, up, later, same_time)


def id_ranks(product_ids: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[M] the rank of each id as text, with `p10` before `p9`, and by the number in it, with `p9` before `p10`."""
    text = pl.col("id")
    number = [text.str.extract(r"^([^0-9]*)"), text.str.extract(r"([0-9]{1,18})").cast(pl.Int64)]
    rows = product_ids.alias("id").to_frame().with_row_index("row")
    return _ranks(rows.sort(text)["row"]), _ranks(rows.sort(*number, text)["row"])


def _ranks(ordered: pl.Series) -> NDArray[np.int64]:
    ranks = np.empty(ordered.len(), dtype=np.int64)
    ranks[ordered.to_numpy()] = np.arange(ranks.size)
    return ranks


@dataclass(frozen=True)
class _Sample:
    """S sessions of different products.

    Attributes:
        rows: [N] product rows.
        session_of: [N] which of the S sessions.
        steps: [T] positions in the [N] that a step leads from.
        times, timed: [N] of the first interaction with each product.
        products: M.
        size: S.
    """

    rows: NDArray[np.int64]
    session_of: NDArray[np.int64]
    steps: IntArray
    times: NDArray[np.int64]
    timed: BoolArray
    products: int
    size: int

    @classmethod
    def draw(cls, corpus: NumberedCorpus, rng: np.random.Generator) -> tuple[_Sample, bool]:
        """A sample, and whether anything was left out."""
        is_product = corpus.is_product
        session_of, rows = corpus.sessions.session_of()[is_product], corpus.sessions.rows[is_product].astype(np.int64)
        firsts = np.sort(np.unique(session_of * corpus.products + rows, return_index=True)[1])
        different = np.bincount(session_of[firsts], minlength=len(corpus.sessions))
        usable = np.flatnonzero(different > 1)
        chosen = np.zeros(different.size, dtype=bool)
        chosen[rng.permutation(usable)[:MAX_SESSIONS]] = True
        rank = np.arange(firsts.size) - np.repeat(np.cumsum(different) - different, different)
        firsts = firsts[chosen[session_of[firsts]] & (rank < MAX_PRODUCTS)]
        which = np.unique(session_of[firsts], return_inverse=True)[1]
        sample = cls(
            rows=rows[firsts],
            session_of=which,
            steps=np.flatnonzero(which[1:] == which[:-1]),
            times=corpus.times[is_product][firsts],
            timed=corpus.timed[is_product][firsts],
            products=corpus.products,
            size=int(chosen.sum()),
        )
        return sample, usable.size > MAX_SESSIONS or bool((different > MAX_PRODUCTS).any())

    def time_shares(self) -> tuple[float | None, float | None]:
        """The shares of steps to a later time, and to the same."""
        timed = self.steps[self.timed[self.steps] & self.timed[self.steps + 1]]
        if not timed.size:
            return None, None
        pauses = self.times[timed + 1] - self.times[timed]
        return float((pauses > 0).mean()), float((pauses == 0).mean())

    def shuffled(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """[N] the rows with those of each session in random order."""
        return self.rows[np.lexsort((rng.random(self.rows.size), self.session_of))]

    def halves(self, rng: np.random.Generator) -> BoolArray:
        """[T] which half a step's session is in; sessions of the same products are in the same."""
        code = rng.integers(1 << 63, size=self.products, dtype=np.uint64)
        sums = np.zeros(self.size, dtype=np.uint64)
        np.add.at(sums, self.session_of, code[self.rows])  # the same for every order; wraps around
        half: BoolArray = (sums >> np.uint64(40)) % 2 == 1
        return half[self.session_of[self.steps]]

    def likely_steps(self, half: BoolArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each half, the steps that count as likely by the other: codes of pairs, ascending."""
        pairs = self._pairs(self.rows)
        return _most_frequent(pairs[half], self.products), _most_frequent(pairs[~half], self.products)

    def answers(
        self,
        rows: NDArray[np.int64],
        ranks: NDArray[np.int64],
        likely: tuple[NDArray[np.int64], NDArray[np.int64]],
        half: BoolArray,
    ) -> NDArray[np.float64]:
        """[3, T] whether each step is a hit, near, up."""
        pairs, up = self._pairs(rows), ranks[self.steps + 1] - ranks[self.steps]
        hit = np.where(half, _contains(likely[1], pairs), _contains(likely[0], pairs))
        return np.stack([hit, np.abs(up) <= _HITS // 2, up > 0]).astype(np.float64)

    def agreement(self, ranks: NDArray[np.int64]) -> float:
        """How much the steps follow these ranks, in either direction."""
        rises = np.diff(ranks[self.rows])[self.steps]
        return float((np.abs(rises) <= _HITS // 2).mean() + abs((rises > 0).mean() - 0.5))

    def _pairs(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows[self.steps] * self.products + rows[self.steps + 1]

    def compare(self, real: NDArray[np.float64], shuffled: NDArray[np.float64]) -> Comparison:
        """Both shares over all steps, and the interval of the difference, of a ratio of sums over sessions."""
        session_of, difference = self.session_of[self.steps], real - shuffled
        mean = difference.mean()
        deviations = np.bincount(session_of, difference - mean, minlength=self.size)
        width = _QUANTILE * float(np.sqrt((deviations**2).sum())) / self.steps.size
        return Comparison(float(real.mean()), float(shuffled.mean()), float(mean - width), float(mean + width))


def _most_frequent(pairs: NDArray[np.int64], products: int) -> NDArray[np.int64]:
    """Of each first product the `_HITS` most frequent pairs, ascending."""
    distinct, counts = np.unique(pairs, return_counts=True)
    first = distinct // products
    order = np.lexsort((-counts, first))
    ordered = first[order]
    rank = np.arange(order.size) - np.searchsorted(ordered, ordered)
    return np.sort(distinct[order[rank < _HITS]])


def _contains(ascending: NDArray[np.int64], values: NDArray[np.int64]) -> BoolArray:
    if not ascending.size:
        return np.zeros(values.size, dtype=bool)
    at = np.minimum(np.searchsorted(ascending, values), ascending.size - 1)
    found: BoolArray = ascending[at] == values
    return found
