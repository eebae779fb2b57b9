"""`ubm-embed versions`: what a store has, and which version of it answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import Format, choose_format, say, write_document, write_json, write_json_line, write_table
from cli.store_options import Config, Store, read_settings

if TYPE_CHECKING:
    from indexer.store.embedding_store import EmbeddingStore

app = typer.Typer(
    name="versions",
    help="List, compare, name, roll back and prune the versions of a store.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Form = Annotated[Format | None, typer.Option("--format", help="Default: a table on a terminal, else JSON.")]


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app)


@app.command("list")
def list_versions(store: Store, form: Form = None) -> None:
    """All versions, the newest first: which is live, which were before, which have names."""
    from indexer.versions.history import history

    rows = [one.to_dict() for one in history(_open(store))]
    chosen = choose_format(form)
    if chosen is Format.TABLE:
        shown = ("version", "state", "tags", "products", "model_id", "created", "recall_at_10", "uniformity", "problem")
        write_table(shown, [[_cell(row.get(name)) for name in shown] for row in rows])
    elif chosen is Format.JSON:
        write_json(rows)
    else:
        for row in rows:
            write_json_line(row)


@app.command()
def show(
    store: Store,
    version: Annotated[str | None, typer.Argument(help="Its number or a tag; default: the live one.")] = None,
    form: Form = None,
) -> None:
    """All that is known of a version: its manifest, its state, its names, its size on disk."""
    from indexer.versions.history import history_entry
    from indexer.versions.tags import resolve_number
    from indexer.versions.version import read_version

    opened = _open(store)
    manifest = read_version(opened, None if version is None else resolve_number(opened, version))
    document = history_entry(opened, manifest.version).to_dict()
    _write_fields(document, choose_format(form))


@app.command()
def diff(
    store: Store,
    before: Annotated[str | None, typer.Argument(help="Number or tag; default: what was live before.")] = None,
    after: Annotated[str | None, typer.Argument(help="Number or tag; default: the live version.")] = None,
    ids: Annotated[int, typer.Option("--ids", min=0, help="Ids to show of each kind of change.")] = 10,
    form: Form = None,
) -> None:
    """What is different between two versions: manifests, and products that are new, changed, updated, removed."""
    from indexer.versions.difference import Difference
    from indexer.versions.rollback import version_before
    from indexer.versions.tags import resolve_number
    from indexer.versions.version import read_version

    opened = _open(store)
    first = version_before(opened) if before is None else resolve_number(opened, before)
    last = None if after is None else resolve_number(opened, after)
    found = Difference.between(opened, read_version(opened, first), read_version(opened, last)).to_dict(ids)
    chosen = choose_format(form)
    if chosen is not Format.TABLE:
        write_document(found, chosen)
        return
    columns = [f"version {found['before']}", f"version {found['after']}"]
    write_table(["", *columns], [(name, *map(_cell, values)) for name, values in found["manifest"].items()])
    kinds = ("new", "changed", "updated", "unchanged", "removed")
    rows = [(kind, f"{found[kind]:,}", " ".join(found["ids"].get(kind, []))) for kind in kinds]
    write_table(["products", "number", "such as"], rows)


@app.command()
def tag(
    store: Store,
    name: Annotated[str, typer.Argument(help="The name, such as black-friday.")],
    version: Annotated[str | None, typer.Argument(help="Number or another tag; default: the live version.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Take the name away.")] = False,
) -> None:
    """Give a version a name; it is then never pruned."""
    from indexer.versions.live import live_number
    from indexer.versions.tags import add_tag, delete_tag, resolve_number

    opened = _open(store)
    if delete:
        if version is not None:
            raise typer.BadParameter("--delete takes the name only")
        delete_tag(opened, name)
        say(f"{store}: no version is tagged {name} any more")
        return
    number = live_number(opened) if version is None else resolve_number(opened, version)
    add_tag(opened, name, number)
    say(f"{store}: version {number} is tagged {name}")


@app.command()
def rollback(
    store: Store,
    version: Annotated[str | None, typer.Argument(help="Number or tag; default: what was live before.")] = None,
) -> None:
    """Make an earlier version live again. It takes effect at once and does not wait for a refresh that runs."""
    from indexer.store.embedding_store import EmbeddingStore
    from indexer.versions.rollback import roll_back
    from indexer.versions.tags import resolve_number

    started = time.perf_counter()
    opened = EmbeddingStore.from_uri(store)  # even where live.json is gone
    done = roll_back(opened, None if version is None else resolve_number(opened, version))
    took = (time.perf_counter() - started) * 1000
    if done.before == done.now.version:
        say(f"{store}: version {done.before} is live already")
    else:
        was = f" instead of {done.before}" if done.before else ""
        say(f"{store}: version {done.now.version} is live{was}, {done.now.products:,} products ({took:.0f} ms)")


@app.command()
def prune(
    store: Store,
    keep: Annotated[int | None, typer.Option("--keep", min=1, help="The live version and those before it.")] = None,
    days: Annotated[float | None, typer.Option("--days", min=0, help="Also keep what is younger.")] = None,
    staging: Annotated[
        bool, typer.Option("--staging", help="Also what a refresh that was stopped has encoded so far.")
    ] = False,
    config: Config = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    form: Form = None,
) -> None:
    """Remove old versions and give their space back. The live version and tagged ones stay."""
    from dataclasses import replace

    from indexer.store.embedding_store import STAGING
    from indexer.versions.pruning import prune as remove
    from indexer.versions.pruning import prunable_versions

    usual = read_settings(config).keep
    policy = replace(
        usual, versions=usual.versions if keep is None else keep, days=usual.days if days is None else days
    )
    opened = _open(store)
    if dry_run:
        document: dict[str, Any] = {"versions": prunable_versions(opened, policy)}
        say(f"{store}: would remove {_listed(document['versions'])}; nothing was changed")
    else:
        with opened.write_lock():
            if staging:
                opened.storage.remove(STAGING)
            done = remove(opened, policy)
        document = {"versions": list(done.versions), "models": list(done.models), "freed_bytes": done.bytes}
        say(f"{store}: removed {_listed(document['versions'])}, {max(0, done.bytes) / 1e6:,.1f} MB given back")
    chosen = choose_format(form)
    if chosen is not Format.TABLE:
        _write_fields(document, chosen)


def _open(store: str) -> EmbeddingStore:
    from indexer.store.embedding_store import EmbeddingStore

    return EmbeddingStore.open(store)


def _listed(numbers: list[int]) -> str:
    return f"version{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}" if numbers else "no version"


def _cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _flat(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Fields by name; of one that has fields itself, each by both names."""
    for name, value in document.items():
        if isinstance(value, dict) and value:
            yield from ((f"{name}.{inner}", found) for inner, found in value.items())
        else:
            yield name, value


def _write_fields(document: dict[str, Any], form: Format) -> None:
    if form is Format.TABLE:
        write_table(["field", "value"], [(name, _cell(value)) for name, value in _flat(document)])
    else:
        write_document(document, form)
