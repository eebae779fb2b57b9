"""Removals from the cart: which earlier adds they take back, and when a corpus has them often enough to learn from.

A removal takes back the latest add of its product that no removal has taken back yet; one without such an add takes
nothing back. The order of everything else is kept.

Letters: K adds and removals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ubm_embed.data.arrays import BoolArray, IntArray
from ubm_embed.data.session import Action, Interaction, Product

if TYPE_CHECKING:
    import polars as pl

# Of rarer removals a model would learn a token that says little: their sessions are read by taking the adds back.
MIN_REMOVALS = 1_000
MIN_REMOVAL_RATE = 0.01


def frequent_removals(interactions: pl.DataFrame) -> bool:
    """Whether interactions hold removals often enough for a tokenizer to have a token for them."""
    return are_frequent(int((interactions["action"] == str(Action.REMOVE)).sum()), interactions.height)


def are_frequent(removals: int, interactions: int) -> bool:
    """Whether this many removals among all `interactions` (themselves included) are enough to learn a token from."""
    return removals >= max(MIN_REMOVALS, MIN_REMOVAL_RATE * interactions)


def take_back(interactions: Sequence[Interaction]) -> tuple[Interaction, ...]:
    """A session's interactions without its removals and the adds that they take back."""
    if Action.REMOVE not in [interaction.action for interaction in interactions]:
        return tuple(interactions)
    return tuple(interactions[position] for position in positions_left(interactions))


def positions_left(interactions: Sequence[Interaction]) -> list[int]:
    """Indices of what `take_back` leaves."""
    adds: dict[str | Product | None, list[int]] = {}
    left: dict[int, None] = {}
    for position, interaction in enumerate(interactions):
        if interaction.action is not Action.REMOVE:
            left[position] = None
        if interaction.action is Action.ADD:
            adds.setdefault(product_key(interaction), []).append(position)
        elif interaction.action is Action.REMOVE and adds.get(product_key(interaction)):
            del left[adds[product_key(interaction)].pop()]
    return list(left)


def product_key(interaction: Interaction) -> str | Product | None:
    """What tells its product from others: the id, or all of a product that was given without one."""
    product = interaction.product
    if product is None:
        return interaction.product_id
    return product if product.product_id is None else product.product_id


def taken_back(interactions: pl.DataFrame) -> pl.Series:
    """Which interactions are removals, or adds that they take back: Boolean, one for each row.

    Args:
        interactions: session_id, action and product_id, each session's in their order.
    """
    import polars as pl

    action = interactions["action"]
    removes = action == str(Action.REMOVE)
    if not removes.any():
        return removes
    steps = interactions.select("session_id", "product_id", removes=removes).with_row_index("row")
    steps = steps.filter(removes | (action == str(Action.ADD)))
    group = pl.col("row").min().over("session_id", "product_id")
    mask = np.zeros(interactions.height, dtype=bool)
    rows, groups = steps["row"].to_numpy(), steps.select(group).to_series().to_numpy()
    mask[rows] = taken_back_steps(groups.astype(np.int64), steps["removes"].to_numpy())
    return pl.Series(mask)


def taken_back_steps(groups: IntArray, removes: BoolArray) -> BoolArray:
    """Of adds and removals in order, which are removals, or adds that these take back: [K].

    Args:
        groups: [K] a number for each product of each session.
        removes: [K] whether it is a removal.
    """
    if not removes.any():
        return np.zeros(removes.size, dtype=bool)
    order = np.argsort(groups, kind="stable")
    in_cart = _number_in_cart(groups[order], removes[order])
    # The n-th piece of a product in the cart is added and removed in turn: an add is taken back by what comes next.
    pieces = np.where(removes[order], in_cart + 1, in_cart)
    matched = np.flatnonzero(pieces > 0)
    by_piece = matched[np.lexsort((matched, pieces[matched], groups[order][matched]))]
    group, piece = groups[order][by_piece], pieces[by_piece]
    followed = np.zeros(by_piece.size, dtype=bool)
    followed[:-1] = (group[1:] == group[:-1]) & (piece[1:] == piece[:-1])
    mask = removes.copy()
    mask[order[by_piece[followed]]] = True
    return mask


def _number_in_cart(groups: IntArray, removes: BoolArray) -> IntArray:
    """How many pieces of its product are in the cart after each step: [K]; -1 for a removal from a cart without it.

    Args:
        groups: [K] ascending.
    """
    begins = np.append(True, groups[1:] != groups[:-1])
    number = np.cumsum(begins) - 1
    total = np.cumsum(np.where(removes, -1, 1))
    balance = total - (total[begins] - np.where(removes[begins], -1, 1))[number]
    # Each group is shifted below all earlier ones, so that one running minimum serves all of them.
    shift = number * (2 * groups.size + 1)
    lowest = np.minimum(np.minimum.accumulate(balance - shift) + shift, 0)
    before = np.append(0, lowest[:-1])
    before[begins] = 0
    return np.where(balance < before, -1, balance - lowest)
