"""Removals from the cart, where a log has too few of them to learn from: they take back the add before them."""

from __future__ import annotations

import polars as pl

from ubm_embed.data.logs.event_table import NO_ADD
from ubm_embed.data.logs.report import Tally
from ubm_embed.data.removals import taken_back
from ubm_embed.data.session import Action

_SWAPPED = {str(Action.ADD): str(Action.REMOVE), str(Action.REMOVE): str(Action.ADD)}


def take_back(events: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    """The events without removals and the adds that they take back; both are counted.

    Args:
        events: of whole sessions, in order.
    """
    gone = taken_back(events)
    if not gone.any():
        return events
    # Backwards, each add that is taken back takes back its removal; what is left of the removals had no add.
    backwards = events.reverse().with_columns(pl.col("action").replace(_SWAPPED))
    alone = (events["action"] == str(Action.REMOVE)) & ~taken_back(backwards).reverse()
    tally.drop(NO_ADD, events["order"].filter(alone))
    tally.taken_back += int((gone & ~alone).sum())
    return events.filter(~gone)
