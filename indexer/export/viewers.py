"""A version's products for tools in which people walk through a space."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from indexer.export.embedding_atlas import MAX_NEIGHBOUR_ROWS, write_embedding_atlas
from indexer.export.formats import ExportFormat
from indexer.export.manifest import write_manifest
from indexer.export.projector import MAX_ROWS, write_projector
from indexer.export.sampled_rows import SampledRows
from indexer.revisions.revised_version import open_revised_rows
from indexer.store.embedding_store import EmbeddingStore
from ubm_embed.errors import InvalidData
from ubm_embed.outputs import output_file, output_folder, require_free
from ubm_embed.progress import Progress, silent

# As many as each tool shows well: the projector's t-SNE reads 10,000 points, and the neighbours of 50,000 take half a
# minute.
DEFAULT_SAMPLE = {ExportFormat.EMBEDDING_ATLAS: 50_000, ExportFormat.PROJECTOR: 10_000}


@dataclass(frozen=True)
class ViewerExport:
    """What was written.

    Attributes:
        label: of the version with its revision, such as `3.17`.
        products: how many.
        of: products of the version.
        command: what to type to look at them.
        notes: what to know about it, sentences without a full stop.
    """

    label: str
    products: int
    of: int
    command: str
    notes: tuple[str, ...] = ()


def export_to_viewer(
    store: str | Path,
    out: str | Path,
    to: ExportFormat,
    *,
    version: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = silent,
) -> ViewerExport:
    """Write products of a version and its last revision with their vectors and columns, all or nothing, in bounded
    memory.

    Args:
        out: a file for Embedding Atlas, a folder for the projector.
        to: a viewer's format.
        version: its number; None is the live one.
        sample: at most this many products, drawn at random; None is `DEFAULT_SAMPLE`.
        seed: of the drawing.

    Raises:
        NotFound: no such store or version.
        InvalidData: the table is damaged; or the sample is larger than the viewer shows.
        Conflict: `out` is taken and `overwrite` is false; or it is a folder and must be a file, or the reverse.
        ValueError: the format is not a viewer's.
    """
    if not to.is_viewer:
        raise ValueError(f"{to} is not for a viewer")
    count = DEFAULT_SAMPLE[to] if sample is None else sample
    _require_sample(to, count)
    require_free(out, overwrite=overwrite)
    rows = SampledRows.draw(open_revised_rows(EmbeddingStore.open(store), version), count, seed)
    if to is ExportFormat.EMBEDDING_ATLAS:
        return _export_atlas(rows, Path(out), progress)
    with output_folder(out, overwrite=overwrite) as aside:
        write_projector(rows, aside, progress)
        write_manifest(rows.live.revised, len(rows.live), aside)
    return _exported(rows, shlex.join(["tensorboard", "--logdir", str(out)]))


def _require_sample(to: ExportFormat, count: int) -> None:
    if count < 1:
        raise InvalidData(f"expected at least 1, got {count}", field="sample")
    if to is ExportFormat.PROJECTOR and count > MAX_ROWS:
        raise InvalidData(f"expected at most {MAX_ROWS:,}, all that the projector shows, got {count:,}", field="sample")


def _export_atlas(rows: SampledRows, out: Path, progress: Progress) -> ViewerExport:
    with output_file(out) as aside:
        columns, explained = write_embedding_atlas(rows, aside, progress)
    notes = [f"its plane explains {explained:.0%} of the variance (PCA)"]
    if not columns.with_neighbours:
        notes.append(f"more than {MAX_NEIGHBOUR_ROWS:,} products: without their neighbours")
    return _exported(rows, columns.command(out), tuple(notes))


def _exported(rows: SampledRows, command: str, notes: tuple[str, ...] = ()) -> ViewerExport:
    return ViewerExport(rows.live.revised.label, len(rows), len(rows.live), command, notes)
