"""The sample shop: a corpus for the demo, the tests and runs at scale. Everything in it is generated.

No product, brand, shopper or session is real: products are combined from `product_types` and `vocabulary`, and sessions
come from the model of a shopper in `shopper`. Figures on this shop show how the software works, not how well a model
does in a real one.

The last 2% of the products are new: no session holds them, so that only their text can find them. A shop of fewer than
50 products has no new ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ubm_embed.data.corpus import INTERACTIONS_FILE, PRODUCTS_FILE
from ubm_embed.data.sample_shop.catalogue import SampleCatalogue, numbered, product_ids
from ubm_embed.data.sample_shop.shelf import Shelf
from ubm_embed.data.sample_shop.shopper import visits
from ubm_embed.data.sample_shop.visits import MAX_LENGTH, Visits
from ubm_embed.data.session import ACTIONS
from ubm_embed.errors import InvalidData
from ubm_embed.outputs import output_folder
from ubm_embed.progress import Progress, silent

_CHUNK = 4096  # visits that are simulated together and make a row group
_PRODUCT_ROWS = 65_536  # in a row group
_PRODUCTS, _SHELF, _VISITS = range(3)  # independent streams of random numbers

_OPENED = np.datetime64("2025-03-01T00:00:00", "us")
_DAYS = 30


def write_sample_shop(
    folder: str | Path,
    *,
    products: int = 2000,
    sessions: int = 20_000,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = silent,
) -> None:
    """Write a made-up shop as a corpus folder, with `price` and `in_stock` columns for filters.

    The same arguments give the same files. The first sessions stay the same when more are asked for, so sessions are
    not in the order of their timestamps. Memory grows with the products (about 150 bytes each), not with the sessions.

    Raises:
        Conflict: `folder` exists and `overwrite` is false.
        InvalidData: `products` or `sessions` below 1, or `seed` below 0.
    """
    for field, number, minimum in (("products", products, 1), ("sessions", sessions, 1), ("seed", seed, 0)):
        if number < minimum:
            raise InvalidData(f"expected at least {minimum}, got {number}", field=field)
    with output_folder(folder, overwrite=overwrite) as aside:
        catalogue = SampleCatalogue.generate(np.random.default_rng([seed, _PRODUCTS]), products)
        _write(aside / PRODUCTS_FILE, _product_tables(catalogue, progress))
        _write(aside / INTERACTIONS_FILE, _session_tables(catalogue, sessions, seed, progress))


def _product_tables(catalogue: SampleCatalogue, progress: Progress) -> Iterator[pa.Table]:
    """The rows of products.parquet, `_PRODUCT_ROWS` at a time."""
    for first in range(0, catalogue.size, _PRODUCT_ROWS):
        last = min(first + _PRODUCT_ROWS, catalogue.size)
        yield catalogue.table(first, last)
        progress("products", last, catalogue.size)


def _session_tables(catalogue: SampleCatalogue, sessions: int, seed: int, progress: Progress) -> Iterator[pa.Table]:
    """The rows of interactions.parquet, `_CHUNK` sessions at a time; each chunk has its own random numbers."""
    shelf = Shelf.from_catalogue(catalogue, np.random.default_rng([seed, _SHELF]))
    for first in range(0, sessions, _CHUNK):
        rng = np.random.default_rng([seed, _VISITS, first])
        last = min(first + _CHUNK, sessions)
        yield _table(visits(catalogue, shelf, rng, _CHUNK), rng, first, last)
        progress("sessions", last, sessions)


def _table(batch: Visits, rng: np.random.Generator, first: int, last: int) -> pa.Table:
    """Visits as rows, with session numbers [first, last)."""
    count = last - first
    times = _timestamps(rng, batch.lengths.size)
    session, position = np.nonzero(np.arange(MAX_LENGTH) < batch.lengths[:count, None])
    sessions = numbered("s", pa.array(np.arange(first, last)))
    users = numbered("u", pa.array(first + batch.users[:count]))
    phrases = batch.phrases[session, position]
    return pa.table(
        {
            "session_id": sessions.take(pa.array(session)),
            "position": pa.array(position, pa.int32()),
            "action": pa.array([str(action) for action in ACTIONS]).take(pa.array(batch.actions[session, position])),
            "product_id": product_ids(batch.products[session, position]),
            "query": pa.array(batch.searched, pa.string()).take(pa.array(phrases, mask=phrases < 0)),
            "timestamp": pa.array(times[session, position]),
            "user_id": users.take(pa.array(session)),
        }
    )


def _timestamps(rng: np.random.Generator, count: int) -> NDArray[np.datetime64]:
    """[count, S]: visits begin at any time of the month; mostly 10 to 60 seconds lie between two interactions."""
    begins = rng.random(count) * _DAYS * 86_400
    gaps = np.exp(rng.normal(3.2, 0.9, size=(count, MAX_LENGTH)))
    seconds = begins[:, None] + np.cumsum(gaps, axis=1)
    moments: NDArray[np.datetime64] = _OPENED + np.floor(seconds).astype("timedelta64[s]")
    return moments


def _write(file: Path, tables: Iterator[pa.Table]) -> None:
    """Write each table as a row group."""
    first = next(tables)
    with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)
