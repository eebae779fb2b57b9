"""A diagnosis on stdout: findings, then a table for each section; or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from cli.console import Format, printable, write_json, write_json_line, write_table

if TYPE_CHECKING:
    from indexer.diagnostics.report import Diagnosis, Metric, Section

_BETTER = {"lower": "↓", "higher": "↑"}


def write_diagnosis(diagnosis: Diagnosis, chosen: Format) -> None:
    """Write a diagnosis to stdout."""
    document = diagnosis.to_dict()
    if chosen is Format.JSON:
        write_json(document)
    elif chosen is Format.JSONL:
        findings, sections = document.pop("findings"), document.pop("sections")
        write_json_line({"report": document})
        for finding in findings:
            write_json_line({"finding": finding})
        for name, section in sections.items():
            write_json_line({"section": name, **section})
    else:
        _write_tables(diagnosis)


def _write_tables(diagnosis: Diagnosis) -> None:
    for finding in diagnosis.findings:
        typer.echo(printable(f"{finding.severity}, {finding.fault}: {finding.problem}"))
        typer.echo(f"    {printable(finding.remedy)}")
    for section in diagnosis.sections:
        _write_section(section)
    for note in diagnosis.notes:
        typer.echo(f"\n{printable(note)}")


def _write_section(section: Section) -> None:
    typer.echo()
    if section.metrics:
        columns = ("metric", "value", "95% interval", "better", "measured on")
        write_table(columns, map(_row, section.metrics), title=section.title, whole="metric")
    else:
        typer.echo(printable(section.title))
    for table in (table.without_empty_columns() for table in section.tables):
        typer.echo()
        write_table(tuple(table.columns), table.rows, title=table.caption)
    for note in section.notes:
        typer.echo(printable(note))


def _row(metric: Metric) -> tuple[Any, ...]:
    interval = "" if metric.interval is None else " to ".join(map(number_text, metric.interval))
    better = "" if metric.better is None else _BETTER[metric.better]
    return metric.name, number_text(metric.value), interval, better, metric.measured_on


def number_text(value: float) -> str:
    """Four significant digits, without an exponent where that is short."""
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:.4g}"


def summary(diagnosis: Diagnosis) -> str:
    """What was diagnosed, and how many findings there are of each severity."""
    from indexer.diagnostics.finding import Severity
    from ubm_embed.wording import counted

    numbers = {severity: sum(finding.severity is severity for finding in diagnosis.findings) for severity in Severity}
    findings = [counted(number, str(severity)) for severity, number in numbers.items() if number]
    return f"{diagnosis.subject['name']}: {', '.join(findings) or 'no findings'}"
