"""Texts of products as a shop's pages show them: entities decoded, without control characters and blanks around.

Marks that turn the direction of what follows (U+202E) are control characters too; the joiners of emoji and of Persian
words are not.
"""

from __future__ import annotations

import html
import html.entities
import re

import polars as pl

from ubm_embed.data.ids import BLANKS

_ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
_LINE_BREAKS = "[\t\n\x0b\f\r\x85\u2028\u2029]+"
_CONTROLS = "[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]"
CONTROLS = f"{_LINE_BREAKS}|{_CONTROLS}"  # a pattern of what `without_controls` changes
_ODD = f"{_ENTITY}|{CONTROLS}"
_MAX_ESCAPES = 8  # of one another; more of them are no text of a shop


def clean_texts(texts: pl.Series) -> pl.Series:
    """The texts decoded and stripped; null where nothing is left."""
    odd = texts.filter(texts.str.contains(_ODD)).unique()
    if not odd.is_empty():
        texts = texts.replace(odd, pl.Series(map(_clean, odd), dtype=pl.String))
    return texts.to_frame("text").select(filled(pl.col("text"))).to_series().alias(texts.name)


def without_controls(text: pl.Expr) -> pl.Expr:
    """The texts with a blank for line breaks and tabs, and without other control characters."""
    return text.str.replace_all(_LINE_BREAKS, " ").str.replace_all(_CONTROLS, "")


def filled(text: pl.Expr) -> pl.Expr:
    """The texts without blanks around them; null where nothing is left."""
    stripped = text.str.strip_chars(BLANKS)
    return pl.when(stripped != "").then(stripped)


def _clean(text: str) -> str:
    # Again until nothing changes, so that text which is read twice is the same: exports often escape what is escaped.
    for _ in range(_MAX_ESCAPES):
        decoded = re.sub(_ENTITY, _character, _without_controls(text))
        if decoded == text:
            break
        text = decoded
    return _without_controls(text)


def _without_controls(text: str) -> str:
    return re.sub(_CONTROLS, "", re.sub(_LINE_BREAKS, " ", text))


def _character(entity: re.Match[str]) -> str:
    """What an entity stands for. Whole ones only: `html.unescape` also reads a `&not` in "black &notebook;"."""
    if entity[0].startswith("&#"):
        return html.unescape(entity[0])
    return html.entities.html5.get(entity[0][1:], entity[0])
