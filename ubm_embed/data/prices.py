"""Prices from the texts that shops write: `$1,299.00`, `1.299,00 EUR`, `1 299,00 kr`, `1'299.-`, `19,90`.

Of a point and a comma the later one begins the fraction. One alone is read as follows: a comma before three digits
groups thousands (`1,299` is 1299, `19,90` is 19.9); a point begins the fraction, since programs write numbers so
(`1.299` is 1.299), except before three digits beside a currency (`1.299 €` is 1299).
"""

from __future__ import annotations

import polars as pl

from ubm_embed.data.ids import BLANKS

MAX_PRICE = 1e12  # more is an id or a timestamp in the wrong column

# A sign, an abbreviation of up to three letters (`kr.`, `EUR`), or both (`US$`).
_CURRENCY = r"(?:\p{L}{0,3}\p{Sc}\p{L}{0,3}|\p{L}{1,3}\.?|(?i:euro))"
# What stands for an empty fraction: `12.-`.
_NO_FRACTION = r"(?:[.,][-–—]{1,2})?"
_PRICE = rf"^(?:{_CURRENCY}\s*)?([0-9.,][0-9.,\s'’]*?){_NO_FRACTION}(?:\s*{_CURRENCY})?$"

# How digits may be grouped, with what must go so that a number is left; a comma that stays is the point.
_WHOLE = r"^[0-9]+$"
_POINT = r"^[0-9]*\.[0-9]+$"
_COMMA = r"^[0-9]*,[0-9]+$"
_ONE_GROUP_BY_POINT = r"^[1-9][0-9]{0,2}\.[0-9]{3}$"
_BY_POINTS = r"^[1-9][0-9]{0,2}(?:\.[0-9]{3})+,[0-9]+$|^[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,}$"
# Groups of two are the Indian way: 1,29,900.
_BY_COMMAS = r"^[1-9][0-9]{0,2}(?:,[0-9]{2,3})*,[0-9]{3}(?:\.[0-9]+)?$"
_BY_BLANKS = r"^[1-9][0-9]{0,2}(?:[\s'’][0-9]{3})+(?:[.,][0-9]+)?$"
_PLAIN = r"^[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"


def is_plain_price(text: pl.Expr) -> pl.Expr:
    """Whether a text is a number as programs write it, which a cast reads as `parse_prices` does; null stays null."""
    return text.str.contains(_PLAIN)


def parse_prices(text: pl.Expr) -> pl.Expr:
    """The prices in a column of text as float64; null for what is no price, is negative or above `MAX_PRICE`."""
    stripped = text.str.strip_chars(BLANKS)
    amount = stripped.str.extract(_PRICE, 1).str.strip_chars(BLANKS)
    bare = amount == stripped
    number = (
        pl.when(is_plain_price(stripped))
        .then(stripped)
        .when(amount.str.contains(_BY_COMMAS))
        .then(amount.str.replace_all(",", "", literal=True))
        .when(amount.str.contains(_BY_POINTS) | (~bare & amount.str.contains(_ONE_GROUP_BY_POINT)))
        .then(amount.str.replace_all(".", "", literal=True))
        .when(amount.str.contains(_BY_BLANKS))
        .then(amount.str.replace_all(r"[\s'’]", ""))
        .when(amount.str.contains(rf"{_WHOLE}|{_POINT}|{_COMMA}"))
        .then(amount)
    )
    price = number.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    return pl.when(price.is_between(0, MAX_PRICE)).then(price)
