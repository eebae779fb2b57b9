"""SQL conditions over a version's products: which of them may match.

Letters: M products.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from indexer.catalogue.condition import check_condition
from indexer.catalogue.refusals import last_resort, refusal
from indexer.catalogue.single_flight_cache import SingleFlightCache
from indexer.index.selection import Selection
from ubm_embed.data.arrays import IntArray
from ubm_embed.errors import InvalidData

# At least 14 conditions over a million products, and over a hundred if few products satisfy each.
_CACHE_BYTES = 2**27


class Filters:
    """Answers conditions in LanceDB's SQL (DataFusion).

    The selections of recent conditions are kept. Several threads may ask at once: a condition is evaluated once, and
    holds up only those who ask for the same.

    Args:
        count: M.
        scan: positions of the products that satisfy a condition; its errors are LanceDB's own, or TimeoutError.
        columns: those that conditions may name, for errors.
        cache_bytes: how much the kept selections may take; at least one is kept.
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
        self._selections = SingleFlightCache[str, Selection](cache_bytes, lambda selection: selection.nbytes)

    @property
    def nbytes(self) -> int:
        """Bytes of the selections that are kept."""
        return self._selections.nbytes

    def where(self, condition: str) -> Selection:
        """The products that satisfy a condition such as `price < 50 AND category LIKE 'Shoes%'`.

        Raises:
            InvalidData: the condition is invalid, names a column that is not there, or takes too long.
        """
        return self._selections.get(condition, lambda: self._evaluate(condition))

    def _evaluate(self, where: str) -> Selection:
        check_condition(where)
        try:
            # In brackets, so that LanceDB reads it to its end: it stops where an expression is complete.
            positions = self._scan(f"({where})")
        except TimeoutError:
            raise InvalidData(
                "takes too long over so many products; expected a simpler condition", field="where"
            ) from None
        except (ValueError, OSError, RuntimeError) as error:
            raise InvalidData(
                f"not a condition over the products: {self._explained(where, error)}", field="where"
            ) from None
        return Selection.from_positions(positions, self._count)

    def _explained(self, where: str, error: Exception) -> str:
        """Why LanceDB refuses a condition in brackets, in words that do not speak of these brackets."""
        rest = re.search(r"Expected: \), found: (.+?)\)", " ".join(str(error).split()))
        if rest:
            return f"it ends before {rest[1]!r}; join conditions with AND or OR"
        try:
            self._scan(where)
        except TimeoutError:
            return refusal(error, self._columns) or last_resort(error)
        except (ValueError, OSError, RuntimeError) as own:
            return refusal(own, self._columns) or last_resort(own)
        return "only its beginning is one; join conditions with AND or OR"
