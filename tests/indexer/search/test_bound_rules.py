"""Rules over the products of a version: compiled once, remembered by their value, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.index.selection import Selection
from indexer.search import bound_rules
from indexer.search.bound_rules import BoundRules, RulesCache
from indexer.search.ranking import Rules
from ubm_embed.errors import InvalidData

COUNT = 12
VECTORS = np.eye(COUNT, 4, dtype=np.float32)


def vectors(positions: np.ndarray) -> np.ndarray:
    return VECTORS[positions]


class CountingCatalogue(MappedCatalogue):
    """Notes what it is asked."""

    asked: list[str]

    def find(self, product_ids: Iterable[str]) -> Mapping[str, int]:
        names = list(product_ids)
        self.asked += ["find"] if names else []
        return super().find(names)

    def where(self, condition: str) -> Selection:
        self.asked.append("where")
        return super().where(condition)

    def codes(self, column: str) -> np.ndarray:
        self.asked.append("codes")
        return super().codes(column)


@pytest.fixture
def catalogue() -> CountingCatalogue:
    """Products p0 to p11 of the brands b0, b1, b2 in turn, every fourth without one, at a price of their number."""
    columns: dict[str, Sequence[Any]] = {
        "product_id": [f"p{row}" for row in range(COUNT)],
        "brand": [None if row % 4 == 3 else f"b{row % 3}" for row in range(COUNT)],
        "price": range(COUNT),
        "popularity": range(COUNT),
    }
    made = CountingCatalogue.from_table(pa.table(columns))
    made.asked = []
    return made


def test_rules_say_which_products_may_match(catalogue: CountingCatalogue) -> None:
    rules = Rules(where="price < 8", exclude=frozenset({"p1", "x"}), boost={"p5": 0.5, "p2": -0.5, "p9": 1, "y": 1})
    bound = BoundRules.bind(rules, catalogue, vectors)
    assert bound.allowed is not None
    assert bound.searched is not None
    assert bound.allowed.positions.tolist() == [0, 2, 3, 4, 5, 6, 7]
    assert bound.searched.positions.tolist() == [0, 3, 4, 6, 7]
    assert bound.boosts.positions.tolist() == [2, 5]
    assert bound.boosts.scores.tolist() == [-0.5, 0.5]
    assert bound.boosted(VECTORS[2]).scores.tolist() == [0.5, 0.5], "1 - 0.5 and 0 + 0.5"
    assert bound.max_matches == 7


def test_rules_that_say_nothing_select_nothing(catalogue: CountingCatalogue) -> None:
    bound = BoundRules.bind(Rules(exclude=frozenset({"x"}), boost={"y": 1.0}), catalogue, vectors)
    assert (bound.allowed, bound.searched, bound.caps, bound.max_matches) == (None, None, (), COUNT)


@pytest.mark.parametrize(("where", "most"), [(None, 3 + 3), ("price < 6", 3 + 1), ("price = 3", 1), ("price < 0", 0)])
def test_caps_say_how_many_may_match(catalogue: CountingCatalogue, where: str | None, most: int) -> None:
    bound = BoundRules.bind(Rules(where=where, max_per={"brand": 1}), catalogue, vectors)
    assert bound.max_matches == most
    both = BoundRules.bind(Rules(where=where, max_per={"price": 10**9, "brand": 1}), catalogue, vectors)
    assert both.max_matches == most


def test_an_unknown_column_is_named(catalogue: CountingCatalogue) -> None:
    with pytest.raises(
        InvalidData, match=r"'max_per.colour': no such column; there is: product_id, brand, price, popularity"
    ):
        BoundRules.bind(Rules(max_per={"colour": 1}), catalogue, vectors)


class TestCache:
    def test_equal_rules_are_compiled_once(self, catalogue: CountingCatalogue) -> None:
        cache = RulesCache(catalogue, vectors)

        def rules(**values: Any) -> Rules:
            ids = frozenset({"p1", "p2"})
            return Rules(where="price < 8", exclude=ids, boost={"p5": 0.5}, max_per={"brand": 1}, **values)

        first = cache.bind(rules())
        assert catalogue.asked == ["where", "find", "find", "codes"]
        assert cache.bind(rules()) is first
        assert cache.bind(rules(diversity=0.5, exclude_seen=False)) is first, "neither is of the products"
        assert catalogue.asked == ["where", "find", "find", "codes"]

    @pytest.mark.parametrize(
        "other",
        [
            Rules(where="price < 7"),
            Rules(exclude=frozenset({"p2"})),
            Rules(boost={"p1": 0.2}),
            Rules(max_per={"brand": 2}),
            Rules(max_per={"price": 1}),
        ],
    )
    def test_other_rules_are_not(self, catalogue: CountingCatalogue, other: Rules) -> None:
        cache = RulesCache(catalogue, vectors)
        for rules in (
            Rules(),
            Rules(where="price < 8"),
            Rules(exclude=frozenset({"p1"})),
            Rules(boost={"p1": 0.1}),
            Rules(max_per={"brand": 1}),
        ):
            assert cache.bind(other) is not cache.bind(rules)

    def test_it_is_bounded_in_bytes(self, catalogue: CountingCatalogue) -> None:
        cache = RulesCache(catalogue, vectors, max_bytes=20_000)
        bound = [cache.bind(Rules(where=f"price < {price}")) for price in range(8)]
        assert cache.bind(Rules(where="price < 7")) is bound[7]
        assert cache.bind(Rules(where="price < 0")) is not bound[0], "the oldest had to go"
        many = Rules(exclude=frozenset(map(str, range(1_000))))
        assert cache.bind(many) is not cache.bind(many), "larger than all of the cache"
        assert cache.bind(Rules(where="price < 7")) is bound[7]

    def test_rules_in_use_are_bound_to_the_next_revision(
        self, catalogue: CountingCatalogue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = iter(range(100, 1000))
        monkeypatch.setattr(bound_rules, "time", SimpleNamespace(monotonic=lambda: float(next(now))))
        rules = [Rules(where=f"price < {price}") for price in range(3)]
        caches = [RulesCache(catalogue, vectors) for _ in range(4)]
        for one in (rules[2], rules[0], rules[1], rules[2]):
            caches[0].bind(one)
        caches[1].bind_recent(caches[0], 60)
        assert all(one in caches[1] for one in rules)
        caches[2].bind_recent(caches[1], 3)  # there is time for one
        assert [one in caches[2] for one in rules] == [False, False, True], "the one used last"
        for _ in range(60):
            next(now)
        caches[3].bind_recent(caches[1], 60)
        assert not any(one in caches[3] for one in rules), "no request used them lately"

    def test_what_is_visible_is_not_counted_for_each_of_the_rules(
        self, catalogue: CountingCatalogue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        visible = Selection(np.ones(COUNT, bool))
        monkeypatch.setattr(CountingCatalogue, "visible", visible)
        capped = BoundRules.bind(Rules(max_per={"brand": 1}), catalogue, vectors)
        assert capped.nbytes_beside(visible) == capped.caps[0].codes.nbytes
        filtered = BoundRules.bind(Rules(where="price < 3"), catalogue, vectors)
        assert filtered.allowed is filtered.searched
        assert filtered.nbytes_beside(visible) == catalogue.where("price < 3").nbytes, "both are one selection"
