"""What answers did, as sums over sessions: whole numbers under flat names, so that any store can add them up.

A session is what draws an arm, and its answers resemble each other. So each session adds its counts, their squares and
their products; from these `outcome_report` has the variance between sessions without the sessions themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

OutcomeName = Literal["clicks", "adds", "buys"]
OUTCOMES: tuple[OutcomeName, ...] = ("clicks", "adds", "buys")


class Group(NamedTuple):
    """Answers that are counted together.

    Attributes:
        version: of the store.
        arm: of the experiment; "" without one.
    """

    version: int
    arm: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What one session did with the answers of one group.

    Attributes:
        answers: that it was given.
        clicks, adds, buys: that these led to.
        credits: of interleaved answers, clicks, adds and buys of matches from the first and the second list.
    """

    answers: int = 0
    clicks: int = 0
    adds: int = 0
    buys: int = 0
    credits: tuple[int, int] = (0, 0)

    def with_answer(self) -> Tally:
        """After one more answer."""
        return replace(self, answers=self.answers + 1)

    def with_outcome(self, kind: Literal["click", "add", "buy"], team: int | None = None) -> Tally:
        """After a click, an add or a purchase.

        Args:
            team: 0 or 1, the list that the match was drafted from; None unless the answer was interleaved.
        """
        first, second = self.credits
        return Tally(
            self.answers,
            self.clicks + (kind == "click"),
            self.adds + (kind == "add"),
            self.buys + (kind == "buy"),
            (first + (team == 0), second + (team == 1)),
        )


def changes(before: Tally | None, after: Tally, version: int, arm: str) -> dict[str, int]:
    """What a session adds to the sums of its group when its tally becomes another; those that stay are left out.

    Args:
        before: None if the session was not counted in this group yet.
        arm: without a `/`, as `Arm` takes care of.
    """
    old = _sums(before) if before else {}
    steps = {name: value - old.get(name, 0) for name, value in _sums(after).items()}
    return {f"{version}/{arm}/{name}": step for name, step in steps.items() if step}


def by_group(counts: Mapping[str, int]) -> dict[Group, dict[str, int]]:
    """The sums of each group, oldest version first; keys that are not from `changes` are left out."""
    groups: defaultdict[Group, dict[str, int]] = defaultdict(dict)
    for key, value in counts.items():
        version, _, rest = key.partition("/")
        arm, _, name = rest.partition("/")
        if version.isdecimal() and name in _NAMES:
            groups[Group(int(version), arm)][name] = value
    return {group: groups[group] for group in sorted(groups)}


def _sums(tally: Tally) -> dict[str, int]:
    """What one session adds to the sums of its group."""
    answers, (first, second) = tally.answers, tally.credits
    sums = {"sessions": 1, "answers": answers, "answers_squared": answers * answers}
    for outcome, count in zip(OUTCOMES, (tally.clicks, tally.adds, tally.buys), strict=True):
        sums[outcome] = count
        sums[f"{outcome}_squared"] = count * count
        sums[f"answers_times_{outcome}"] = answers * count
        sums[f"sessions_with_{outcome}"] = int(count > 0)
    return sums | {"won_by_0": int(first > second), "won_by_1": int(second > first), "tied": int(first == second > 0)}


_NAMES = frozenset(_sums(Tally()))
