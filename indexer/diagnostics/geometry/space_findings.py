"""What a space's figures warn of, and from where on.

The limits were set between what was seen of 256-wide models. Trained: on a shop of 1,500 products, on UCI Online Retail
(pre-trained), and on a made-up shop of a million. Untrained or after two steps: on sample shops of 1,500 and 2,000.

                    trained               untrained
    mean cosine     0.54   0.87   0.37    0.96   0.97
    RankMe          112    68     115     40     10
    skewness        2.2    2.9    0.7     0.9    0.3
    largest hub     0.034  0.038  0.004   0.032  0.020
"""

from __future__ import annotations

from collections.abc import Iterator

from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.geometry.scan import NEIGHBOURS, SpaceScan
from indexer.diagnostics.geometry.space_measures import SpaceMeasures
from ubm_embed.wording import percent

SECTION = "space"
# Between the trained (0.87 at most) and the untrained (0.96 at least). Uniformity is 4 (c - 1) or more where the mean
# cosine is c (Jensen), so that above it the section on alignment names the collapse.
_MAX_COSINE = 0.95
# Of the directions that there are: trained models used 0.27 at least, and 0.16 an untrained one.
_MIN_RANK = 0.1
# Three times the largest of a trained model, and well above what chance makes of a small catalogue, where a product is
# in the lists of K / M of all others.
_MAX_HUB, _MAX_HUB_OVER_CHANCE = 0.1, 10
# Three times that of a trained model; random unit vectors around a mean have up to 3.
_MAX_SKEWNESS = 10
# Different tokens gave different vectors wherever a model was healthy. The margin is for runtimes in half precision,
# which can round two near-duplicates to the same; 1% is no longer rounding.
_MAX_DUPLICATES, _MANY_DUPLICATES = 0.001, 0.01
# A few products without words are an untidy feed; one in a hundred is a missing column or a foreign vocabulary, and one
# in five a shop that cannot be read. The lower end of the interval has to be above.
_MAX_UNREADABLE, _MANY_UNREADABLE = 0.01, 0.2

_BUILD = "`ubm-embed build-index --model DIR --products FILE --store DIR`"


def invalid_vectors(scan: SpaceScan) -> Iterator[Finding]:
    """Vectors that cannot be compared at all."""
    if scan.invalid:
        yield _finding(
            Fault.INVALID_VECTORS,
            Severity.ERROR,
            f"vectors that are not finite, or not of length 1: {scan.invalid:,} of {scan.hashes.size:,}",
            f"they score wrongly for every session; build the store again: {_BUILD}",
        )


def space_findings(measures: SpaceMeasures) -> Iterator[Finding]:
    """In the order of the report."""
    # Vectors that are nearly alike have a low rank for that reason, which the section on alignment names.
    if measures.scan.moments.mean_cosine <= _MAX_COSINE:
        yield from _low_rank(measures)
    yield from _hubs(measures)
    yield from _duplicates(measures)
    yield from _unreadable(measures)


def _finding(fault: Fault, severity: Severity, problem: str, remedy: str) -> Finding:
    return Finding(fault, severity, SECTION, problem, remedy)


def _low_rank(measures: SpaceMeasures) -> Iterator[Finding]:
    limit = _MIN_RANK * measures.max_rank
    if measures.rank_me < limit:
        yield _finding(
            Fault.LOW_RANK,
            Severity.WARNING,
            f"the effective rank of the vectors is {measures.rank_me:.1f} of {measures.max_rank} (RankMe), expected at "
            f"least {limit:.0f}",
            "pre-train with more negatives or from a text encoder: `ubm-embed pretrain --corpus DIR --out DIR "
            "--item-batch N --session-batch N --init DIR`",
        )


def _hubs(measures: SpaceMeasures) -> Iterator[Finding]:
    if measures.occurrences is None or measures.hubs is None:
        return
    largest = measures.hubs.largest.value
    skewness = measures.occurrences.skewness.value
    limit = max(_MAX_HUB, _MAX_HUB_OVER_CHANCE * NEIGHBOURS / measures.hubs.total)
    if largest > limit or skewness > _MAX_SKEWNESS:
        yield _finding(
            Fault.HUBS,
            Severity.WARNING,
            f"one product is among the ten nearest of {percent(largest)} of the others, and the skewness of the "
            f"10-occurrence is {skewness:.1f}",
            "look at the table of hubs: a text of a few common words is near to everything, so complete or remove it; "
            "if they are ordinary products, fine-tune the model: `ubm-embed finetune nip --model DIR --corpus DIR "
            "--out DIR`",
        )


def _duplicates(measures: SpaceMeasures) -> Iterator[Finding]:
    share = measures.duplicates.wrong.value
    if share > _MAX_DUPLICATES:
        yield _finding(
            Fault.DUPLICATE_VECTORS,
            Severity.ERROR if share > _MANY_DUPLICATES else Severity.WARNING,
            f"{percent(share)} of the products have the vector of another product whose text the model reads "
            "differently",
            f"these vectors do not belong to their products; build the store again: {_BUILD}",
        )


def _unreadable(measures: SpaceMeasures) -> Iterator[Finding]:
    share = measures.texts.without_text
    sure = share.value if share.interval is None else share.interval[0]
    if sure > _MAX_UNREADABLE:
        yield _finding(
            Fault.UNREADABLE_TEXTS,
            Severity.ERROR if sure > _MANY_UNREADABLE else Severity.WARNING,
            f"{percent(share.value)} of the products have no words, or most of them unknown to the model: their "
            "vectors say next to nothing",
            "see whether the feed lost its titles: `ubm-embed inspect --corpus DIR`; if it is in another language, "
            "pre-train a model on this catalogue, which learns its words",
        )
