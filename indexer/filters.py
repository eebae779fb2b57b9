"""SQL conditions over a version's products: which of them may answer.

Letters: M products.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.table import sentence_of
from ubm_embed.errors import InvalidData

_KEPT = 32


class Filters:
    """Answers conditions in LanceDB's SQL (DataFusion), over a copy in memory that is made when the first one comes.

    Not over the table in the store: a reader holds its version for as long as it likes, also once that is pruned.
    The last conditions are remembered, a byte a product each. Several threads may ask at once.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame
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
            rows = self._table.scanner(columns=[], filter=where, with_row_id=True).to_table().column("_rowid")
        except (ValueError, OSError, RuntimeError) as error:
            raise InvalidData(f"not a condition over the products: {sentence_of(error)}", field="where") from None
        allowed = np.zeros(self._frame.height, bool)
        allowed[rows.to_numpy()] = True
        return allowed

    @cached_property
    def _table(self) -> Any:
        import lance

        # One fragment: a row's id is then its place.
        name = f"memory://{uuid.uuid4().hex}"
        return lance.write_dataset(self._frame.to_arrow(), name, max_rows_per_file=max(self._frame.height, 1))
