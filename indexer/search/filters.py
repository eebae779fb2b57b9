"""SQL conditions over a version's products: which of them may answer.

Letters: M products.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from indexer.store.lance_errors import sentence_of
from ubm_embed.data.arrays import IntArray
from ubm_embed.errors import InvalidData

_KEPT = 32


class Filters:
    """Answers conditions in LanceDB's SQL (DataFusion).

    The last conditions are remembered, a byte a product each. Several threads may ask at once.

    Args:
        count: M.
        scan: places of the products that satisfy a condition; what is wrong with one is raised as LanceDB raises it.
    """

    def __init__(self, count: int, scan: Callable[[str], IntArray]) -> None:
        self._count = count
        self._scan = scan
        self._kept: OrderedDict[str, NDArray[np.bool_]] = OrderedDict()
        self._lock = Lock()

    def allowed(self, where: str) -> NDArray[np.bool_]:
        """Which products satisfy a condition such as `price < 50 AND category LIKE 'Shoes%'`: [M]. Do not write to it.

        Raises:
            InvalidData: not a condition over the columns there are; says what is wrong with it.
        """
        with self._lock:
            found = self._kept.pop(where, None)
            if found is None:
                found = self._ask(where)
            self._kept[where] = found
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found

    def _ask(self, where: str) -> NDArray[np.bool_]:
        if not where.strip():
            raise InvalidData("expected a condition such as 'price < 50 AND in_stock', got an empty one", field="where")
        try:
            places = self._scan(where)
        except (ValueError, OSError, RuntimeError) as error:
            raise InvalidData(f"not a condition over the products: {sentence_of(error)}", field="where") from None
        allowed = np.zeros(self._count, bool)
        allowed[places] = True
        return allowed
