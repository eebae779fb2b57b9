"""A diagnosis as one PNG for each chart."""

from __future__ import annotations

from pathlib import Path

from indexer.diagnostics.report import Diagnosis
from ubm_embed.inference.runtimes.optional_library import load_library
from ubm_embed.outputs import output_file
from ubm_embed.progress import Progress, silent

_POINTS = 5_000  # of a chart
_SCALE = 2  # pixels a point, for print


def write_pngs(diagnosis: Diagnosis, folder: Path, progress: Progress = silent) -> list[Path]:
    """Write NAME.png for each chart, each aside and renamed, black on white. Charts without rows have no picture.

    Raises:
        NotFound: Altair or vl-convert is not installed.
        Conflict: a file is in the way.
    """
    vl_convert = load_library("vl_convert", extra="diagnose")
    load_library("altair", extra="diagnose")
    from indexer.diagnostics.pictures.charts import picture

    charts, files = [*diagnosis.charts()], []
    for number, chart in enumerate(charts, 1):
        spec = picture(chart, _POINTS)
        if spec is not None:
            file = folder / f"{chart.name}.png"
            with output_file(file) as aside:
                aside.write_bytes(vl_convert.vegalite_to_png(spec, scale=_SCALE, allowed_base_urls=[]))
            files.append(file)
        progress("drawing pictures", number, len(charts))
    return files
