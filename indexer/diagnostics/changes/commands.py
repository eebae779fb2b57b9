"""What to type about two versions of a store."""

from __future__ import annotations

import shlex

from indexer.diagnostics.space import VersionSpace


def rollback_to(space: VersionSpace) -> str:
    """Make a version live again."""
    return f"`ubm-embed versions rollback {_number(space)} --store {shlex.quote(space.store.uri)}`"


def difference_of(before: VersionSpace, after: VersionSpace) -> str:
    """List which products differ."""
    store = shlex.quote(after.store.uri)
    return f"`ubm-embed versions diff {_number(before)} {_number(after)} --store {store}`"


def diagnosis_of(space: VersionSpace) -> str:
    """Measure how good the answers of a version are."""
    return f"`ubm-embed diagnose --store {shlex.quote(space.store.uri)} --version {_number(space)} --corpus DIR`"


def _number(space: VersionSpace) -> int:
    return space.opened.version.version
