"""A store: everything that answering needs, in one place.

live.json                which version answers, and which did before
products.lance/          every product and its vector: one LanceDB table, all its versions
versions/<number>/       a version's manifest, its index and the ids of the index's rows
models/<model_id>/       a copy of each model that made vectors
tags.json                names that people gave to versions
staging/<model_id>/      what a refresh that is not done has encoded so far
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
VERSIONS, MODELS, STAGING = "versions", "models", "staging"
# Written last into a model's folder, so that a copy without it is none.
MODEL_LAST_FILE = "config.json"

_LOCKS = {LOCK_FILE, SWAP_LOCK_FILE, "lock.json"}
_CONTENTS = {f"{TABLE}.lance", LIVE_FILE, TAGS_FILE, VERSIONS, MODELS, STAGING} | _LOCKS


class EmbeddingStore:
    """A store in a folder or an object store. Opening one reads nothing; every read opens the table at its version."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.table = ProductTable(storage)

    @classmethod
    def from_uri(cls, where: str | Path) -> Self:
        """The store at a path or URI, whatever is there.

        Raises:
            InvalidData: a URI of a kind that is not known.
        """
        return cls(open_storage(where))

    @classmethod
    def create(cls, where: str | Path) -> Self:
        """The store at a path or URI; it need not be there yet.

        Raises:
            Conflict: the path is a file, or holds something that is no part of a store.
            InvalidData: a URI of a kind that is not known.
        """
        if "://" not in str(where) and Path(where).is_file():
            raise Conflict(f"{where} is a file; expected a folder for the store")
        storage = open_storage(where)
        found = set(storage.list())
        if found - _CONTENTS and LIVE_FILE not in found:
            raise Conflict(f"{where} holds {min(found - _CONTENTS)!r} and is no store; choose another place")
        return cls(storage)

    @classmethod
    def open(cls, where: str | Path) -> Self:
        """The store at a path or URI.

        Raises:
            NotFound: there is none, nothing was ever published in it, or live.json is gone.
            InvalidData: a URI of a kind that is not known.
        """
        store = cls.from_uri(where)
        if not store.storage.exists(LIVE_FILE):
            if store.storage.list(VERSIONS):
                doctor = f"ubm-embed doctor --store {where}"
                raise NotFound(f"no {LIVE_FILE} in the store at {where}, so no version answers; see: {doctor}")
            build = f"ubm-embed build-index --model DIR --products FILE --store {where}"
            raise NotFound(f"no store that answers at {where}; build one: {build}")
        return store

    @property
    def uri(self) -> str:
        """What a person types to name the store."""
        return self.storage.uri

    @contextlib.contextmanager
    def write_lock(self) -> Iterator[None]:
        """Be the only writer inside the block. Readers need no lock.

        Raises:
            Conflict: another process writes.
        """
        with self.storage.lock():
            self.storage.remove_leftovers()
            yield


def version_folder(number: int) -> str:
    """Name of the folder with the manifest and the index of a version."""
    return f"{VERSIONS}/{number}"


def staging_folder(model_id: str) -> str:
    """Name of the folder with what a refresh that is not done has encoded with a model."""
    return f"{STAGING}/{model_id}"


def model_folder(model_id: str) -> str:
    """Name of the folder with the store's copy of a model."""
    return f"{MODELS}/{model_id}"
