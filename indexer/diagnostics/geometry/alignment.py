"""Alignment and uniformity of products and of sessions, and the plane of the paper's figure 6.

Letters: N vectors, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from indexer.diagnostics.estimate import Estimate
from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.geometry.scan import UnitVectors
from indexer.diagnostics.geometry.views import MASKED, REORDERED, Views, product_views, session_views
from indexer.diagnostics.report import Better, Chart, ChartKind, Metric, Section
from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import Space
from ubm_embed.data.arrays import FloatArray
from ubm_embed.evaluation.uniformity import alignment, alignment_interval, uniformity, uniformity_interval
from ubm_embed.inference.embedder import Embedder
from ubm_embed.progress import Progress, silent

SECTION = "alignment"
# With fewer vectors a bootstrap has too few different resamples for an interval.
_MIN_VECTORS = 10
# Above it, vectors are nearly alike. Products of trained models had -0.53, -1.73 and -2.33, of an untrained one -0.16,
# after two steps -0.11, and in a run that collapsed -0.1. If all cosines are c, it is 4 (c - 1): this is c = 0.95.
_MAX_UNIFORMITY = -0.2
# Squared distance of sessions and their reordered copies, below which order changes no answer to speak of: scores move
# by 0.03 at most. Stage 2 of pre-training has such copies as positives: it left 0.05 on one corpus, 0.0001 on another.
_MIN_REORDERED = 0.001

_PREFIX = {"products": "", "sessions": "session_"}
_UNIFORMITY = "how evenly {} spread over the sphere: 0 if all are alike, below -0.2 in a trained model"
_ALIGNMENT = "mean squared distance between {}: 0 if they have one vector, 2 if they are unrelated"
_MEANINGS = {
    "uniformity": _UNIFORMITY.format("products"),
    "alignment": _ALIGNMENT.format("a product and its copy with 15% of its words masked or replaced"),
    "session_uniformity": _UNIFORMITY.format("sessions"),
    "session_alignment_masked": _ALIGNMENT.format("a session and its copy with 15% of its tokens masked or replaced"),
    "session_alignment_reordered": _ALIGNMENT.format("a session and its copy with two interactions swapped"),
}


@dataclass(frozen=True)
class _Estimates:
    """Of products or of sessions, by metric; and how many have a vector that is not finite."""

    estimates: Mapping[str, Estimate]
    damaged: int


@dataclass(frozen=True)
class _Geometry:
    """Alignment and uniformity of one space.

    Attributes:
        estimates: by metric; empty for a single product, which has no pair.
        damaged: of how many products and sessions the model makes vectors that are not finite.
    """

    space: str
    estimates: Mapping[str, Estimate]
    damaged: Mapping[str, int]


def alignment_section(
    spaces: Sequence[Space],
    sample: SessionSample | None,
    settings: DiagnosisSettings,
    progress: Progress = silent,
) -> Section:
    """Metrics of the first space, and the plane of all of them.

    Args:
        spaces: at least one.
        sample: sessions that each space's model reads; None for products only.
    """
    measured, sessions = [], dict[Embedder, dict[str, _Estimates]]()
    for number, space in enumerate(spaces):
        progress("alignment and uniformity", number, len(spaces), space.name)
        model = space.embedder
        if model not in sessions:  # versions that share their model read sessions alike
            sessions[model] = {} if sample is None else {"sessions": _sessions(model, sample, settings)}
        measured.append(_measure(space, sessions[model], settings))
    progress("alignment and uniformity", len(spaces), len(spaces))
    first = measured[0].estimates
    return Section(
        name=SECTION,
        title="Alignment and uniformity",
        metrics=tuple(_metric(name, estimate) for name, estimate in first.items()),
        charts=(_plane(measured),) if first else (),
        findings=tuple(_findings(measured)),
        notes=tuple(_notes(first)),
    )


def _measure(space: Space, sessions: Mapping[str, _Estimates], settings: DiagnosisSettings) -> _Geometry:
    if len(space) < 2:
        return _Geometry(space.name, {}, {})
    measured = {"products": _products(space, settings), **sessions}
    return _Geometry(
        space.name,
        {name: estimate for part in measured.values() for name, estimate in part.estimates.items()},
        {subject: part.damaged for subject, part in measured.items()},
    )


def _products(space: Space, settings: DiagnosisSettings) -> _Estimates:
    sampled = UnitVectors.draw(space, settings.sample, settings.seed).vectors
    products, total = product_views(space, settings.texts, settings.seed), f"{len(space):,} products"
    found, views = dict[str, Estimate](), products.sound()
    if min(len(sampled), len(views.vectors)) > 1:
        found["uniformity"] = _uniformity(sampled, total, settings, is_all=len(sampled) == len(space))
        found["alignment"] = _alignment(views, MASKED, total, settings)
    return _Estimates(found, int(products.damaged.sum()))


def _sessions(embedder: Embedder, sample: SessionSample, settings: DiagnosisSettings) -> _Estimates:
    sessions, total = session_views(embedder, sample, settings.seed), f"{sample.total:,} sessions"
    found, views = dict[str, Estimate](), sessions.sound()
    if len(views.vectors) > 1:
        found["session_uniformity"] = _uniformity(views.vectors, total, settings)
        found["session_alignment_masked"] = _alignment(views, MASKED, total, settings)
        found["session_alignment_reordered"] = _alignment(views, REORDERED, total, settings)
    return _Estimates(found, int(sessions.damaged.sum()))


def _uniformity(vectors: FloatArray, total: str, settings: DiagnosisSettings, *, is_all: bool = False) -> Estimate:
    interval = None
    if len(vectors) >= _MIN_VECTORS and not is_all:
        interval = uniformity_interval(vectors, rounds=settings.rounds, seed=settings.seed)
    return Estimate(uniformity(vectors), interval, f"{len(vectors):,} of {total}")


def _alignment(views: Views, augmentation: str, total: str, settings: DiagnosisSettings) -> Estimate:
    pairs, interval = (views.vectors, views.copies[augmentation]), None
    if len(views.vectors) >= _MIN_VECTORS:
        interval = alignment_interval(*pairs, rounds=settings.rounds, seed=settings.seed)
    return Estimate(alignment(*pairs), interval, f"{len(views.vectors):,} of {total}")


def _metric(name: str, estimate: Estimate) -> Metric:
    return estimate.metric(name, _MEANINGS[name], Better.LOWER)


def _plane(measured: Sequence[_Geometry]) -> Chart:
    return Chart(
        name="alignment_uniformity",
        kind=ChartKind.PLANE,
        title="Alignment and uniformity (figure 6 of the paper)",
        rows=[row for geometry in measured for row in _points(geometry)],
        good="low on both axes: copies stay near (alignment), and all else is spread out (uniformity). Above the "
        "dashed line vectors are nearly alike",
        remedy="uniformity near 0: pre-train longer, with larger batches or a lower learning rate. Alignment near 2: "
        "the model takes a text and its masked copy for different products; pre-train with item token masking",
        reference=_MAX_UNIFORMITY,
    )


def _points(geometry: _Geometry) -> Iterator[dict[str, Any]]:
    """A point for products, and one for sessions, with masking as the augmentation, as in the figure."""
    estimates = geometry.estimates
    for subject, aligned in (("products", "alignment"), ("sessions", "session_alignment_masked")):
        spread = estimates.get(f"{_PREFIX[subject]}uniformity")
        if spread is not None:
            yield {
                "name": geometry.space,
                "subject": subject,
                **_coordinate("alignment", estimates[aligned]),
                **_coordinate("uniformity", spread),
            }


def _coordinate(name: str, estimate: Estimate) -> dict[str, float]:
    ends = (
        {} if estimate.interval is None else dict(zip((f"{name}_low", f"{name}_high"), estimate.interval, strict=True))
    )
    return {name: estimate.value, **ends}


def _findings(measured: Sequence[_Geometry]) -> Iterator[Finding]:
    for geometry in measured:
        yield from _damaged(geometry)
        for subject, prefix in _PREFIX.items():
            spread = geometry.estimates.get(f"{prefix}uniformity")
            if spread is not None and spread.value > _MAX_UNIFORMITY:
                yield Finding(
                    Fault.COLLAPSED,
                    Severity.ERROR,
                    SECTION,
                    f"{subject} of {geometry.space} have nearly one vector: uniformity is {spread.value:.3f}",
                    "the model is untrained or collapsed: pre-train it longer, or with a lower rate if uniformity rose "
                    "during training: `ubm-embed pretrain --corpus DIR --out DIR --learning-rate RATE`",
                )


def _damaged(geometry: _Geometry) -> Iterator[Finding]:
    for subject, number in geometry.damaged.items():
        if number:
            yield Finding(
                Fault.INVALID_VECTORS,
                Severity.ERROR,
                SECTION,
                f"the model of {geometry.space} makes vectors of {number:,} sampled {subject} that are not finite",
                "its weights are damaged: put its files back, or train it anew, with a lower rate if it diverged: "
                "`ubm-embed diagnose --run DIR`",
            )


def _notes(estimates: Mapping[str, Estimate]) -> Iterator[str]:
    if not estimates:
        yield "fewer than two vectors to compare"
    reordered = estimates.get("session_alignment_reordered")
    if reordered is not None and reordered.value < _MIN_REORDERED:
        yield "the order of interactions hardly changes a session's vector; if it should, fine-tune for next items"
