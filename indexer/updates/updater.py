"""Updates of the live version: each publishes one revision of it, with products that were upserted or deleted.

An update takes no lock, which a refresh may hold for hours. It works on what is live, and publishes with a swap that
fails if anything else was published meanwhile: then it begins again on top of that.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from indexer.revisions.compaction import add_rows
from indexer.store.embedding_store import EmbeddingStore
from indexer.updates.current_products import CurrentProducts
from indexer.updates.deletion import Deletion
from indexer.updates.limits import UpdateLimits
from indexer.updates.old_segments import has_segments_of, remove_old_segments, remove_unpublished
from indexer.updates.product_encoder import KnownVectors, ProductEncoder
from indexer.updates.report import UpdateReport
from indexer.updates.update import Outcome, Update
from indexer.updates.upsert import Upsert
from indexer.versions.live import Live, publish_revision, read_live
from indexer.versions.revision import Revision
from indexer.versions.version import read_version
from ubm_embed.data.mappings.mapping import Mapping as ColumnMapping
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.progress import Notice, unsaid

if TYPE_CHECKING:
    from ubm_embed.inference.embedder import Embedder

# Of the writers that try at the same moment one wins, so that many in step are served.
MAX_TRIES = 50
_MAX_WAIT_SECONDS = 0.5


class Updater:
    """Publishes revisions of a store's live version. It keeps what it read, so many updates cost little each.

    Several threads may call it; one update is made at a time.

    Args:
        store: path or URI of the store.
        embedder: is taken for versions of its model; None to open the store's copy once a product is encoded.
        limits: of a revision, and of what is read.
        device: of the model, if it is opened: "auto" takes a GPU if there is one.
        runtime: the text runtime, a `RuntimeName`; None for what reads the model on the device.
        notice: is told what was changed in a file that was read.

    Raises:
        NotFound: there is no store.
    """

    def __init__(
        self,
        store: str | Path | EmbeddingStore,
        *,
        embedder: Embedder | None = None,
        limits: UpdateLimits | None = None,
        device: str = "auto",
        runtime: str | None = None,
        notice: Notice = unsaid,
    ) -> None:
        self._store = store if isinstance(store, EmbeddingStore) else EmbeddingStore.open(store)
        self._limits = limits or UpdateLimits()
        self._notice = notice
        self._encoder = ProductEncoder(self._store, embedder, device, runtime)
        self._current: CurrentProducts | None = None
        self._lock = Lock()

    def upsert(
        self, products: str | Path | Sequence[Mapping[str, Any]], mapping: ColumnMapping | None = None
    ) -> UpdateReport:
        """Add products, or change them: a field that is not given stays as it is, and null clears it.

        Args:
            products: a file or a folder of files, in any format of a catalogue; or products as JSON has them.
            mapping: which columns of the file are what; None if they have our names.

        Raises:
            NotFound: no such file; or the runtime's library is not installed.
            InvalidData: names the file, row and field, from 1 for products as JSON has them. Nothing was changed.
            Conflict: the revision would be larger than the limits, others publish again and again, or the file changed
                while it was read. Nothing was changed.
            QualityGateFailed: a vector is not of length 1. Nothing was changed.
        """
        with self._lock:
            vectors = KnownVectors(self._encoder)
            return self._publish(Upsert(products, mapping, vectors, self._limits, self._notice))

    def delete(self, product_ids: Iterable[str]) -> UpdateReport:
        """Delete products; ids that the store does not have are listed in the report.

        Raises:
            Conflict: as of `upsert`.
        """
        with self._lock:
            return self._publish(Deletion(product_ids, self._limits))

    def close(self) -> None:
        """Release the files of the version and of the model."""
        with self._lock:
            self._encoder.close()
            self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _publish(self, update: Update) -> UpdateReport:
        """Make an update, again and again while others publish in between."""
        started = time.perf_counter()
        for attempt in range(MAX_TRIES):
            live = read_live(self._store)
            try:
                report = self._publish_on(live, update)
            except (Conflict, InvalidData, NotFound, OSError):
                # If others published meanwhile, that may be why: what was read may be gone by now.
                if read_live(self._store) == live:
                    raise
                time.sleep(random.uniform(0, min(_MAX_WAIT_SECONDS, 0.005 * 2**attempt)))
            else:
                return replace(report, seconds=time.perf_counter() - started)
        raise Conflict(f"{self._store.uri} keeps being changed by other processes; nothing was changed; try again")

    def _publish_on(self, live: Live, update: Update) -> UpdateReport:
        current = self._products_of(live)
        outcome = update.outcome(current)
        return self._write(outcome, live, current) if outcome.rows.num_rows else outcome.report

    def _write(self, outcome: Outcome, live: Live, current: CurrentProducts) -> UpdateReport:
        revision = self._written(outcome, live)
        try:
            self._limits.require_bytes(revision.bytes, "the revision would have")
            after = publish_revision(self._store, revision, known=live)
        except Conflict:
            # The answer to a swap that succeeded may be lost, and the swap refused when it is sent again.
            after = read_live(self._store)
            if not has_segments_of(after, live, revision):
                remove_unpublished(self._store, live, revision)
                raise
        remove_old_segments(self._store, live, revision)
        if after.version == live.version and after.revision and after.revision.number == revision.number:
            current.add(outcome.rows, after.revision)  # what was just written need not be read
        return replace(outcome.report, revision=revision.number, published=True)

    def _written(self, outcome: Outcome, live: Live) -> Revision:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write = partial(add_rows, self._store, live.version, live.revision, outcome.rows, now)
        try:
            return write()
        except FileNotFoundError:
            # A refresh that begins at this moment takes the temporary file for that of a writer that was killed.
            return write()

    def _products_of(self, live: Live) -> CurrentProducts:
        """The products of the live version, opened once."""
        if self._current is None or self._current.version.version != live.version:
            self._forget()
            self._current = CurrentProducts.open(self._store, read_version(self._store, live.version))
        self._current.advance(live.revision)
        return self._current

    def _forget(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None
