"""`ubm-embed inspect`: look at a corpus before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import Format, choose_format, progress, say, write_json, write_json_line, write_table

if TYPE_CHECKING:
    from ubm_embed.data.inspection.corpus_report import CorpusReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("inspect")(inspect)


def inspect(
    corpus: Annotated[Path, typer.Argument(metavar="CORPUS", help="A corpus folder, as ingest writes it.")],
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="DIR", help="Count the tokens of this model instead of words."),
    ] = None,
    ingest_report: Annotated[
        Path | None,
        typer.Option("--ingest-report", metavar="FILE", help="What `ingest --report` wrote: adds the dropped events."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write one page of HTML, without scripts.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of samples and shuffles.")] = 0,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: tables on a terminal, else JSON.")
    ] = None,
) -> None:
    """Look at a corpus before training: sessions, texts, times, order, robots, and what each task could be asked with.

    Findings come first, the worst at the top, each with its figure and what to do. They change no exit code.
    """
    from ubm_embed.data.corpus import Corpus
    from ubm_embed.data.inspection.corpus_report import inspect_corpus
    from ubm_embed.data.inspection.losses import IngestLosses
    from ubm_embed.data.text.tokenizer import InteractionTokenizer

    tokenizer = None if model is None else InteractionTokenizer.from_pretrained(model)
    losses = None if ingest_report is None else IngestLosses.read(ingest_report)
    with progress() as report_progress:
        report = inspect_corpus(
            Corpus.open(corpus), tokenizer=tokenizer, losses=losses, seed=seed, progress=report_progress
        )
    if html is not None:
        _write_page(report, corpus, html)
    _write(report, choose_format(output_format))
    say(f"{corpus}: {_summary(report)}")


def _write_page(report: CorpusReport, corpus: Path, file: Path) -> None:
    from ubm_embed.data.inspection.html_page import html_page
    from ubm_embed.outputs import output_file

    with output_file(file) as aside:
        aside.write_text(html_page(report, corpus.resolve().name), "utf-8")


def _write(report: CorpusReport, chosen: Format) -> None:
    document = report.to_dict()
    if chosen is Format.JSON:
        write_json(document)
    elif chosen is Format.JSONL:
        for finding in document.pop("findings"):
            write_json_line({"finding": finding})
        for section, figures in document.items():
            write_json_line({"section": section, "figures": figures})
    else:
        _write_tables(report)


def _write_tables(report: CorpusReport) -> None:
    from ubm_embed.data.inspection.sections import sections_of
    from ubm_embed.wording import percent

    for finding in report.findings:
        typer.echo(f"{finding.severity}, {finding.section}: {finding.problem}\n    {finding.remedy}")
    for section in sections_of(report):
        rows = (
            (row.label, row.value, "" if row.share is None or row.value.endswith("%") else percent(row.share))
            for row in section.rows
        )
        typer.echo()
        write_table((section.title, "", "share"), rows)
        if section.note:
            typer.echo(section.note)


def _summary(report: CorpusReport) -> str:
    from ubm_embed.data.inspection.finding import Severity
    from ubm_embed.wording import counted

    numbers = {severity: sum(finding.severity is severity for finding in report.findings) for severity in Severity}
    return ", ".join(counted(number, str(severity)) for severity, number in numbers.items() if number) or "no findings"
