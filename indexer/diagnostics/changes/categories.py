"""Which categories moved while the rest stayed.

Letters: P products of both versions, N of a sample of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from indexer.diagnostics.changes.commands import rollback_to
from indexer.diagnostics.changes.common_products import CommonProducts
from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.report import Better, Chart, ChartKind, Metric, Table
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import VersionSpace
from ubm_embed.data.arrays import IntArray
from ubm_embed.evaluation.group_shift import GroupShift, group_shifts
from ubm_embed.wording import counted, visible

# The mean of fewer vectors moves by as much as the limit if two of them get a new text.
_MIN_SIZE = 20
# Chance of a false alarm over all categories together.
_LEVEL = 0.05
_SHOWN, _NAMED = 12, 3
_NO_CATEGORY = "(without a category)"


@dataclass(frozen=True)
class CategoryShifts:
    """How far the mean vector of each category moved beyond the whole, the furthest first.

    Attributes:
        names: of the categories, by the numbers in `shifts`.
        limit: how far the whole may move at a refresh. A category that moves further than that on its own is worth a
            look as well.
    """

    shifts: Sequence[GroupShift]
    names: Sequence[str]
    limit: float

    @classmethod
    def measure(cls, common: CommonProducts, settings: DiagnosisSettings, limit: float) -> Self:
        """Of a sample of the products of both versions, in which small categories have as many as large ones.

        A product counts for its category in the later version.
        """
        numbers, names = common.after.categories()
        groups = numbers[common.rows_after]
        groups = np.where(groups < 0, len(names), groups)
        chosen = _spread(groups, settings.sample, settings.seed)
        before, after = common.take(chosen).vectors()
        shifts = group_shifts(
            after - before, groups[chosen], min_size=_MIN_SIZE, rounds=settings.rounds, seed=settings.seed
        )
        # One alone has no rest to be compared with.
        return cls(shifts if len(shifts) > 1 else [], [*map(visible, names), _NO_CATEGORY], limit)

    @property
    def shifted(self) -> list[GroupShift]:
        """Those that moved too far, and further than by chance."""
        return [one for one in self.shifts if one.distance > self.limit and one.p_value < _LEVEL]

    def metrics(self) -> list[Metric]:
        """`category_shift`, if there are categories large enough."""
        if not self.shifts:
            return []
        furthest = self.shifts[0]
        return [
            Metric(
                name="category_shift",
                value=furthest.distance,
                measured_on=f"{sum(one.size for one in self.shifts):,} products of {len(self.shifts):,} categories",
                better=Better.LOWER,
                meaning=f"distance that the mean vector of {self.names[furthest.group]} moved beyond the whole, the "
                f"furthest of all categories; below {self.limit:g} after a usual night",
            )
        ]

    def findings(self, before: VersionSpace) -> list[Finding]:
        """One for all categories that shifted."""
        shifted = self.shifted
        if not shifted:
            return []
        names = ", ".join(f"{self.names[one.group]} by {one.distance:.2f}" for one in shifted[:_NAMED])
        rest = f" and {len(shifted) - _NAMED} more" if len(shifted) > _NAMED else ""
        moved = f"{counted(len(shifted), 'category', 'categories')} moved while the rest stayed"
        problem = f"{moved}: {names}{rest} (at most {self.limit:g} expected)"
        remedy = (
            "look at the texts of its products in the feed: a field that was dropped or renamed for one category moves "
            f"it; mend the feed and refresh, or go back: {rollback_to(before)}"
        )
        return [Finding(Fault.SHIFTED_CATEGORY, Severity.WARNING, "changes", problem, remedy)]

    def table(self) -> Table:
        """The categories that moved furthest."""
        rows = [
            (self.names[one.group], one.size, round(one.distance, 4), round(one.p_value, 4))
            for one in self.shifts[:_SHOWN]
        ]
        caption = "How far the mean vector of a category moved beyond the whole. P-values hold for all together."
        return Table("categories", caption, ("category", "products compared", "moved by", "p-value"), rows)

    def chart(self) -> Chart:
        """The same as bars."""
        return Chart(
            name="category_shift",
            kind=ChartKind.BARS,
            title="Categories that moved furthest beyond the whole",
            rows=[
                {"name": "moved by", "group": self.names[one.group], "value": one.distance, "count": one.size}
                for one in self.shifts[:_SHOWN]
            ],
            good=f"no bar reaches the line at {self.limit:g}",
            remedy="look at the feed of a category that stands out: were its texts meant to change?",
            x="category",
            y="distance that the mean vector moved",
            reference=self.limit,
        )


def _spread(groups: NDArray[np.int32], count: int, seed: int) -> IntArray:
    """Indices of at most `count`, of the groups in turn, so that each gets its share: [N] ascending.

    If there are more groups than `count` can give enough members, the largest are chosen.
    """
    order = np.random.default_rng([seed, 7]).permutation(groups.size)
    sizes = np.bincount(groups)
    numbers = np.argsort(-sizes, kind="stable")[: max(count // _MIN_SIZE, 1)]
    numbers = numbers[sizes[numbers] > 0]
    ordered = groups[order]
    share = max(count // max(numbers.size, 1), 1)
    parts = [order[np.flatnonzero(ordered == number)[:share]] for number in numbers]
    return np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int64)
