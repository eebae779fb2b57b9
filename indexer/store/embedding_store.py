"""A store: a folder, or a prefix in an object store, with everything that answering needs.

live.json                which version answers, and which did before
products.lance/          every product and its vector: one LanceDB table with all its versions
versions/<number>/       a version's manifest, its index and its products
revisions/<number>/      what changed since a version was published
models/<model_id>/       a copy of each model that made vectors
tags.json                names that people gave to versions
staging/<model_id>/      what an unfinished refresh has encoded so far
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from indexer.storage.local_storage import LOCK_FILE, SWAP_LOCK_FILE
from indexer.storage.storage import Storage, open_storage
from indexer.store.product_table import TABLE, ProductTable
from ubm_embed.errors import Conflict, NotFound

LIVE_FILE, TAGS_FILE = "live.json", "tags.json"
VERSIONS, REVISIONS, MODELS, STAGING = "versions", "revisions", "models", "staging"
# Written last into a model's folder: a copy without it is incomplete.
MODEL_LAST_FILE = "config.json"

_LOCKS = {LOCK_FILE, SWAP_LOCK_FILE, "lock.json"}
_CONTENTS = {f"{TABLE}.lance", LIVE_FILE, TAGS_FILE, VERSIONS, REVISIONS, MODELS, STAGING} | _LOCKS


class EmbeddingStore:
    """One store. It keeps no state but its storage: every read names the version that it is of."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.table = ProductTable(storage)

    @classmethod
    def from_uri(cls, uri: str | Path) -> Self:
        """The store at a path or URI, whether it exists or not.

        Raises:
            InvalidData: the URI's scheme is not supported.
        """
        return cls(open_storage(uri))

    @classmethod
    def create(cls, uri: str | Path) -> Self:
        """The store at a path or URI, to be built; it need not exist yet, and nothing is written here.

        Raises:
            Conflict: the path is a file, or a folder with files that are no part of a store.
            InvalidData: the URI's scheme is not supported.
        """
        if "://" not in str(uri) and Path(uri).is_file():
            raise Conflict(f"{uri} is a file; expected a folder for the store")
        storage = open_storage(uri)
        entries = set(storage.list())
        if entries - _CONTENTS and LIVE_FILE not in entries:
            raise Conflict(f"{uri} holds {min(entries - _CONTENTS)!r} and is no store; choose another folder")
        return cls(storage)

    @classmethod
    def open(cls, uri: str | Path) -> Self:
        """The existing store at a path or URI, which must have a live version.

        Raises:
            NotFound: there is no store, nothing was ever published in it, or live.json is missing.
            InvalidData: the URI's scheme is not supported.
        """
        store = cls.from_uri(uri)
        if not store.storage.exists(LIVE_FILE):
            if store.storage.list(VERSIONS):
                doctor = f"ubm-embed doctor --store {uri}"
                raise NotFound(f"no {LIVE_FILE} in the store at {uri}, so no version answers; see: {doctor}")
            build = f"ubm-embed build-index --model DIR --products FILE --store {uri}"
            raise NotFound(f"no store at {uri}; build one: {build}")
        return store

    @property
    def uri(self) -> str:
        """The path or URI that a person types for the store."""
        return self.storage.uri

    @contextlib.contextmanager
    def write_lock(self) -> Iterator[None]:
        """Be the only writer inside the block. Readers need no lock.

        Raises:
            Conflict: another process is writing.
        """
        with self.storage.lock():
            self.storage.remove_leftovers()
            yield


def version_folder(number: int) -> str:
    """Name of a version's folder, with its manifest, index and products."""
    return f"{VERSIONS}/{number}"


def revision_folder(number: int) -> str:
    """Name of the folder with the segments of a version's revisions."""
    return f"{REVISIONS}/{number}"


def staging_folder(model_id: str) -> str:
    """Name of the folder with what an unfinished refresh has encoded with a model."""
    return f"{STAGING}/{model_id}"


def model_folder(model_id: str) -> str:
    """Name of the folder with the store's copy of a model."""
    return f"{MODELS}/{model_id}"
