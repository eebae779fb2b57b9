"""`ubm-embed doctor`: what is wrong with a store, and what to type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import Format, choose_format, progress, say, write_json, write_json_line
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
        bool, typer.Option("--repair", help="Rebuild indexes, ids and manifests from the table, then look again.")
    ] = False,
    form: Annotated[Format | None, typer.Option("--format", help="Default: lines on a terminal, else JSON.")] = None,
) -> None:
    """Read all of a store; say what is missing or damaged and what to type. Exits with 3 if a version is damaged."""
    from indexer.health.doctor import Severity, examine
    from indexer.health.repair import repair as mend

    if repair:
        for version in mend(store):
            say(f"{store}: the index of version {version.version} was rebuilt, {version.products:,} products")
    with progress() as shown:
        findings = examine(store, progress=shown)
    _write(findings, choose_format(form))
    errors = sum(found.severity is Severity.ERROR for found in findings)
    say(f"{store}: {errors} error{'s' * (errors != 1)}" if errors else f"{store}: every version is whole")
    if errors:
        raise typer.Exit(UNHEALTHY)


def _write(findings: list[Finding], form: Format) -> None:
    documents = list(map(_document, findings))
    if form is Format.JSON:
        write_json(documents)
    elif form is Format.JSONL:
        for document in documents:
            write_json_line(document)
    else:
        for found in findings:
            of = "" if found.version is None else f" (version {found.version})"
            typer.echo(f"{found.severity}{of}: {found.problem}\n    type: {found.remedy}")


def _document(found: Finding) -> dict[str, Any]:
    return {
        "severity": str(found.severity),
        "version": found.version,
        "problem": found.problem,
        "remedy": found.remedy,
        "repairable": found.repairable,
    }
