"""Which versions answer a session, under which rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from indexer.search.ranking import Rules
from indexer.service.experiments.experiment import Arm, Experiment, apply


class Source(NamedTuple):
    """A version and the rules under which it answers.

    Attributes:
        version: its number; None is the live one.
    """

    version: int | None
    rules: Rules


@dataclass(frozen=True, slots=True)
class Sources:
    """What answers a session.

    Attributes:
        arm: under which the answer is counted; "" without one.
        sources: one, or two whose lists are drafted into one.
    """

    arm: str
    sources: tuple[Source, ...]


class SourceChooser:
    """Chooses what answers the sessions of one request, all with the same rules.

    Args:
        experiment: whose arms have numbers of versions; None without one.

    Raises:
        InvalidData: of `of`: the request's condition is invalid.
    """

    def __init__(self, experiment: Experiment | None, rules: Rules) -> None:
        self._experiment = experiment
        self._without_arm = Sources("", (Source(None, rules),))
        self._rules = rules
        self._by_arm: dict[str, Sources] = {}

    def of(self, session_id: str | None) -> Sources:
        """What answers a session. One without an id takes no part in an experiment."""
        if self._experiment is None or session_id is None:
            return self._without_arm
        if self._experiment.is_interleaved:
            return self._of(self._experiment.interleaved_arm, self._experiment.arms)
        arm = self._experiment.arm_of(session_id)
        return self._without_arm if arm is None else self._of(arm.name, (arm,))

    def _of(self, name: str, arms: tuple[Arm, ...]) -> Sources:
        if name not in self._by_arm:
            self._by_arm[name] = Sources(name, tuple(self._source(arm) for arm in arms))
        return self._by_arm[name]

    def _source(self, arm: Arm) -> Source:
        assert not isinstance(arm.version, str), "tags become numbers when an experiment is opened"
        return Source(arm.version, apply(arm, self._rules))
