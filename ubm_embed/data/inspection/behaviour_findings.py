"""Findings about sessions, products, the order, times and traffic."""

from __future__ import annotations

from collections.abc import Iterator

from ubm_embed.data.batches.session_table import MAX_INTERACTIONS
from ubm_embed.data.inspection import traffic
from ubm_embed.data.inspection.finding import Finding, Severity
from ubm_embed.data.inspection.order_verdict import OrderKind, OrderVerdict
from ubm_embed.data.inspection.popularity import PopularityStatistics
from ubm_embed.data.inspection.sessions import SessionStatistics
from ubm_embed.data.inspection.times import TimeStatistics
from ubm_embed.data.inspection.traffic import TrafficStatistics
from ubm_embed.data.session import Action
from ubm_embed.data.tasks.task import MIN_COUNT
from ubm_embed.wording import counted, percent

_FEW_SESSIONS = 1_000
_NO_NIGHT, _MIN_DAYS, _MIN_TIMES = 0.6, 7, 1_000


def session_findings(sessions: SessionStatistics) -> Iterator[Finding]:
    """Findings about sessions."""

    def finding(severity: Severity, problem: str, remedy: str) -> Finding:
        return Finding(severity, "sessions", problem, remedy)

    if sessions.several_products == 0:
        yield finding(
            Severity.ERROR,
            "no session has two different products",
            "look how sessions are named: the log may have a new id for every event",
        )
    elif sessions.several_products < _FEW_SESSIONS:
        yield finding(
            Severity.WARNING,
            f"only {counted(sessions.several_products, 'session')} with two different products or more",
            "take a longer log, or start from a pre-trained model (`pretrain --init`)",
        )
    if sessions.single_share > 0.5:
        yield finding(
            Severity.WARNING,
            f"{percent(sessions.single_share)} of the sessions have one interaction",
            "look whether session ids change within a visit; where ingest cuts sessions, try a longer --session-gap",
        )
    if sessions.longer_than_read_share > 0.05:
        yield finding(
            Severity.NOTE,
            f"{percent(sessions.longer_than_read_share)} of the sessions exceed {MAX_INTERACTIONS} interactions",
            "the model reads windows of that many; look whether these are visits, or users' histories, or robots",
        )
    if sessions.same_again_share > 0.05:
        yield finding(
            Severity.WARNING,
            f"{percent(sessions.same_again_share)} of the interactions repeat the one just before",
            "run the log through `ubm-embed ingest`, which drops them",
        )
    if sessions.repeats_last_share > 0.5:
        yield finding(
            Severity.NOTE,
            f"{percent(sessions.repeats_last_share)} of the next products are the last product again",
            "measure without repeats, which is the default: a list of what was seen would answer the rest",
        )
    removals = sessions.actions.get("remove", 0)
    if removals:
        share = removals / sessions.interactions
        yield finding(
            Severity.NOTE,
            f"{counted(removals, 'removal')} from the cart, {percent(share)} of all interactions",
            "they are an action of their own; a model trained here has a token for it",
        )
    if Action.SEARCH not in sessions.actions:
        yield finding(
            Severity.NOTE,
            "no searches",
            "if the shop logs search phrases, map them: they tell what is wanted before anything is clicked",
        )


def popularity_findings(popularity: PopularityStatistics) -> Iterator[Finding]:
    """Findings about how interactions spread over products."""

    def finding(severity: Severity, problem: str, remedy: str) -> Finding:
        return Finding(severity, "products", problem, remedy)

    if popularity.never_share > 0.5:
        yield finding(
            Severity.NOTE,
            f"{percent(popularity.never_share)} of the products are in no session",
            "only their text can find them; if they are no longer sold, leave them out of the catalogue",
        )
    if popularity.rare_share > 0.5:
        yield finding(
            Severity.NOTE,
            f"{percent(popularity.rare_share)} of the products are in sessions, but fewer than {MIN_COUNT} times",
            "they are no targets in training (`finetune nip --min-count`); a longer log would tell more about them",
        )
    if popularity.top_share > 0.5 and popularity.products >= 100:
        yield finding(
            Severity.NOTE,
            f"{percent(popularity.top_share)} of the interactions are with 1% of the products",
            "plain popularity will be hard to beat: read `evaluate` by bands, not only in all",
        )


def order_findings(verdict: OrderVerdict) -> Iterator[Finding]:
    """Findings about the order within sessions."""
    by_kind = {
        OrderKind.IDS: (
            Severity.ERROR,
            "order the log by time, or give ingest a position; without either, results on the next product say how "
            "the log was listed, not what shoppers do",
        ),
        OrderKind.NOTHING: (
            Severity.WARNING,
            "look whether the log has a time or a position that ingest did not get; sets without order, such as "
            "bundles, can teach what belongs together, not what comes next",
        ),
        OrderKind.UNDECIDED: (Severity.NOTE, "take a longer log to see whether the order helps"),
    }
    if verdict.kind in by_kind:
        severity, remedy = by_kind[verdict.kind]
        yield Finding(severity, "order", verdict.explanation, remedy)
    elif verdict.partly_ids:
        yield Finding(
            Severity.NOTE,
            "order",
            verdict.explanation,
            "find out why: ids that grow with time look like that, pages that list products by id, and logs that were "
            "sorted; the ids next to the last one may be a strong baseline",
        )


def time_findings(times: TimeStatistics) -> Iterator[Finding]:
    """Findings about timestamps."""

    def finding(severity: Severity, problem: str, remedy: str) -> Finding:
        return Finding(severity, "times", problem, remedy)

    if times.first is None and times.missing_share == 1:
        yield finding(
            Severity.NOTE,
            "no timestamps",
            "sessions are split by a hash of their id, so that training sees the same days as the test; give times if "
            "there are any",
        )
        return
    if times.missing_share > 0:
        yield finding(
            Severity.WARNING,
            f"{percent(times.missing_share)} of the interactions have no timestamp",
            "give all of them one: a split by time needs one in every session",
        )
    if times.future_share > 0:
        yield finding(
            Severity.WARNING,
            f"{percent(times.future_share)} of the timestamps are in the future",
            "look at unit and zone of the log's times, and at clocks of devices; a split by time tests on these",
        )
    if times.early_share > 0:
        yield finding(
            Severity.WARNING,
            f"{percent(times.early_share)} of the timestamps are before 1990",
            "look at the unit of the log's times, and for empty ones written as 0",
        )
    if times.backwards_share > 0:
        yield finding(
            Severity.WARNING,
            f"in {percent(times.backwards_share)} of the sessions a timestamp is earlier than the one before",
            "positions and times disagree: run the log through `ubm-embed ingest`, which orders by time",
        )
    if times.same_time_share > 0.2 and times.precision != "days":
        yield finding(
            Severity.NOTE,
            f"{percent(times.same_time_share)} of the sessions of two interactions or more have one time for all",
            "their order comes from positions or from the log's rows; see the section on order",
        )
    if times.precision == "days":
        yield finding(
            Severity.NOTE,
            "timestamps are whole days",
            "the order within a day comes from positions or from the log's rows; sessions cannot be cut by pauses",
        )
    if times.longest_gap_days >= 1:
        yield finding(
            Severity.WARNING if times.empty_days > times.days / 2 else Severity.NOTE,
            f"{counted(times.empty_days, 'day')} of {times.days:,} without an interaction, "
            f"{times.longest_gap_days:,} in a row at most",
            "look whether files are missing, or whether the shop was closed",
        )
    if times.long_sessions_share > 0.05:
        yield finding(
            Severity.NOTE,
            f"{percent(times.long_sessions_share)} of the sessions last longer than a day",
            "these are users' histories rather than visits, or ids that never end; cut them with --session-gap",
        )
    if times.night_ratio is not None and times.night_ratio > _NO_NIGHT and _long_enough(times):
        yield finding(
            Severity.NOTE,
            f"hardly a night: six quiet hours have {percent(times.night_ratio)} of the interactions of the busiest six",
            "shoppers of many time zones, robots and made-up data look like that",
        )


def _long_enough(times: TimeStatistics) -> bool:
    return times.days >= _MIN_DAYS and sum(times.hours) >= _MIN_TIMES and times.precision != "days"


def traffic_findings(heavy: TrafficStatistics) -> Iterator[Finding]:
    """Findings about the heaviest sessions and users."""
    if heavy.heavy_sessions:
        yield Finding(
            Severity.WARNING if heavy.heavy_sessions_share > 0.02 else Severity.NOTE,
            "traffic",
            f"{counted(heavy.heavy_sessions, 'heavy session')} (over {traffic.MAX_INTERACTIONS} interactions, "
            f"{traffic.MAX_PRODUCTS} different products or {traffic.MAX_PER_MINUTE:.0f} interactions a minute): "
            f"{percent(heavy.heavy_sessions_share)} of all interactions",
            "look at the heaviest by name; drop those of robots, tests and checkouts in the shop before ingest",
        )
    if heavy.heavy_users:
        yield Finding(
            Severity.WARNING,
            "traffic",
            f"{counted(heavy.heavy_users, 'heavy user')} (over {traffic.MAX_OF_USER:,} interactions and "
            f"{percent(traffic.MAX_USER_SHARE)} of all): {percent(heavy.heavy_users_share)} of all interactions",
            "look at them by name: a robot, a test account, or one id for all who are not logged in",
        )
