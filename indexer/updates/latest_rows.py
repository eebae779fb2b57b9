"""Rows by product id, of which the last one of each product counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

# Small frames are joined into one before there are more: a service adds thousands of one row each.
_MAX_FRAMES = 32


class LatestRows:
    """Rows of one schema with a column product_id. One thread at a time may use it."""

    def __init__(self) -> None:
        self._frames: list[pl.DataFrame] = []
        # The frame of each product's last row, and the row in it.
        self._at: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._at)

    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    def __contains__(self, product_id: str) -> bool:
        return product_id in self._at

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows, in order: a later one replaces that of the same product."""
        if rows.is_empty():
            return
        self._append(rows)
        if len(self._frames) > _MAX_FRAMES:
            latest = self.find(list(self._at))
            assert latest is not None
            self._frames, self._at = [], {}
            self._append(latest)

    def find(self, product_ids: Sequence[str]) -> pl.DataFrame | None:
        """The last rows of those of the products that have one; None if nothing was ever added."""
        if not self._frames:
            return None
        rows: dict[int, list[int]] = {0: []}
        for frame, row in filter(None, map(self._at.get, product_ids)):
            rows.setdefault(frame, []).append(row)
        return pl.concat([self._frames[frame][taken] for frame, taken in rows.items()])

    def _append(self, rows: pl.DataFrame) -> None:
        frame = len(self._frames)
        self._frames.append(rows)
        self._at.update((name, (frame, row)) for row, name in enumerate(rows["product_id"]))
