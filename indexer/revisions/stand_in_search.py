"""Finding the stand-ins of new products, when a revision is taken up.

Letters: M products of the version, N new products, K stand-ins of each, C products that moved, R rows, P positions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from indexer.counts.nearest_known import nearest_known
from indexer.index.selection import Selection
from indexer.index.vector_index import VectorIndex
from indexer.revisions.layer import NOWHERE
from indexer.revisions.overlay import Overlay
from indexer.revisions.stand_ins import StandIns
from ubm_embed.counts.propagation import NEAREST
from ubm_embed.data.arrays import BoolArray, IntArray

# New products whose stand-ins are searched for at once, the latest; others have no counts until the next refresh.
_MAX_SEARCHED = 10_000
# Products that moved, times new products: more of these are not compared, but all stand-ins are searched for.
_MAX_COMPARED = 4_000_000
# Of cosines that are computed in another order.
_NOISE = 1e-5


def find_stand_ins(
    seen: NDArray[np.uint8], overlay: Overlay, index: VectorIndex, before: tuple[Overlay, StandIns]
) -> StandIns:
    """The stand-ins of the new products of a revision.

    Args:
        seen: how often each product of the version was seen: [M].
        overlay, index: of the revision.
        before: an earlier overlay, and its stand-ins; those that are still the nearest are taken.
    """
    new = _new_products(overlay)
    if not new.size:
        return StandIns.none()
    rows, cosines = np.full((new.size, NEAREST), NOWHERE), np.zeros((new.size, NEAREST), np.float32)
    known = before[1] if overlay.continues(before[0]) else StandIns.none()
    numbers = known.find(new)
    kept = np.flatnonzero(numbers >= 0)
    if kept.size:
        kept = kept[_are_nearest(known, numbers[kept], seen, overlay, index, before[0])]
        rows[kept], cosines[kept] = known.rows[numbers[kept]], known.cosines[numbers[kept]]
    others = np.delete(np.arange(new.size), kept)[-_MAX_SEARCHED:]
    selection = _seen_products(seen, overlay)
    if others.size and selection.count:
        positions, found = nearest_known(index, index.vectors(new[others]), selection)
        width = positions.shape[1]
        rows[others, :width] = _rows_of(overlay, positions)
        cosines[others, :width] = found
    return StandIns(new, rows, cosines)


def _new_products(overlay: Overlay) -> NDArray[np.int64]:
    """Positions of the products that the version lacks, ascending: [N]."""
    is_new = overlay.appended_bases == NOWHERE
    if overlay.visible is not None:
        is_new &= overlay.visible.mask[overlay.base_count :]
    return np.flatnonzero(is_new) + overlay.base_count


def _seen_products(seen: NDArray[np.uint8], overlay: Overlay) -> Selection:
    """The products that may stand in."""
    mask = np.zeros(len(overlay), bool)
    mask[: overlay.base_count] = seen > 0
    bases = overlay.appended_bases
    mask[overlay.base_count :] = (bases != NOWHERE) & (seen[bases] > 0)
    return Selection(mask if overlay.visible is None else mask & overlay.visible.mask)


def _rows_of(overlay: Overlay, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the version has the products at these positions: [P]."""
    rows, appended = positions.copy(), positions >= overlay.base_count
    rows[appended] = overlay.appended_bases[positions[appended] - overlay.base_count]
    return rows


def _are_nearest(
    known: StandIns,
    numbers: IntArray,
    seen: NDArray[np.uint8],
    overlay: Overlay,
    index: VectorIndex,
    before: Overlay,
) -> BoolArray:
    """Whether the stand-ins of some new products are still there, and nothing that moved is nearer: [N]."""
    moved = np.union1d(before.dead_of_base, overlay.dead_of_base)
    moved = moved[before.current(moved) != overlay.current(moved)]
    if not moved.size:
        return np.ones(numbers.size, bool)
    if moved.size * numbers.size > _MAX_COMPARED:
        return np.zeros(numbers.size, bool)
    are_there = np.asarray(~np.isin(known.rows[numbers], moved).any(axis=1))
    now = overlay.current(moved)
    arrived = now[(now != NOWHERE) & (seen[moved] > 0)]
    if not arrived.size:
        return are_there
    cosines = index.vectors(known.positions[numbers]) @ index.vectors(arrived).T
    farthest = known.cosines[numbers].min(axis=1)
    are_there &= cosines.max(axis=1) < farthest - _NOISE
    return are_there
