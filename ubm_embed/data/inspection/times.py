"""Timestamps: their range, gaps and precision, and what cannot be right."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.inspection.numbered_corpus import NumberedCorpus

_SECOND, _MINUTE, _HOUR = 1_000_000, 60_000_000, 3_600_000_000
_DAY = 24 * _HOUR
# No shop wrote an event log earlier: such a time comes from a wrong unit or from an empty field.
_EARLIEST = 20 * 365 * _DAY + 5 * _DAY  # 1990-01-01
_NIGHT = 6  # hours that are compared with each other


@dataclass(frozen=True)
class TimeStatistics:
    """Times in UTC; shares are of interactions with a timestamp unless it says otherwise.

    Attributes:
        missing_share: interactions without a timestamp, of all.
        first, last: the earliest and the latest; None without timestamps.
        days: days from the first to the last, both included.
        empty_days: of these, days without an interaction.
        longest_gap_days: the most of them in a row.
        future_share: later than now.
        early_share: before 1990.
        precision: "days", "minutes", "seconds" or "below a second": the coarsest unit that all times keep to.
        backwards_share: sessions in which a timestamp is earlier than the one before.
        same_time_share: sessions of two interactions or more with one and the same timestamp, of such sessions.
        long_sessions_share: sessions that last longer than a day.
        median_minutes: length of a session of two interactions or more.
        hours: [24] interactions by hour of the day.
        quietest_hour: when the six hours with the fewest interactions begin.
        night_ratio: interactions of these hours over those of the six busiest; near 1, there is no night.
    """

    missing_share: float
    first: datetime | None
    last: datetime | None
    days: int
    empty_days: int
    longest_gap_days: int
    future_share: float
    early_share: float
    precision: str | None
    backwards_share: float
    same_time_share: float
    long_sessions_share: float
    median_minutes: float
    hours: tuple[int, ...]
    quietest_hour: int | None
    night_ratio: float | None

    @classmethod
    def measure(cls, corpus: NumberedCorpus, *, now: datetime) -> TimeStatistics:
        """Look at the timestamps of a corpus.

        Args:
            now: what a time must not be later than; UTC if it names no zone.
        """
        timed, times = corpus.timed, corpus.times[corpus.timed]
        missing = float(1 - timed.mean()) if timed.size else 0.0
        if not times.size:
            return cls(missing, None, None, 0, 0, 0, 0.0, 0.0, None, 0.0, 0.0, 0.0, 0.0, (0,) * 24, None, None)
        days, gaps = _days(times)
        hours = np.bincount(times // _HOUR % 24, minlength=24)
        quietest, ratio = _night(hours)
        present = (now if now.tzinfo else now.replace(tzinfo=UTC)).timestamp() * _SECOND
        return cls(
            missing_share=missing,
            first=_moment(times.min()),
            last=_moment(times.max()),
            days=days,
            empty_days=int(gaps.sum()),
            longest_gap_days=int(gaps.max(initial=0)),
            future_share=float((times > present).mean()),
            early_share=float((times < _EARLIEST).mean()),
            precision=_precision(times),
            **_within_sessions(corpus),
            hours=tuple(map(int, hours)),
            quietest_hour=quietest,
            night_ratio=ratio,
        )


def _days(times: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
    """The number of days from the first to the last, and the lengths of the gaps between days with interactions."""
    days = np.unique(times // _DAY)
    return int(days[-1] - days[0] + 1), np.diff(days) - 1


def _precision(times: NDArray[np.int64]) -> str:
    for name, unit in (("days", _DAY), ("minutes", _MINUTE), ("seconds", _SECOND)):
        if not (times % unit).any():
            return name
    return "below a second"


def _night(hours: NDArray[np.int64]) -> tuple[int, float]:
    """When the quietest hours begin, and their interactions over those of the busiest."""
    sums = np.array([np.roll(hours, -start)[:_NIGHT].sum() for start in range(24)])
    return int(sums.argmin()), float(sums.min() / sums.max())


def _within_sessions(corpus: NumberedCorpus) -> dict[str, float]:
    """Shares of the sessions whose interactions all have timestamps."""
    session_of = corpus.sessions.session_of()
    count = len(corpus.sessions)
    whole = np.bincount(session_of, ~corpus.timed, minlength=count) == 0
    inner = session_of[1:] == session_of[:-1]
    backwards = np.bincount(session_of[1:], inner & (np.diff(corpus.times) < 0), minlength=count) > 0
    starts = np.minimum.reduceat(corpus.times, corpus.sessions.offsets[:-1])
    ends = np.maximum.reduceat(corpus.times, corpus.sessions.offsets[:-1])
    several = whole & (corpus.sessions.lengths > 1)
    spans = (ends - starts)[several]
    return {
        "backwards_share": _mean(backwards[whole]),
        "same_time_share": _mean(spans == 0),
        "long_sessions_share": float((spans > _DAY).sum() / max(1, whole.sum())),
        "median_minutes": float(np.median(spans) / _MINUTE) if spans.size else 0.0,
    }


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if values.size else 0.0


def _moment(microseconds: np.int64) -> datetime | None:
    moment = np.datetime64(int(microseconds), "us").item()
    return moment if isinstance(moment, datetime) else None  # numpy knows years that datetime does not
