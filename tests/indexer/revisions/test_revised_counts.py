"""Counts under revisions, against A C A^T of all products; and what finding stand-ins costs."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.counts.counts_file import VersionCounts
from indexer.counts.nearest_known import nearest_known
from indexer.index.selection import Selection
from indexer.index.vector_index import VectorIndex
from indexer.revisions import stand_in_search, stand_ins
from indexer.revisions.overlay import Overlay
from indexer.revisions.revised_counts import RevisedCounts
from ubm_embed.counts.propagation import NEAREST
from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.counts.transition_counts import TransitionCounts
from ubm_embed.data.arrays import unit_rows

COUNT, WIDTH = 12, 6
SEEN = np.array([row % 4 for row in range(COUNT)], np.uint8)  # every fourth product was never seen


class ToyShop:
    """Products that come, go and get other texts, with the parts of an `Overlay` that counts ask for.

    Attributes:
        vectors: at all positions, the dead ones too.
        positions: of each product by its number; the version has the first ones.
    """

    def __init__(self) -> None:
        self.vectors = unit_rows(np.random.default_rng(0).standard_normal((COUNT, WIDTH)).astype(np.float32) + 0.5)
        self.positions = dict(enumerate(range(COUNT)))
        self.base_count = COUNT

    def changed(self, product: int) -> ToyShop:
        """Another text: a new product gets one for the first time."""
        other = ToyShop()
        vector = unit_rows(np.random.default_rng(len(self.vectors)).standard_normal((1, WIDTH)) + 0.5)
        other.vectors = np.concatenate([self.vectors, vector.astype(np.float32)])
        other.positions = {**self.positions, product: len(self.vectors)}
        return other

    def without(self, product: int) -> ToyShop:
        other = ToyShop()
        other.vectors = self.vectors
        other.positions = {number: position for number, position in self.positions.items() if number != product}
        return other

    @property
    def as_overlay(self) -> Overlay:
        return cast(Overlay, self)

    @cached_property
    def index(self) -> VectorIndex:
        return VectorIndex.build([self.vectors])

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def visible(self) -> Selection:
        return Selection.from_positions(np.array([*self.positions.values()]), len(self))

    @property
    def appended_bases(self) -> np.ndarray:
        bases = np.full(len(self) - COUNT, -1)
        for product, position in self.positions.items():
            if product < COUNT <= position:
                bases[position - COUNT] = product
        return bases

    @property
    def dead_of_base(self) -> np.ndarray:
        return np.array([row for row in range(COUNT) if self.positions.get(row) != row], np.int64)

    def current(self, rows: np.ndarray) -> np.ndarray:
        return np.array([self.positions.get(row, -1) for row in rows.tolist()], np.int64)

    def continues(self, other: ToyShop) -> bool:
        return len(self) >= len(other)


def published() -> VersionCounts:
    table = dense_counts()
    rows, columns = np.nonzero(table)
    offsets = np.searchsorted(rows, np.arange(COUNT + 1))
    transitions = TransitionCounts(offsets, columns.astype(np.int32), table[rows, columns])
    return VersionCounts(transitions, SEEN, CountWeights(), Path("counts.arrow"))


def dense_counts() -> np.ndarray:
    random = np.random.default_rng(1)
    table = random.random((COUNT, COUNT)).astype(np.float32) * (random.random((COUNT, COUNT)) < 0.4)
    np.fill_diagonal(table, 0)
    return np.asarray(table)


def expected(shop: ToyShop) -> np.ndarray:
    """A C A^T over all positions, the obvious way."""
    shares = np.zeros((len(shop), COUNT))
    known = [product for product in shop.positions if product < COUNT and SEEN[product]]
    for product, position in shop.positions.items():
        if product < COUNT:
            shares[position, product] = 1
            continue
        cosines = {one: float(shop.vectors[shop.positions[one]] @ shop.vectors[position]) for one in known}
        nearest = sorted(known, key=lambda one: -cosines[one])[:NEAREST]
        sources = [one for one in nearest if cosines[one] > 0]
        weights = [np.exp((cosines[one] - cosines[nearest[0]]) / 0.05) for one in sources]
        weights = [weight if weight >= 0.01 else 0 for weight in weights]
        for one, weight in zip(sources, weights, strict=True):
            shares[position, one] = weight / sum(weights)
    counts = shares @ dense_counts() @ shares.T
    np.fill_diagonal(counts, 0)
    return np.asarray(counts)


products = st.integers(0, COUNT + 3)
changes = st.lists(st.tuples(st.booleans(), products), max_size=12)


def apply(shop: ToyShop, is_deleted: bool, product: int) -> ToyShop:
    return shop.without(product) if is_deleted and len(shop.positions) > 2 else shop.changed(product)


@settings(max_examples=60)
@given(changes, st.lists(st.integers(0, 100), min_size=1, max_size=5))
def test_counts_are_those_of_a_refresh_with_the_same_products(
    history: list[tuple[bool, int]], numbers: list[int]
) -> None:
    shop = ToyShop()
    counts = RevisedCounts.as_published(published(), shop.as_overlay)
    for is_deleted, product in history:
        shop = apply(shop, is_deleted, product)
        counts = counts.revised(shop.as_overlay, shop.index)
    alive = sorted(shop.positions.values())
    recent = np.array([alive[number % len(alive)] for number in numbers])
    weights = counts.weights.recency(recent.size)
    right, found = expected(shop), counts.candidates(recent, weights)
    sums = np.zeros(len(shop), np.float32)
    sums[found.positions] = found.sums
    assert found.positions.tolist() == sorted({*found.positions.tolist()} & {*alive})
    np.testing.assert_allclose(sums, weights @ right[recent], atol=1e-5)
    seen = {position: SEEN[product] if product < COUNT else 0 for product, position in shop.positions.items()}
    assert found.seen.tolist() == [seen[position] for position in found.positions.tolist()]
    for position in alive:
        parts, bin_ = counts.parts(recent, weights, position)
        np.testing.assert_allclose(parts, weights * right[recent, position], atol=1e-5)
        assert bin_ == seen[position]


class TestCost:
    @pytest.fixture
    def searched(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """How many new products stand-ins were searched for, of each revision that needed some."""
        counts: list[int] = []

        def counted(index: VectorIndex, vectors: np.ndarray, known: Selection) -> tuple[np.ndarray, np.ndarray]:
            counts.append(len(vectors))
            return nearest_known(index, vectors, known)

        monkeypatch.setattr(stand_in_search, "nearest_known", counted)
        return counts

    def revised(self, counts: RevisedCounts, shop: ToyShop) -> RevisedCounts:
        return counts.revised(shop.as_overlay, shop.index)

    def test_stand_ins_are_searched_for_once(self, searched: list[int]) -> None:
        shop = ToyShop()
        counts = RevisedCounts.as_published(published(), shop.as_overlay)
        for product in (20, 21, 22):
            shop = shop.changed(product)
            counts = self.revised(counts, shop)
        shop = shop.without(22)
        counts = self.revised(counts, shop)
        assert searched == [1, 1, 1]
        standing = {int(row) for row in counts.stand_ins.rows[0]}
        self.revised(counts, shop.without(next(iter(standing))))
        assert searched[3] >= 1, "one of its stand-ins is gone"

    def test_of_very_many_new_products_the_last_have_counts(
        self, searched: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stand_in_search, "_MAX_SEARCHED", 3)
        shop = ToyShop()
        counts = RevisedCounts.as_published(published(), shop.as_overlay)
        for product in range(20, 26):
            shop = shop.changed(product)
        counts = self.revised(counts, shop)
        assert searched == [3]
        assert [bool((rows >= 0).any()) for rows in counts.stand_ins.rows] == [False] * 3 + [True] * 3

    def test_one_query_scores_no_more_new_products_than_a_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stand_ins, "_MAX_FOLLOWERS", 4)
        shop = ToyShop()
        for product in range(20, 40):
            shop = shop.changed(product)
        counts = self.revised(RevisedCounts.as_published(published(), shop.as_overlay), shop)
        found = counts.candidates(np.array([1, 2, 3]), counts.weights.recency(3))
        assert np.count_nonzero(found.positions >= COUNT) <= 4
