"""Products that moved most, with their old and new neighbours in words.

Letters: B products, N of a sample of the products of both versions, K neighbours, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from indexer.diagnostics.changes.common_products import CommonProducts
from indexer.diagnostics.report import Table
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import VersionSpace, title_of
from indexer.refresh.version_shift import NEAREST, VersionShift, rows_of
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.wording import visible

_SHOWN, _IN_WORDS = 10, 3
# Two runtimes of one model, or two sizes of a batch, put a vector this far apart at most: that is no move.
_ROUNDING = 0.01


def furthest_moved(common: CommonProducts, changed: pl.Series, settings: DiagnosisSettings) -> list[Table]:
    """Those whose vectors moved furthest, of a sample and of those with a new text: a table, if any moved.

    Args:
        common: the products of both versions, whose vectors one model made.
        changed: ids of products with another text.
    """
    drawn = changed[np.random.default_rng([settings.seed, 8]).permutation(changed.len())[: settings.sample]]
    rows = rows_of(common.after.product_ids, drawn)
    candidates = common.take(
        np.union1d(np.searchsorted(common.rows_after, rows), common.draw(settings.sample, settings.seed))
    )
    before, after = candidates.vectors()
    moves = np.linalg.norm(after - before, axis=1)
    order = np.argsort(-moves, kind="stable")[:_SHOWN]
    order = order[moves[order] > _ROUNDING]
    if not order.size:
        return []
    return [_table(candidates.take(order), [round(float(move), 3) for move in moves[order]])]


def most_neighbours_lost(common: CommonProducts, shift: VersionShift) -> list[Table]:
    """Those that kept the fewest neighbours, of the products that the shift was measured on: a table, if any lost some.

    For versions of two models, whose vectors cannot be compared.
    """
    lost = (shift.present - shift.kept) / np.maximum(shift.present, 1)
    order = np.argsort(-lost, kind="stable")[:_SHOWN]
    order = order[lost[order] > 0]
    if not order.size:
        return []
    chosen = np.searchsorted(common.rows_after, shift.rows[order])
    return [_table(common.take(chosen), [None] * order.size)]


def _table(products: CommonProducts, moves: Sequence[float | None]) -> Table:
    before, after = products.before, products.after
    vectors_before, vectors_after = products.vectors()
    old = _neighbours(before, products.rows_before, vectors_before)
    new = _neighbours(after, products.rows_after, vectors_after)
    titles = _titles(after, products.rows_after)
    rows = [
        (title, move, len({*one.ids} & {*other.ids}), "; ".join(one.titles), "; ".join(other.titles))
        for title, move, one, other in zip(titles, moves, old, new, strict=True)
    ]
    caption = f"Products that moved most, how many of their {NEAREST} nearest they kept, and the nearest {_IN_WORDS}."
    return Table("moved", caption, ("product", "moved by", "nearest kept", before.name, after.name), rows)


class _Neighbours(NamedTuple):
    """The nearest of a product, best first: the ids of ten, the titles of three."""

    ids: list[str]
    titles: list[str]


def _neighbours(space: VersionSpace, rows: IntArray, vectors: FloatArray) -> list[_Neighbours]:
    """The nearest of each product as the version's index finds them, without itself: [B]."""
    nearest = space.opened.index.search(vectors, NEAREST + 1).positions
    neighbours = []
    for row, positions in zip(rows, nearest, strict=True):
        others = positions[positions != row][:NEAREST]
        neighbours.append(_Neighbours(space.product_ids[others].to_list(), _titles(space, others[:_IN_WORDS])))
    return neighbours


def _titles(space: VersionSpace, rows: IntArray) -> list[str]:
    return [visible(title_of(product)) for product in space.products(rows)]
