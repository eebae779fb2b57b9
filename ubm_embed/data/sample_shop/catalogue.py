"""The sample shop's products, made up from its types of product and its vocabulary.

A product is a few small numbers (type, brand, attribute values, line, price) until it is written as text, so that a
million of them take about 40 MB.

Letters: M products, T types of product, A = 3, the most attributes of a type.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, IntArray, offsets_of
from ubm_embed.data.sample_shop.product_types import TYPES
from ubm_embed.data.sample_shop.sampling import ListSampler
from ubm_embed.data.sample_shop.vocabulary import BRANDS, LINES, VALUES

ATTRIBUTES = 3
NOTHING = -1  # for an attribute that a type lacks

WORDS = [word for values in VALUES.values() for word in values]
NAMES = list(VALUES)
TYPE_PRICES: NDArray[np.float64] = np.array([kind.price for kind in TYPES])
BRAND_TIERS: NDArray[np.float64] = np.array([brand.tier for brand in BRANDS])
# [T, A] indices in `NAMES`
TYPE_NAMES: NDArray[np.int16] = np.array(
    [[*map(NAMES.index, kind.attributes), NOTHING][:ATTRIBUTES] for kind in TYPES], dtype=np.int16
)
BRANDS_OF_TYPE = ListSampler.from_lists(
    [[number for number, brand in enumerate(BRANDS) if kind.department in brand.departments] for kind in TYPES]
)
_FIRST_WORDS = offsets_of(np.array([len(values) for values in VALUES.values()]))
WORDS_OF_NAME = ListSampler.from_lists([range(first, last) for first, last in itertools.pairwise(_FIRST_WORDS)])

_TEXT = pa.string()
_ATTRIBUTE = pa.struct([("name", _TEXT), ("value", _TEXT)])


@dataclass(frozen=True)
class SampleCatalogue:
    """M products, oldest first.

    Attributes:
        types: [M] indices in `TYPES`.
        brands: [M] indices in `BRANDS`.
        values: [M, A] indices in `WORDS` or `NOTHING`; the first is the product's style, the second its detail.
        lines: [M] indices in `LINES`.
        numbers: [M] which product of its line.
        prices: [M].
        in_stock: [M].
        demand: [T] how much each type is wanted.
    """

    types: IntArray
    brands: IntArray
    values: IntArray
    lines: IntArray
    numbers: IntArray
    prices: NDArray[np.float64]
    in_stock: BoolArray
    demand: NDArray[np.float64]

    @classmethod
    def generate(cls, rng: np.random.Generator, products: int) -> SampleCatalogue:
        """A random catalogue of this many products, with more of the types in demand."""
        demand = _demand(rng)
        types = rng.choice(len(TYPES), size=products, p=_shares(demand)).astype(np.int16)
        brands = BRANDS_OF_TYPE.draw(rng, types).astype(np.int16)
        values = np.stack([draw_words(rng, types, attribute) for attribute in range(ATTRIBUTES)], axis=1)
        return cls(
            types=types,
            brands=brands,
            values=values,
            lines=rng.integers(len(LINES), size=products, dtype=np.int16),
            # More numbers in a larger shop keep titles nearly unique.
            numbers=rng.integers(1, 10 + products // 2000, size=products, dtype=np.int32),
            prices=_prices(rng, types, brands),
            in_stock=rng.random(products) < 0.93,
            demand=demand,
        )

    @property
    def size(self) -> int:
        """M."""
        return self.types.size

    @property
    def newest(self) -> int:
        """How many of the last products no session holds: 2%."""
        return self.size // 50

    def table(self, first: int, last: int) -> pa.Table:
        """Rows [first, last) of products.parquet."""
        rows = slice(first, last)
        return pa.table(
            {
                "product_id": product_ids(np.arange(first, last)),
                "title": self._titles(rows),
                "category": _looked_up([kind.category for kind in TYPES], self.types[rows]),
                "attributes": self._attributes(rows),
                "price": pa.array(self.prices[rows]),
                "in_stock": pa.array(self.in_stock[rows]),
            }
        )

    def _titles(self, rows: slice) -> Any:
        """Such as "Norvik Ridge 3 trail running shoes, blue mesh": every attribute value but the last."""
        types, values = self.types[rows], self.values[rows]
        detail = np.where(values[:, 2] == NOTHING, NOTHING, values[:, 1])
        return pc.binary_join_element_wise(
            _looked_up([brand.name for brand in BRANDS], self.brands[rows]),
            _looked_up(LINES, self.lines[rows]),
            pa.array(self.numbers[rows]).cast(_TEXT),
            _looked_up([f"{kind.name}," for kind in TYPES], types),
            _looked_up(WORDS, values[:, 0]),
            _looked_up(WORDS, detail),
            " ",
            null_handling="skip",
        )

    def _attributes(self, rows: slice) -> Any:
        """[{name, value}], the brand first."""
        brand = np.full(rows.stop - rows.start, len(NAMES))
        names = np.column_stack([brand, TYPE_NAMES[self.types[rows]]])
        values = np.column_stack([len(WORDS) + self.brands[rows], self.values[rows]])
        present = names != NOTHING
        pairs = [
            _looked_up([*NAMES, "brand"], names[present]),
            _looked_up([*WORDS, *(brand.name for brand in BRANDS)], values[present]),
        ]
        offsets = offsets_of(present.sum(axis=1)).astype(np.int32)
        return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(pairs, fields=list(_ATTRIBUTE)))


def draw_words(rng: np.random.Generator, types: IntArray, attribute: int) -> NDArray[np.int16]:
    """Random values of the types' 1st, 2nd or 3rd attribute (0, 1, 2): [...] types to [...] indices in `WORDS`."""
    names = TYPE_NAMES[types, attribute]
    drawn = WORDS_OF_NAME.draw(rng, np.maximum(names, 0))
    return np.where(names == NOTHING, NOTHING, drawn).astype(np.int16)


def product_ids(rows: IntArray) -> Any:
    """Product ids as an Arrow array; null for a row of `NOTHING`."""
    return numbered("p", pa.array(rows, mask=np.asarray(rows) == NOTHING))


def numbered(letter: str, numbers: Any) -> Any:
    """Names such as `p0000042`: an Arrow array of numbers to one of texts; null stays null."""
    return pc.binary_join_element_wise(letter, pc.utf8_lpad(numbers.cast(_TEXT), 7, "0"), "")


def _demand(rng: np.random.Generator) -> NDArray[np.float64]:
    """[T]: a few types dominate, as in most shops, rarely those that only complement others."""
    goes_with = np.array([not kind.complements for kind in TYPES])
    ranks = np.argsort(np.argsort(rng.random(len(TYPES)) + 0.7 * goes_with))
    demand: NDArray[np.float64] = 1.0 / (ranks.astype(np.float64) + 0.8)
    return demand


def _shares(demand: NDArray[np.float64]) -> NDArray[np.float64]:
    """[T] fraction of the catalogue of each type, by its demand and that of the types it complements."""
    names = [kind.name for kind in TYPES]
    shares = demand.copy()
    for kind, wanted in zip(TYPES, demand, strict=True):
        for name in kind.complements:
            shares[names.index(name)] += 0.2 * wanted / len(kind.complements)
    shares /= shares.sum()
    return shares


def _prices(rng: np.random.Generator, types: IntArray, brands: IntArray) -> NDArray[np.float64]:
    """[M]: the type's price times the brand's tier, with a log-normal std of a quarter, ending in .90."""
    spread = np.exp(rng.normal(0.0, 0.25, size=types.size))
    return np.round(np.ceil(TYPE_PRICES[types] * BRAND_TIERS[brands] * spread) - 0.1, 2)


def _looked_up(words: list[str] | tuple[str, ...], indices: IntArray) -> Any:
    """`words[indices]` as an Arrow array; `NOTHING` becomes null."""
    return pa.array(words, _TEXT).take(pa.array(indices, mask=indices == NOTHING))
