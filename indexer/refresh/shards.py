"""The rows that a refresh writes, cut into shards: each is encoded and written by itself, by any worker, once.

staging/<model_id>/<key>.parquet    a shard's rows
staging/<model_id>/<key>.json       {"fragments": [...]}: it is encoded, and where its rows are

A shard's key is a hash of what is in it and of the model. So a refresh that is started again after a crash finds what
is done already, and one that reads another catalogue does not take it for its own.

Letters: M products of the catalogue.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.refresh.catalogue_scan import Feed
from indexer.refresh.changes import Changes
from indexer.storage.storage import Storage
from indexer.store.embedding_store import EmbeddingStore, staging_folder
from indexer.store.product_table import POPULARITY, ROW_HASH, TEXT_HASH
from ubm_embed.errors import Conflict

# Where the vector of a row that is not encoded stands in the live version; null of one that is. No shop's column is
# called so: see `require_storable`.
POSITION = "_row_position"


@dataclass(frozen=True)
class Shard:
    """Some rows to write.

    Attributes:
        key: a hash of what is in it.
        rows: how many there are.
        to_encode: how many of them the model has to read.
    """

    key: str
    rows: int
    to_encode: int


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which products of a catalogue are written, and which of those are encoded.

    Attributes:
        write, encode: [M]; what is encoded is written too.
        model_id: who encodes.
        base: version of the table that the vectors of the others are taken from.
        anew: whether the whole table is written anew.
    """

    write: NDArray[np.bool_]
    encode: NDArray[np.bool_]
    model_id: str
    base: int | None
    anew: bool


def cut(store: EmbeddingStore, feed: Feed, changes: Changes, selection: Selection, *, rows: int) -> Iterator[Shard]:
    """Read the catalogue once more and stage what is selected of it, `rows` a shard.

    Raises:
        Conflict: the catalogue changed since it was read first.
        NotFound, InvalidData: as `Feed.read`.
    """
    for frame in _pieces(_selected(feed, changes, selection), rows):
        key = _key(frame, selection)
        name = rows_file(selection.model_id, key)
        if not store.storage.exists(name):
            buffer = io.BytesIO()
            frame.write_parquet(buffer)
            store.storage.write(name, buffer.getvalue())
        yield Shard(key, frame.height, frame[POSITION].null_count())


def read_shard(storage: Storage, model_id: str, key: str) -> pl.DataFrame:
    """The rows of a shard, with their hashes and `POSITION`."""
    return pl.read_parquet(io.BytesIO(storage.read(rows_file(model_id, key))))


def rows_file(model_id: str, key: str) -> str:
    """Name of the file with the rows of a shard."""
    return f"{staging_folder(model_id)}/{key}.parquet"


def record_file(model_id: str, key: str) -> str:
    """Name of the file that says that a shard is encoded."""
    return f"{staging_folder(model_id)}/{key}.json"


def _selected(feed: Feed, changes: Changes, selection: Selection) -> Iterator[pl.DataFrame]:
    """Batches of the rows to write, as the table has them, with `POSITION`."""
    done = 0
    for batch in feed.batches():
        here = slice(done, done + batch.height)
        done += batch.height
        known = feed.rows[here]
        if not batch.select(known.columns).equals(known):
            raise Conflict(f"{feed.file} changed while it was read; run it again once it is whole")
        kept = pl.Series(changes.positions[here]).set(pl.Series(selection.encode[here]), None)
        batch = batch.with_columns(pl.Series(POPULARITY, changes.popularity[here]), kept.alias(POSITION))
        yield batch.filter(pl.Series(selection.write[here]))
    if done != len(feed):
        raise Conflict(f"{feed.file} changed while it was read; run it again once it is whole")


def _pieces(batches: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows, `rows` a frame but the last."""
    waiting: list[pl.DataFrame] = []
    for batch in batches:
        waiting.append(batch)
        while sum(frame.height for frame in waiting) >= rows:
            joined = pl.concat(waiting)
            yield joined.head(rows)
            waiting = [joined.slice(rows)]
    rest = pl.concat(waiting)
    if rest.height:
        yield rest


def _key(frame: pl.DataFrame, selection: Selection) -> str:
    digest = blake2b(f"{selection.model_id} {selection.base} {selection.anew} {frame.schema}".encode(), digest_size=12)
    # As text: binary forms differ with the chunks that a column happens to lie in.
    contents = frame.select("product_id", pl.col(TEXT_HASH).bin.encode("hex"), ROW_HASH, POPULARITY, POSITION)
    digest.update(contents.write_csv().encode())
    return digest.hexdigest()
