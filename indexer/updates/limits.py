"""How much a revision may hold, from code or from the section [updates] of the file that `--config` names.

[updates]
max_share = 0.05
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Self

import pydantic
from pydantic import Field

from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.validation import FrozenModel, invalid_data, read_toml

SECTION = "updates"
REMEDY = "run: ubm-embed refresh --products FILE --store DIR"
_Count = Annotated[int, Field(ge=1)]


class LimitReached(Conflict):
    """An update that would make a revision too large; a smaller one may fit."""


class UpdateLimits(FrozenModel):
    """Bounds of a revision: what it changes is searched beside the index, and every reader holds it in memory.

    Attributes:
        max_share: of the version's products that a revision may change, deleted ones among them.
        min_products: as many may be changed in any store, however small.
        max_products: no more are changed in any store, however large.
        max_mb: size of the revision's segments, and of a file to read, in 10^6 bytes.

    Raises:
        ValueError: a value outside its range.
    """

    max_share: Annotated[float, Field(gt=0, le=1)] = 0.05
    min_products: _Count = 1000
    max_products: _Count = 100_000
    max_mb: _Count = 512

    @classmethod
    def read(cls, file: str | Path) -> Self:
        """The limits in a TOML file, whose other sections are those of a refresh; what is missing has its default.

        Raises:
            NotFound: no such file.
            InvalidData: names the file and the field: not TOML, an unknown field, or a value outside its range.
        """
        section = read_toml(file).get(SECTION, {})
        try:
            return cls.model_validate_json(json.dumps(section, default=str))
        except pydantic.ValidationError as error:
            fault = invalid_data(error, file=file, model=cls)
            field = ".".join(filter(None, (SECTION, fault.field)))
            raise InvalidData(fault.problem, file=file, field=field) from None

    @property
    def max_bytes(self) -> int:
        """`max_mb` in bytes."""
        return self.max_mb * 1_000_000

    def products(self, version_products: int) -> int:
        """The number of products that a revision may change in a version of this size."""
        return min(self.max_products, max(self.min_products, int(self.max_share * version_products)))

    def require_products(self, changed: int, version_products: int) -> None:
        """Raise `LimitReached` for a revision that would change too many products of a version."""
        limit = self.products(version_products)
        if changed > limit:
            problem = (
                f"the revision would change {changed:,} of {version_products:,} products, at most {limit:,} are allowed"
            )
            raise LimitReached(f"{problem}; nothing was changed; {REMEDY}")

    def require_rows(self, rows: int, version_products: int) -> None:
        """Raise `LimitReached` for an update with more rows than a revision may change, before they are compared."""
        limit = self.products(version_products)
        if rows > limit:
            raise LimitReached(f"more than {limit:,} products at once; nothing was changed; {REMEDY}")

    def require_bytes(self, size: int, what: str) -> None:
        """Raise `LimitReached` for a file, or for the segments of a revision, larger than `max_mb`.

        Args:
            what: it is, with its verb: `FILE has`.
        """
        if size > self.max_bytes:
            raise LimitReached(f"{what} {size / 1e6:,.0f} MB, at most {self.max_mb:,} are allowed; {REMEDY}")
