"""Hashes of product ids, by which a product is found without all ids in memory."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_BYTES = 8


def id_hashes(product_ids: Iterable[str]) -> NDArray[np.uint64]:
    """A hash of 64 bits for each id, the same on every machine and in every process: [K]."""
    # Half of a character has a hash, too, so that it is looked up and not found.
    digests = (blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest() for name in product_ids)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64, copy=False)
