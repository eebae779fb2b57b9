"""How alike two rankings are: rank-biased overlap (Webber, Moffat and Zobel 2010, "A similarity measure for
indefinite rankings").

Letters: S and L items of the shorter and the longer ranking.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

# Of the measure's weight, the first ten ranks have 86% (equation 21 of the paper).
PERSISTENCE = 0.9


def rank_biased_overlap(first: Sequence[Hashable], second: Sequence[Hashable], p: float = PERSISTENCE) -> float:
    """RBO_ext, equation 32: the agreement of two rankings at every depth, as if it went on beyond their ends.

    From 0, no item in common, to 1, the same items in the same order; the first ranks weigh most. Two empty rankings
    are alike, and one that is empty has nothing in common with another.

    Args:
        first, second: without repetition, best first; one may be shorter.
        p: persistence, between 0 and 1: how slowly the weight of a rank falls.

    Raises:
        ValueError: a ranking repeats an item, or p is not between 0 and 1.
    """
    if not 0 < p < 1:
        raise ValueError(f"p must be between 0 and 1, got {p:g}")
    for name, ranking in (("first", first), ("second", second)):
        if len({*ranking}) != len(ranking):
            raise ValueError(f"the {name} ranking repeats an item")
    shorter, longer = sorted((first, second), key=len)
    if not shorter:
        return float(not longer)
    overlaps = _overlaps(shorter, longer)
    short, long = len(shorter), len(longer)
    total = sum(overlap / depth * p**depth for depth, overlap in enumerate(overlaps, start=1))
    at_short = overlaps[short - 1]
    # Beyond its end the shorter ranking is taken to agree as far as it did there.
    total += sum(at_short * (depth - short) / (short * depth) * p**depth for depth in range(short + 1, long + 1))
    beyond = (overlaps[-1] - at_short) / long + at_short / short
    return (1 - p) / p * total + beyond * p**long


def _overlaps(shorter: Sequence[Hashable], longer: Sequence[Hashable]) -> list[int]:
    """How many items the rankings have in common down to each depth, from 1 to the length of the longer: [L]."""
    seen_short: set[Hashable] = set()
    seen_long: set[Hashable] = set()
    overlaps = []
    for depth, item in enumerate(longer):
        seen_long.add(item)
        if depth < len(shorter):
            seen_short.add(shorter[depth])
        overlaps.append(len(seen_short & seen_long))
    return overlaps
