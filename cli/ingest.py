"""`ubm-embed ingest`: from an event log to a corpus folder."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import progress, say, write_table
from cli.mapping_guess import guess_mapping
from ubm_embed.data.logs.event_kind import EventKind
from ubm_embed.data.mappings.ready_made import mapping_names
from ubm_embed.wording import counted

if TYPE_CHECKING:
    from ubm_embed.data.logs.ingestion import IngestReport
    from ubm_embed.data.mappings.mapping import Mapping

_DEFAULT_GAP = 30.0
_SHOWN_FILES = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ingest")(ingest)


def _list_formats(wanted: bool) -> None:
    if wanted:
        from ubm_embed.data.mappings.mapping import Mapping

        formats = {str(kind): kind.description for kind in EventKind}
        formats |= {name: Mapping.open(name).description for name in mapping_names()}
        write_table(["--from", "reads"], sorted(formats.items()))
        raise typer.Exit


def ingest(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Logs: files, folders of files, corpus folders, or - for stdin."),
    ],
    source_format: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="NAME", help="What the log is from, such as native, ga4 or segment; see --list-formats."
        ),
    ] = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", metavar="FILE.toml", help="A mapping: how columns of the log become events.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The corpus folder to write.")] = None,
    catalogue: Annotated[
        Path | None,
        typer.Option("--catalogue", metavar="FILE", help="Products; their values win over those in events."),
    ] = None,
    catalogue_map: Annotated[
        str | None,
        typer.Option(
            "--catalogue-map",
            metavar="NAME|FILE.toml",
            help="A mapping for --catalogue, if that of the log is not for it.",
        ),
    ] = None,
    session_gap: Annotated[
        float | None,
        typer.Option(
            "--session-gap",
            metavar="MINUTES",
            min=0.01,
            help="The pause that ends a session without an id: 30 unless a mapping says another.",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Also write the counts as JSON.")
    ] = None,
    guess: Annotated[
        bool, typer.Option("--guess", help="Propose a mapping on stdout from a look at SOURCE, and write nothing.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is at DIR.")] = False,
    list_formats: Annotated[
        bool,
        typer.Option("--list-formats", callback=_list_formats, is_eager=True, help="List what --from takes and exit."),
    ] = False,
) -> None:
    """Turn an event log into a corpus: products and sessions to learn from.

    Reads Parquet, CSV, JSON, JSON Lines, XML and Excel; text may be compressed. What is dropped is counted by reason.
    """
    if guess:
        with _spooled(sources) as files:
            guess_mapping(files)
        return
    kind = _kind(source_format, map_file)
    if out is None:
        raise typer.BadParameter("missing --out DIR")

    from ubm_embed.data.logs.ingestion import ingest as write_corpus
    from ubm_embed.data.tables.stdin_file import without_copy
    from ubm_embed.outputs import output_file, require_writable

    if report is not None:
        require_writable(report)
    gap = session_gap or (None if isinstance(kind, EventKind) else kind.session_gap_minutes) or _DEFAULT_GAP
    catalogue_mapping = _catalogue_mapping(catalogue, catalogue_map, kind)
    given = [*sources, *([catalogue] if catalogue else [])]
    with _spooled(given) as paths, progress() as report_progress:
        logs = paths[: len(sources)]
        counts = write_corpus(
            logs,
            kind=kind,
            out=out,
            catalogue=paths[-1] if catalogue else None,
            catalogue_mapping=catalogue_mapping,
            session_gap_minutes=gap,
            overwrite=overwrite,
            progress=report_progress,
        )
        left_out = "" if isinstance(kind, EventKind) else _left_out(logs, kind)
    say("\n".join(filter(None, [_summary(counts, out), left_out])))
    if report is not None:  # last, so that what was written is said if it fails
        text = json.dumps(counts.to_dict(), ensure_ascii=False, indent=2) + "\n"
        with output_file(report) as aside:
            aside.write_text(without_copy(text, given, paths), "utf-8")


def _spooled(sources: Sequence[Path]) -> AbstractContextManager[list[Path]]:
    """The sources, with a file for standard input."""
    from ubm_embed.data.tables.stdin_file import spooled_stdin

    return spooled_stdin(sources)


def _kind(source_format: str | None, map_file: Path | None) -> EventKind | Mapping:
    """The reader or the mapping that the options name."""
    from ubm_embed.data.mappings.mapping import Mapping

    if map_file is not None:
        if source_format not in (None, EventKind.NATIVE):
            raise typer.BadParameter(f"--map says how columns are read, and so does --from {source_format}; give one")
        return Mapping.read(map_file)
    if source_format is None:
        raise typer.BadParameter("missing --from NAME or --map FILE.toml; --guess proposes a mapping")
    if source_format in list(EventKind):
        return EventKind(source_format)
    names = [*map(str, EventKind), *mapping_names()]
    if source_format not in names:
        similar = difflib.get_close_matches(source_format.lower(), names, 1, 0.5)
        guess = f" Did you mean {similar[0]!r}?" if similar else ""
        raise typer.BadParameter(f"--from {source_format!r} is not known.{guess} Known: {', '.join(names)}")
    return Mapping.open(source_format)


def _catalogue_mapping(catalogue: Path | None, catalogue_map: str | None, kind: EventKind | Mapping) -> Mapping | None:
    """The mapping of the catalogue: one of its own, else that of the log if it has a part for it."""
    from ubm_embed.data.mappings.mapping import Mapping

    if catalogue_map is not None:
        if catalogue is None:
            raise typer.BadParameter("--catalogue-map needs --catalogue FILE")
        return Mapping.open(catalogue_map)
    return kind if catalogue and isinstance(kind, Mapping) and kind.catalogue_of(catalogue) else None


def _left_out(sources: Sequence[Path], mapping: Mapping) -> str:
    """What to say of files that no part of the mapping names; nothing if there are none."""
    from ubm_embed.data.tables.table_files import find_files

    files = find_files(sources, mixed=True).files
    others = [
        file.name
        for file in files
        if not (mapping.log_of(file) or mapping.names_catalogue(file) or mapping.joins(file))
    ]
    if not others:
        return ""
    return f"left out {counted(len(others), 'file')} that the mapping does not name: {_first(others)}"


def _first(files: Sequence[str]) -> str:
    more = f" and {len(files) - _SHOWN_FILES:,} more" if len(files) > _SHOWN_FILES else ""
    return ", ".join(files[:_SHOWN_FILES]) + more


def _summary(counts: IngestReport, out: Path) -> str:
    actions = ", ".join(f"{count:,} {action}" for action, count in counts.actions.items())
    lines = [
        f"{out}: {counted(counts.sessions, 'session')} ({counts.single_interaction_sessions:,} of one interaction), "
        f"{counted(counts.products, 'product')}",
        f"kept {counts.interactions:,} of {counted(counts.events, 'event')}: {actions}",
    ]
    if counts.taken_back:
        lines.append(f"took back {counts.taken_back:,}: adds and the removals from the cart after them")
    lines += [f"dropped {count:,}: {reason}{_where(counts, reason)}" for reason, count in counts.dropped.items()]
    for what, fields in (("changed", counts.changed), ("lost", counts.lost)):
        lines += [
            f"{what} {counted(count, 'value')} of {name}{_where(counts, f'{what} {name}')}"
            for name, count in fields.items()
        ]
    lines += [f"{Path(file).name}: {change}" for file, changes in counts.catalogues.items() for change in changes]
    if counts.products_without_text:
        lines.append(f"left out {counted(counts.products_without_text, 'product')} without text")
    if counts.left_out:
        lines.append(f"left out {_first([f'{Path(file).name} ({why})' for file, why in counts.left_out.items()])}")
    return "\n".join(lines)


def _where(counts: IngestReport, reason: str) -> str:
    """The first rows that a count counts, with a value of one, as ` (log.csv row 3: 'call us', row 8)`."""
    texts, last = [], None
    for example in counts.examples.get(reason, ()):
        file = Path(example.file).name
        value = "" if example.value is None else f": {example.value[:40]!r}"
        texts.append(f"{'' if file == last else file + ' '}row {example.row}{value}")
        last = file
    return f" ({', '.join(texts)})" if texts else ""
