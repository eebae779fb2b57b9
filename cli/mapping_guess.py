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
    from ubm_embed.data.logs.trial import try_mapping
    from ubm_embed.data.mappings.guesses.proposal import propose
    from ubm_embed.data.tables.table_files import table_files

    files = [file for source in sources for file in table_files(source, mixed=True)]
    with TemporaryDirectory() as folder:
        proposal = propose(files, Path(folder))
        trial = try_mapping(proposal.samples, proposal.mapping)
    typer.echo(proposal.text, nl=False)
    say("\n".join(_summary(proposal, trial)))
    for problem in (*proposal.unreadable, *trial.problems):
        warn(problem)


def _summary(proposal: Proposal, trial: Trial) -> list[str]:
    lines = [f"--from {name} reads files of this shape as they are" for name in proposal.known[:3]]
    lines += [
        f"--catalogue-map {name} reads products of this shape as they are" for name in proposal.known_catalogues[:3]
    ]
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
