"""`ubm-embed versions`: the versions of a store, and which of them is live."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import Format, choose_format, say, write_document, write_json, write_json_line, write_table
from cli.store_options import Config, Store, read_settings
from ubm_embed.wording import counted

if TYPE_CHECKING:
    from indexer.revisions.revised_version import RevisedVersion
    from indexer.store.embedding_store import EmbeddingStore

app = typer.Typer(
    name="versions",
    help="List, compare, tag, roll back and prune the versions of a store.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

OutputFormat = Annotated[Format | None, typer.Option("--format", help="Default: a table on a terminal, else JSON.")]
_COLUMNS = ("label", "state", "tags", "products", "model_id", "created", "recall_at_10", "uniformity", "problem")


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app)


@app.command("list")
def list_versions(store: Store, output_format: OutputFormat = None) -> None:
    """List all versions, newest first: which is live, which were before, and their tags."""
    from indexer.versions.history import history

    rows = [entry.to_dict() for entry in history(_open(store))]
    chosen = choose_format(output_format)
    if chosen is Format.TABLE:
        write_table(("version", *_COLUMNS[1:]), [[_cell(row.get(name)) for name in _COLUMNS] for row in rows])
    elif chosen is Format.JSON:
        write_json(rows)
    else:
        for row in rows:
            write_json_line(row)


@app.command()
def show(
    store: Store,
    version: Annotated[str | None, typer.Argument(help="Number or tag; default: the live version.")] = None,
    output_format: OutputFormat = None,
) -> None:
    """Show a version: its manifest, state, tags and size on disk."""
    from indexer.versions.history import history_entry
    from indexer.versions.tags import resolve_number
    from indexer.versions.version import read_version

    opened = _open(store)
    manifest = read_version(opened, None if version is None else resolve_number(opened, version))
    document = history_entry(opened, manifest.version).to_dict()
    _write_fields(document, choose_format(output_format))


@app.command()
def diff(
    store: Store,
    before: Annotated[
        str | None,
        typer.Argument(
            help="Number or tag, or 3.0 for version 3 as it was published; default: the version that was live before."
        ),
    ] = None,
    after: Annotated[str | None, typer.Argument(help="The same; default: the live version.")] = None,
    ids: Annotated[int, typer.Option("--ids", min=0, help="Number of ids to show for each kind of change.")] = 10,
    output_format: OutputFormat = None,
) -> None:
    """Compare two versions, each with its last revision: their manifests, and the products that differ."""
    from indexer.revisions.difference import Difference
    from indexer.versions.rollback import version_before

    opened = _open(store)
    first = _revised(opened, str(version_before(opened)) if before is None else before)
    difference = Difference.between(opened, first, _revised(opened, after)).to_dict(ids)
    chosen = choose_format(output_format)
    if chosen is not Format.TABLE:
        write_document(difference, chosen)
        return
    columns = [f"version {label}" for label in difference["labels"]]
    write_table(["", *columns], [(name, *map(_cell, values)) for name, values in difference["manifest"].items()])
    kinds = ("new", "changed", "updated", "unchanged", "removed")
    rows = [(kind, f"{difference[kind]:,}", " ".join(difference["ids"].get(kind, []))) for kind in kinds]
    write_table(["products", "number", "examples"], rows)


@app.command()
def tag(
    store: Store,
    name: Annotated[str, typer.Argument(help="The tag, such as black-friday.")],
    version: Annotated[str | None, typer.Argument(help="Number or another tag; default: the live version.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the tag.")] = False,
) -> None:
    """Tag a version; a tagged version is never pruned."""
    from indexer.versions.live import live_number
    from indexer.versions.tags import add_tag, delete_tag, resolve_number

    opened = _open(store)
    if delete:
        if version is not None:
            raise typer.BadParameter("--delete takes the tag only, and no version")
        delete_tag(opened, name)
        say(f"{store}: no version is tagged {name} any more")
        return
    number = live_number(opened) if version is None else resolve_number(opened, version)
    add_tag(opened, name, number)
    say(f"{store}: version {number} is tagged {name}")


@app.command()
def rollback(
    store: Store,
    version: Annotated[
        str | None,
        typer.Argument(
            help="Number or tag, or 3.0 for version 3 without what was upserted and deleted since it was published;"
            " default: the version that was live before."
        ),
    ] = None,
) -> None:
    """Make an earlier version live again, with its last revision, at once and without waiting for a running refresh."""
    from indexer.store.embedding_store import EmbeddingStore
    from indexer.versions.rollback import roll_back
    from indexer.versions.tags import resolve_published

    started = time.perf_counter()
    opened = EmbeddingStore.from_uri(store)  # not `open`: a rollback also repairs a missing live.json
    number, as_published = (None, False) if version is None else resolve_published(opened, version)
    result = roll_back(opened, number, as_published=as_published)
    milliseconds = (time.perf_counter() - started) * 1000
    if result.before_label == result.label:
        say(f"{store}: version {result.label} is live already")
        return
    instead = f" instead of {result.before_label}" if result.before_label else ""
    dropped = f", after dropping {counted(result.dropped, 'change')}" if result.dropped else ""
    if result.before is None and result.revision:
        dropped = ", without its changes since it was published, of which only live.json knew"
    outcome = f"version {result.label} is live{instead}, {result.now.products:,} products{dropped}"
    say(f"{store}: {outcome} ({milliseconds:.0f} ms)")


@app.command()
def prune(
    store: Store,
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, help="Versions to keep: the live one and those before it.")
    ] = None,
    days: Annotated[float | None, typer.Option("--days", min=0, help="Also keep versions younger than this.")] = None,
    staging: Annotated[
        bool, typer.Option("--staging", help="Also remove what interrupted refreshes have encoded so far.")
    ] = False,
    config: Config = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    output_format: OutputFormat = None,
) -> None:
    """Remove old versions and free their space. The live version and tagged ones stay."""
    from indexer.store.embedding_store import STAGING
    from indexer.versions.pruning import needed_versions, prunable_versions
    from indexer.versions.pruning import prune as prune_store

    given = {name: value for name, value in (("versions", keep), ("days", days)) if value is not None}
    policy = read_settings(config).keep.replace(**given)
    opened = _open(store)
    if dry_run:
        document: dict[str, Any] = {"versions": prunable_versions(opened, policy)}
        needed: Mapping[int, tuple[int, ...]] = needed_versions(opened, policy)
        say(f"{store}: would remove {_listed(document['versions'])}; nothing was changed")
    else:
        with opened.write_lock():
            if staging:
                opened.storage.remove(STAGING)
            result = prune_store(opened, policy)
        document = {"versions": list(result.versions), "models": list(result.models), "freed_bytes": result.bytes}
        needed = result.needed
        say(f"{store}: removed {_listed(document['versions'])}, {max(0, result.bytes) / 1e6:,.1f} MB freed")
    document["kept"] = {str(number): list(users) for number, users in needed.items()}
    for number, users in needed.items():
        share = "shares" if len(users) == 1 else "share"
        say(f"{store}: version {number} stays, as {_listed(list(users))} {share} its files")
    chosen = choose_format(output_format)
    if chosen is not Format.TABLE:
        _write_fields(document, chosen)


def _revised(store: EmbeddingStore, name: str | None) -> RevisedVersion:
    """The version that a name stands for, with its last revision or, such as `3.0`, as it was published."""
    from indexer.revisions.revised_version import RevisedVersion
    from indexer.versions.live import read_live
    from indexer.versions.tags import resolve_published
    from indexer.versions.version import read_version

    live = read_live(store)
    number, as_published = (live.version, False) if name is None else resolve_published(store, name)
    return RevisedVersion(read_version(store, number), None if as_published else live.revisions.get(number))


def _open(store: str) -> EmbeddingStore:
    from indexer.store.embedding_store import EmbeddingStore

    return EmbeddingStore.open(store)


def _listed(numbers: list[int]) -> str:
    return f"version{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}" if numbers else "no version"


def _cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _flat(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Fields by name; those of a nested object by both names, joined with a dot."""
    for name, value in document.items():
        if isinstance(value, dict) and value:
            yield from ((f"{name}.{inner}", nested) for inner, nested in value.items())
        else:
            yield name, value


def _write_fields(document: dict[str, Any], chosen: Format) -> None:
    if chosen is Format.TABLE:
        write_table(["field", "value"], [(name, _cell(value)) for name, value in _flat(document)])
    else:
        write_document(document, chosen)
