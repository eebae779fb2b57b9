"""`ubm-embed ingest --guess`: a mapping proposed for a shop's files, and what it would make of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from cli.console import say, warn
from ubm_embed.wording import counted

if TYPE_CHECKING:
    from ubm_embed.data.logs.trial import Trial
    from ubm_embed.data.mappings.guesses.proposal import Proposal


def guess_mapping(sources: Sequence[Path]) -> None:
    """Write a proposal to stdout, and to stderr what it lacks and what it would keep of the sample."""
    from ubm_embed.data.logs.trial import reads_catalogue, reads_log, try_mapping
    from ubm_embed.data.mappings.guesses.proposal import propose
    from ubm_embed.data.tables.table_files import find_files

    files = find_files(sources, mixed=True).files
    with TemporaryDirectory() as folder:
        proposal = propose(files, Path(folder))
        trial = try_mapping(proposal.samples, proposal.mapping)
        logs = [name for name, samples in proposal.known.items() if reads_log(samples, name)]
        catalogues = [name for name, samples in proposal.known_catalogues.items() if reads_catalogue(samples, name)]
    typer.echo(proposal.text, nl=False)
    say("\n".join(_summary(proposal, trial, logs, catalogues)))
    for problem in (*proposal.unreadable, *trial.problems):
        warn(problem)


def _summary(proposal: Proposal, trial: Trial, logs: Sequence[str], catalogues: Sequence[str]) -> list[str]:
    lines = [f"--from {name} reads files of this shape as they are" for name in logs[:3]]
    lines += [f"--catalogue-map {name} reads products of this shape as they are" for name in catalogues[:3]]
    lines += [f"not found: {what}" for what in proposal.missing]
    kept, dropped = sum(trial.actions.values()), sum(trial.dropped.values())
    if kept or dropped:
        actions = ", ".join(f"{count:,} {action}" for action, count in trial.actions.items())
        lines.append(f"of a sample it would keep {kept:,} of {kept + dropped:,} events{': ' * bool(actions)}{actions}")
        lines += [f"it would drop {count:,}: {reason}" for reason, count in trial.dropped.items()]
        lines += [f"it would lose {counted(count, 'value')} of {name}" for name, count in trial.lost.items()]
    if trial.without_text:
        lines.append(f"{trial.without_text:,} of these are of products without text: they need a --catalogue")
    if trial.products:
        lines.append(f"of a sample it would read {trial.products:,} products")
    if proposal.unseen:
        lines.append(
            f"not looked at: {proposal.unseen:,} more, whose names differ from those of others in numbers only"
        )
    lines.append("nothing was written; save the proposal, check it, and give it to --map")
    return lines
