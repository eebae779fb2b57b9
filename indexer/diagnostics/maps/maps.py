"""The section of maps: products and sessions in two dimensions, and sessions by their kinds (figure 4).

Letters: K points, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from indexer.diagnostics.maps.categories import groups_of
from indexer.diagnostics.maps.projection import MIN_POINTS, MapMethod, Projection, project
from indexer.diagnostics.maps.separation import separation
from indexer.diagnostics.maps.session_map import session_map
from indexer.diagnostics.maps.sessions import MappedSessions
from indexer.diagnostics.report import Better, Chart, ChartKind, Metric, Section
from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import Space, sample_rows, title_of
from ubm_embed.data.arrays import FloatArray
from ubm_embed.progress import Progress, silent
from ubm_embed.wording import counted

Row = dict[str, Any]

# More points lie on one another, and a page holds no more.
_PRODUCTS, _SESSIONS = 1500, 300
_GOOD = (
    "products of a category together, in several patches rather than one; sessions among the products that they are "
    "about"
)
_REMEDY = (
    "one patch of all colours: see the spectrum and the mean cosine of random pairs. Sessions far from all products: "
    "see the recall for session vectors"
)


def map_section(
    space: Space,
    sample: SessionSample | None,
    settings: DiagnosisSettings,
    method: MapMethod = MapMethod.PCA,
    progress: Progress = silent,
) -> Section:
    """A map of products and sessions, and what sessions stand together by.

    Raises:
        NotFound: openTSNE or scikit-learn is not installed.
    """
    progress("drawing maps", 0, 3)
    rows = sample_rows(space, min(_PRODUCTS, settings.sample), settings.seed)
    vectors, points = space.vectors(rows), _product_points(space, rows)
    sessions = _sessions(space, sample, settings)
    progress("drawing maps", 1, 3)
    if sessions is not None:
        vectors, points = np.concatenate([vectors, sessions.vectors]), [*points, *_session_points(sessions)]
    if len(points) < MIN_POINTS:
        return Section(name="map", title="Map", notes=(f"a map needs {MIN_POINTS} products or sessions",))
    projection = project(vectors, method, settings.seed)
    progress("drawing maps", 2, 3)
    metrics, charts = _metrics(vectors, projection), [_map(points, projection, len(rows), len(space))]
    if sessions is not None and len(sessions.vectors) >= MIN_POINTS:
        charts.extend(filter(None, [session_map(sessions, method, settings.seed)]))
        metrics.extend(separation(sessions, settings))
    progress("drawing maps", 3, 3)
    return Section(name="map", title="Map", metrics=tuple(metrics), charts=tuple(charts))


def _sessions(space: Space, sample: SessionSample | None, settings: DiagnosisSettings) -> MappedSessions | None:
    if sample is None:
        return None
    return MappedSessions.read(sample.corpus, space.embedder, min(_SESSIONS, settings.sessions), settings.seed)


def _product_points(space: Space, rows: np.ndarray[Any, Any]) -> list[Row]:
    return [
        {"subject": "product", "label": title_of(product), "category": product.category}
        for product in space.products(rows)
    ]


def _session_points(sessions: MappedSessions) -> list[Row]:
    return [
        {"subject": "session", "label": label, "category": category}
        for label, category in zip(sessions.labels, sessions.categories, strict=True)
    ]


def _map(points: Sequence[Row], projection: Projection, products: int, of: int) -> Chart:
    groups = groups_of([point["category"] for point in points])
    rows = [
        {**point, "x": x, "y": y, "category": group}
        for point, (x, y), group in zip(points, projection.plane.tolist(), groups, strict=True)
    ]
    shown = f"{products:,} of {counted(of, 'product')}" if products < of else counted(of, "product")
    title = f"{shown} and {counted(len(points) - products, 'session')}" if len(points) > products else shown
    return Chart(
        name="map",
        kind=ChartKind.MAP,
        title=f"Map of {title} ({projection.words})",
        rows=rows,
        good=_GOOD,
        remedy=_REMEDY,
        x=projection.axes[0],
        y=projection.axes[1],
    )


def _metrics(vectors: FloatArray, projection: Projection) -> list[Metric]:
    from ubm_embed.evaluation.trustworthiness import trustworthiness

    measured_on = counted(len(vectors), "point")
    trust = Metric(
        name="map_trustworthiness",
        value=trustworthiness(vectors, projection.plane),
        measured_on=measured_on,
        better=Better.HIGHER,
        meaning="how far neighbours on the map are neighbours in the space (Venna and Kaski 2001): 1 all, about 0.5 as "
        "by chance; below 0.8 read no neighbourhoods from the map",
    )
    if projection.explained is None:
        return [trust]
    explained = Metric(
        name="map_explained_share",
        value=projection.explained,
        measured_on=measured_on,
        meaning="the variance that the map's two axes hold; the rest is not on the map, and a healthy space has most "
        "of it there",
    )
    return [trust, explained]
