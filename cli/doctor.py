"""`ubm-embed doctor`: the faults of a store, and the command that mends each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import Format, choose_format, printable, progress, say, write_json, write_json_line
from cli.store_options import Store

if TYPE_CHECKING:
    from indexer.health.doctor import Finding

UNHEALTHY = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    store: Store,
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild damaged indexes, ids and manifests from the table, then check.")
    ] = False,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: text on a terminal, else JSON.")
    ] = None,
) -> None:
    """Read a whole store and report each fault with the command to type. Exits with 3 if a version is damaged."""
    from indexer.health.doctor import Severity, examine
    from indexer.health.repair import repair as repair_store

    if repair:
        for version in repair_store(store, lambda message: say(f"{store}: {message}")):
            number, shared = version.version, version.shares_files_of
            what = f"the index of version {number} was" if shared is None else f"version {number}'s own files were"
            say(f"{store}: {what} rebuilt, {version.products:,} products")
    with progress() as report:
        findings = examine(store, progress=report)
    _write(findings, choose_format(output_format))
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    say(f"{store}: {errors} error{'s' * (errors != 1)}" if errors else f"{store}: every version is whole")
    if errors:
        raise typer.Exit(UNHEALTHY)


def _write(findings: list[Finding], chosen: Format) -> None:
    documents = list(map(_document, findings))
    if chosen is Format.JSON:
        write_json(documents)
    elif chosen is Format.JSONL:
        for document in documents:
            write_json_line(document)
    else:
        for finding in findings:
            version = "" if finding.version is None else f" (version {finding.version})"
            problem, remedy = printable(finding.problem), printable(finding.remedy)
            typer.echo(f"{finding.severity}{version}: {problem}\n    type: {remedy}")


def _document(finding: Finding) -> dict[str, Any]:
    return {
        "severity": str(finding.severity),
        "version": finding.version,
        "problem": finding.problem,
        "remedy": finding.remedy,
        "repairable": finding.repairable,
    }
