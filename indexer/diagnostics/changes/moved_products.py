"""Products that moved most, with their old and new neighbours in words.

Letters: B products, N of a sample of the products of both versions, K neighbours, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from indexer.diagnostics.changes.common_products import CommonProducts
from indexer.diagnostics.report import Table
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import VersionSpace, title_of
from indexer.refresh.version_shift import NEAREST, VersionShift, rows_of
from ubm_embed.data.arrays import FloatArray, IntArray

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
    vectors_before, vectors_after = products.vectors()
    old = _neighbours(products.before, products.rows_before, vectors_before)
    new = _neighbours(products.after, products.rows_after, vectors_after)
    old_ids, new_ids = (_ids(space, rows) for space, rows in ((products.before, old), (products.after, new)))
    rows = [
        (
            _in_words(products.after, [row])[0],
            move,
            len({*before} & {*after}),
            "; ".join(_in_words(products.before, old_rows[:_IN_WORDS])),
            "; ".join(_in_words(products.after, new_rows[:_IN_WORDS])),
        )
        for row, move, before, after, old_rows, new_rows in zip(
            products.rows_after.tolist(), moves, old_ids, new_ids, old, new, strict=True
        )
    ]
    caption = (
        f"Products that moved most, how many of their {NEAREST} nearest they kept, and the first {_IN_WORDS} of those."
    )
    columns = ("product", "moved by", "nearest kept", products.before.name, products.after.name)
    return Table("moved", caption, columns, rows)


def _neighbours(space: VersionSpace, rows: IntArray, vectors: FloatArray) -> list[list[int]]:
    """The nearest of each product as the version's index finds them, without itself: B lists of at most K."""
    found = space.opened.index.search(vectors, NEAREST + 1).positions
    return [
        [position for position in positions if position not in (row, -1)][:NEAREST]
        for row, positions in zip(rows.tolist(), found.tolist(), strict=True)
    ]


def _ids(space: VersionSpace, lists: Sequence[list[int]]) -> list[list[str]]:
    return [space.product_ids[rows].to_list() for rows in lists]


def _in_words(space: VersionSpace, rows: Sequence[int]) -> list[Any]:
    return [title_of(product) for product in space.products(np.array(rows, np.int64))]
