"""SQL conditions over a version's products: which of them may match.

Letters: M products.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import Lock

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from indexer.search.condition import check_condition
from indexer.store.lance_errors import sentence_of
from ubm_embed.data.arrays import IntArray
from ubm_embed.errors import InvalidData

# 128 conditions over a million products, 12 over ten million.
_CACHE_BYTES = 2**27
# An entry also has its condition, so a small catalogue keeps 2,048 of them and not millions.
_MIN_ENTRY_BYTES = 2**16


class Filters:
    """Answers conditions in LanceDB's SQL (DataFusion).

    The masks of recent conditions are kept, a byte for each product. Several threads may ask at once.

    Args:
        count: M.
        scan: positions of the products that satisfy a condition; its errors are LanceDB's own.
        cache_bytes: how much the kept masks may take; at least one is kept.
    """

    def __init__(self, count: int, scan: Callable[[str], IntArray], cache_bytes: int = _CACHE_BYTES) -> None:
        self._count = count
        self._scan = scan
        self._masks: LRUCache[str, NDArray[np.bool_]] = LRUCache(
            max(cache_bytes, count, _MIN_ENTRY_BYTES), getsizeof=lambda mask: max(mask.nbytes, _MIN_ENTRY_BYTES)
        )
        self._lock = Lock()

    def allowed(self, where: str) -> NDArray[np.bool_]:
        """Which products satisfy a condition such as `price < 50 AND category LIKE 'Shoes%'`: [M]. Do not write to it.

        Raises:
            InvalidData: the condition is invalid, or names a column that is not there.
        """
        with self._lock:
            mask = self._masks.get(where)
            if mask is None:
                mask = self._masks[where] = self._evaluate(where)
            return mask

    def _evaluate(self, where: str) -> NDArray[np.bool_]:
        check_condition(where)
        try:
            # In brackets, so that LanceDB reads it to its end: it stops where an expression is complete.
            positions = self._scan(f"({where})")
        except (ValueError, OSError, RuntimeError) as error:
            raise self._explained(where, error) from None
        mask = np.zeros(self._count, bool)
        mask[positions] = True
        return mask

    def _explained(self, where: str, error: Exception) -> InvalidData:
        """Why LanceDB refuses a condition in brackets, in words that do not speak of these brackets."""
        try:
            self._scan(where)
        except (ValueError, OSError, RuntimeError) as own:
            return InvalidData(f"not a condition over the products: {sentence_of(own)}", field="where")
        rest = re.search(r"Expected: \), found: (.+?)\)", sentence_of(error))
        beginning = f"it ends before {rest[1]!r}" if rest else "only its beginning is one"
        return InvalidData(f"not a single condition: {beginning}; join conditions with AND or OR", field="where")
