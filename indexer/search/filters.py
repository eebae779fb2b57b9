"""SQL conditions over a version's products: which of them may match.

Letters: M products.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from indexer.search.condition import check_condition
from indexer.search.refusals import last_resort, refusal
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
        columns: those that conditions may name, for errors.
        cache_bytes: how much the kept masks may take; at least one is kept.
    """

    def __init__(
        self,
        count: int,
        scan: Callable[[str], IntArray],
        columns: Sequence[str] = (),
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        self._count = count
        self._scan = scan
        self._columns = columns
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
            raise InvalidData(
                f"not a condition over the products: {self._explained(where, error)}", field="where"
            ) from None
        except InvalidData as error:  # of a table on disk, which cannot tell a bad condition from damage
            if (why := refusal(error, self._columns)) is None:
                raise
            raise InvalidData(f"not a condition over the products: {why}", field="where") from None
        mask = np.zeros(self._count, bool)
        mask[positions] = True
        return mask

    def _explained(self, where: str, error: Exception) -> str:
        """Why LanceDB refuses a condition in brackets, in words that do not speak of these brackets."""
        rest = re.search(r"Expected: \), found: (.+?)\)", " ".join(str(error).split()))
        if rest:
            return f"it ends before {rest[1]!r}; join conditions with AND or OR"
        try:
            self._scan(where)
        except (ValueError, OSError, RuntimeError) as own:
            return refusal(own, self._columns) or last_resort(own)
        return "only its beginning is one; join conditions with AND or OR"
