"""An index made anew from the table, which has all that it is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from indexer.health.doctor import examine
from indexer.index.index_request import IndexRequest
from indexer.refresh.changes import ChangeCounts
from indexer.refresh.gates import Gate, GateLimits
from indexer.refresh.plan import ModelIdentity
from indexer.refresh.publication import Candidate, make_version
from indexer.store.embedding_store import EmbeddingStore, model_folder, version_folder
from indexer.versions.version import MANIFEST_FILE, StoreVersion, read_version
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.checkpoint import Checkpoint

_UNKNOWN = "unknown: the manifest was lost"


def repair(where: str | Path) -> list[StoreVersion]:
    """Rebuild every version of a store whose index, ids or manifest is missing or damaged; those that were.

    Raises:
        NotFound: there is no store.
        Conflict: another process writes to it.
        InvalidData, QualityGateFailed: as `rebuild`.
    """
    store = EmbeddingStore.from_uri(where)
    numbers = {found.version for found in examine(where) if found.repairable and found.version is not None}
    with store.write_lock():
        return [rebuild(store, number) for number in sorted(numbers)]


def rebuild(store: EmbeddingStore, number: int) -> StoreVersion:
    """Make a version's index, ids and manifest anew from its version of the table. Call it inside `store.write_lock`.

    What is live stays so: nothing but the version's own folder is touched.

    Raises:
        NotFound: there is no such version.
        InvalidData: the table is damaged, or does not say which model made the version.
        QualityGateFailed: what was rebuilt does not hold what the table does.
    """
    try:
        known = read_version(store, number)
    except InvalidData:
        known = None
    except NotFound:
        if number not in store.table.pins():
            raise
        known = None  # its folder is gone, but the table still keeps its rows
    candidate = _candidate(store, number, known)
    store.table.pin(number, candidate.table_version)  # older software did not
    # What was published once is not judged again, but for what would make it useless.
    made = make_version(store, candidate, number, GateLimits(), [gate for gate in Gate if gate != Gate.RECALL])
    if known is None:
        return made
    whole = replace(
        known,
        table_version=made.table_version,
        dimension=made.dimension,
        products=made.products,
        indexed=made.indexed,
        kind=made.kind,
        parameters=made.parameters,
        recall_at_10=made.recall_at_10,
        files=made.files,
    )
    store.storage.write(f"{version_folder(number)}/{MANIFEST_FILE}", whole.to_bytes())
    return whole


def _candidate(store: EmbeddingStore, number: int, known: StoreVersion | None) -> Candidate:
    table_version = store.table.pins().get(number)
    if table_version is None and known and not known.files:  # older software said it in the manifest only
        table_version = known.table_version
    if table_version is None:
        raise InvalidData(_lost(number, "which version of the table it is"), file=_manifest(store, number))
    ids = store.table.read(table_version, ["product_id"])["product_id"]
    identity = ModelIdentity.of_version(known) if known else _identity(store, number, table_version)
    return Candidate(
        table_version=table_version,
        product_ids=ids,
        model_id=identity.model_id,
        product_model_id=identity.product_model_id,
        source=known.source if known else _UNKNOWN,
        changes=ChangeCounts(new=0, changed=0, updated=0, unchanged=ids.len(), removed=0),
        encoded=0,
        base=None,
        live=None,
        pairs=None,
        index=known.index_request if known else IndexRequest(),
    )


def _identity(store: EmbeddingStore, number: int, table_version: int) -> ModelIdentity:
    model_id = store.table.model_id(table_version)
    if model_id is None:
        raise InvalidData(_lost(number, "which model made it"), file=_manifest(store, number))
    try:
        with store.storage.open_folder(model_folder(model_id)) as folder:
            return ModelIdentity.of(Checkpoint.from_pretrained(folder))
    except FileNotFoundError:
        name = f"{store.uri}/{model_folder(model_id)}"
        raise InvalidData(f"missing; version {number} needs it", file=name) from None


def _lost(number: int, what: str) -> str:
    return f"nothing is left that says of version {number} {what}; build the store anew"


def _manifest(store: EmbeddingStore, number: int) -> str:
    return f"{store.uri}/{version_folder(number)}/{MANIFEST_FILE}"
