"""Conditions of a mapping under which a row is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from ubm_embed.data.mappings.column import Drop
from ubm_embed.data.mappings.paths import Location
from ubm_embed.data.mappings.values import text_of

_SHOWN = 3  # values in a reason that nobody wrote


def drop_reason(drops: Sequence[Drop], locations: Mapping[str, Location | None]) -> pl.Expr:
    """Why a row is left out, by the first condition that holds, or null."""
    reasons = [
        pl.when(_holds(drop, text_of(locations[drop.path], ", "))).then(pl.lit(drop.reason or _in_words(drop)))
        for drop in drops
    ]
    return pl.coalesce([*reasons, pl.lit(None, pl.String)])


def _holds(drop: Drop, text: pl.Expr) -> pl.Expr:
    filled = text.fill_null("")
    holds = filled.is_in(list(drop.is_in)) if drop.matches is None else filled.str.contains(drop.matches)
    return ~holds if drop.unless else holds


def _in_words(drop: Drop) -> str:
    if drop.matches is not None:
        return f"{drop.path} {'does not match' if drop.unless else 'matches'} {drop.matches[:60]}"
    more = f" and {len(drop.is_in) - _SHOWN} more" if len(drop.is_in) > _SHOWN else ""
    values = " or ".join(value or "empty" for value in drop.is_in[:_SHOWN])
    return f"{drop.path} is {'not ' if drop.unless else ''}{values}{more}"
