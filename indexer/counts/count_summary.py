"""What the counts of a version were counted from, as its manifest says it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ubm_embed.validation import FrozenModel

_Number = Annotated[int, Field(ge=0)]


class CountSummary(FrozenModel):
    """What was counted.

    Attributes:
        interactions: with products, less what was taken back out of the cart.
        sessions: that they were in.
        products: of the version that have counts of their own.
        spread: of the version that have those of their nearest.
        pairs: entries of the table.
        counted: when, UTC, ISO 8601. A refresh without interactions takes over what an earlier one counted.
        digest: of what was counted, by which a refresh sees whether it is the same; None where software did not say.
    """

    interactions: _Number
    sessions: _Number
    products: _Number
    spread: _Number
    pairs: _Number
    counted: str
    digest: str | None = None
