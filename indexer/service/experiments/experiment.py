"""Experiments: which sessions get answers of which version, by which rules.

name = "autumn"
kind = "ab"                     # or "interleave": the lists of both arms are mixed, and every session gets the mix

[[arms]]
name = "control"
weight = 3

[[arms]]
name = "diverse"
version = "candidate"           # a number or a tag; the live version without it
rules = { diversity = 0.3, where = "in_stock", max_per = { brand = 2 } }
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import accumulate
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field

from indexer.catalogue.condition import check_condition
from indexer.search.limits import Limits
from indexer.search.ranking import MAX_BOOST, Rules
from ubm_embed.errors import InvalidData
from ubm_embed.validation import FrozenModel, TomlModel

_NAME_CHARACTERS = r"[A-Za-z0-9_.-]{1,64}"
_MAX_ARMS = 20


def _checked(rules: Rules) -> Rules:
    """Rules that are refused now rather than in every answer."""
    try:
        Limits().check(1, rules)
        if rules.where is not None:
            check_condition(rules.where)
    except InvalidData as error:
        raise ValueError(f"{error.field}: {error.problem}") from None
    return rules


def _version(value: Any) -> Any:
    if value is None or (type(value) is int and value >= 1) or (isinstance(value, str) and value.strip()):
        return value
    raise ValueError(f"must be the number of a version or a tag, got {value!r}")


_Name = Annotated[str, Field(pattern=f"^{_NAME_CHARACTERS}$")]


class Arm(FrozenModel):
    """Answers that are compared with those of other arms.

    Attributes:
        weight: of all sessions, the arm gets its weight's share of the sum.
        version: a number or a tag of the store; None is whichever is live.
        rules: as a request has them, except `explain`; what they leave out is the request's.
    """

    name: _Name
    weight: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    version: Annotated[int | str | None, BeforeValidator(_version)] = None
    rules: Annotated[Rules, AfterValidator(_checked)] = Rules()


class Experiment(TomlModel):
    """Arms, and how they are compared.

    Attributes:
        kind: "ab" if each session has one arm, "interleave" if each answer is drafted from the lists of two.
        salt: sessions are drawn anew when it changes; the name if it is empty.
        arms: two or more; of an interleaving two. The others are compared with the first.

    Raises:
        ValueError: a value that is wrong, names that are the same, or an interleaving of other than two arms.
    """

    name: _Name
    kind: Literal["ab", "interleave"]
    salt: Annotated[str, Field(max_length=1_000)] = ""
    arms: Annotated[tuple[Arm, ...], Field(min_length=2, max_length=_MAX_ARMS)]

    @pydantic.model_validator(mode="after")
    def _require_comparable_arms(self) -> Self:
        repeated = [name for name, count in Counter(arm.name for arm in self.arms).items() if count > 1]
        if repeated:
            raise ValueError(f"arms must have different names, got {repeated[0]!r} twice")
        if self.is_interleaved and len(self.arms) != 2:
            raise ValueError(f"arms must be two to be interleaved, got {len(self.arms)}")
        if self.is_interleaved and any("weight" in arm.model_fields_set for arm in self.arms):
            raise ValueError("arms must have no weights if they are interleaved")
        return self

    @property
    def is_interleaved(self) -> bool:
        """Whether each answer is drafted from the lists of both arms."""
        return self.kind == "interleave"

    @property
    def interleaved_arm(self) -> str:
        """The name under which interleaved answers are counted; no arm can have it."""
        return "+".join(arm.name for arm in self.arms)

    @property
    def pinned(self) -> tuple[int, ...]:
        """The versions that must stay open beside the live one, after `with_numbers`."""
        return tuple(sorted({arm.version for arm in self.arms if isinstance(arm.version, int)}))

    def with_numbers(self, resolve: Callable[[str], int]) -> Experiment:
        """The same with the numbers of tagged versions, as they are now.

        Args:
            resolve: the number of the version that a tag names, as `versions.tags.resolve_number`.
        """
        arms = (
            arm.model_copy(update={"version": resolve(arm.version)}) if isinstance(arm.version, str) else arm
            for arm in self.arms
        )
        return self.model_copy(update={"arms": tuple(arms)})

    def arm_of(self, session_id: str | None) -> Arm | None:
        """The arm of a session, always the same one, on every machine.

        None for a request without a session, and of an interleaving, whose sessions all get both arms: neither draws.
        """
        if session_id is None or self.is_interleaved:
            return None
        drawn = _uniform(f"{self.salt or self.name}\0{session_id}") * self._ends[-1]
        return self.arms[bisect_right(self._ends, drawn, hi=len(self.arms) - 1)]

    @cached_property
    def _ends(self) -> list[float]:
        """Where the interval of each arm ends, one after the other."""
        return list(accumulate(arm.weight for arm in self.arms))


def apply(arm: Arm, rules: Rules) -> Rules:
    """The rules of a request under those of an arm.

    Both conditions must hold, both exclude, and boosts of one product add up. Of anything else what the request says
    counts, and what it leaves out is the arm's; so `rules` must be made with only those fields that the request has.

    Raises:
        InvalidData: the request's own condition is invalid, which brackets around it could hide.
    """
    if not rules.model_fields_set:
        return arm.rules
    if not arm.rules.model_fields_set:
        return rules
    return Rules(**_fields(arm.rules) | _fields(rules) | _combined(arm.rules, rules))


def _combined(first: Rules, second: Rules) -> dict[str, Any]:
    """The fields to which both contribute."""
    return {
        "where": _both(first.where, second.where),
        "exclude": first.exclude | second.exclude,
        "boost": _sum(first.boost, second.boost),
        "max_per": {**first.max_per, **second.max_per},
    }


def _fields(rules: Rules) -> dict[str, Any]:
    return {name: getattr(rules, name) for name in rules.model_fields_set}


def _both(first: str | None, second: str | None) -> str | None:
    if first is None or second is None:
        return second if first is None else first
    check_condition(second)
    return f"({first}) AND ({second})"


def _sum(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    added = {**first, **second} | {key: first[key] + second[key] for key in first.keys() & second.keys()}
    return {key: max(-MAX_BOOST, min(value, MAX_BOOST)) for key, value in added.items()}


def _uniform(text: str) -> float:
    """A number in [0, 1) that texts are spread over evenly."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
